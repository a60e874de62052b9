"""The rules of the house that no linter knows: which imports may exist, who commits, what every activity call names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("core", "models", "workflows", "activities", "api", "cli", "migrations")
PROCESSES = ("server", "worker")

# room -> what it may import of ours; "x.y" allows one module of a room
ARROWS = {
    "core": {"core"},
    "models": {"models", "core"},
    "migrations": {"models", "core", "migrations"},
    "workflows": {"workflows", "activities"},
    "activities": {"activities", "models", "core", "workflows.contracts", "workflows.starting"},
    "api": {"api", "models", "core", "workflows.contracts", "workflows.starting"},
    "server": {"activities.services", "api", "core", "migrations", "models", "workflows.serving"},
    "worker": {"activities", "core", "migrations", "models", "workflows"},
}


def sources(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    """(path relative to the project, tree) of every module of these rooms."""
    for room in rooms:
        files = [ROOT / f"{room}.py"] if room in PROCESSES else sorted((ROOT / room).rglob("*.py"))
        for file in files:
            if "versions" not in file.parts:
                yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module of ours that a tree imports, with the line."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in (*ROOMS, *PROCESSES):
                yield name, node.lineno


@pytest.mark.parametrize("room", ARROWS)
def test_imports_point_down_only(room: str) -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path, tree in sources(room)
        for name, line in imported(tree)
        if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ARROWS[room])
    ]

    assert wrong == []


def test_the_contracts_and_the_start_of_workflows_import_no_activity() -> None:
    trees = {path: tree for path, tree in sources("workflows") if path.endswith(("contracts.py", "starting.py"))}

    assert len(trees) == 2
    for path, tree in trees.items():
        assert [name for name, _ in imported(tree) if name.startswith("activities")] == [], path


def test_workflows_reach_activities_through_the_sandbox_only() -> None:
    for path, tree in sources("workflows"):
        if path == "workflows/serving.py":  # no workflow, but what runs them
            continue
        passed_through = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and "imports_passed_through" in ast.unparse(node.items[0].context_expr)
        ]
        inside = {line for block in passed_through for _, line in imported(block)}
        outside = [
            f"{path}:{line} {name}"
            for name, line in imported(tree)
            if name.startswith("activities") and line not in inside
        ]
        assert outside == []


def test_nobody_commits_below_the_edge() -> None:
    allowed = {"core/db.py"}  # `transaction()` is the edge
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources("core", "models", "activities", "api", "workflows")
        if path not in allowed
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]

    assert found == []


ACTIVITY_CALLS = ("execute_activity_method", "execute_local_activity_method", "execute_activity", "start_activity")


def test_every_activity_call_names_its_timeout_and_its_retry_policy() -> None:
    calls = [
        (f"{path}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for path, tree in sources("workflows")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ACTIVITY_CALLS
    ]

    assert len(calls) >= 8
    for where, keywords in calls:
        assert keywords & {"start_to_close_timeout", "schedule_to_close_timeout"}, where
        assert "retry_policy" in keywords, where


def test_retry_policies_and_timeouts_are_named_in_one_place() -> None:
    made = [
        f"{path}:{node.lineno}"
        for path, tree in sources("workflows", "activities", "api", "worker")
        if path != "workflows/contracts.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "RetryPolicy"
    ]

    assert made == []


def test_workflows_do_not_look_at_the_world() -> None:
    """The sandbox finds most of it at run time; this finds it before."""
    forbidden = (
        "datetime.now",
        "datetime.utcnow",
        "time.time",
        "time.sleep",
        "random.",
        "uuid.uuid4",
        "os.environ",
        "open",
    )
    found = [
        f"{path}:{node.lineno} {ast.unparse(node.func)}"
        for path, tree in sources("workflows")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(forbidden)
    ]

    assert found == []


def test_sources_name_no_machine_and_leave_nothing_open() -> None:
    marks = ("TODO", "FIXME", "XXX", "/work/", "/root/")
    found = [
        f"{file.relative_to(ROOT)}: {mark}"
        for room in (*ROOMS, "docs", "benchmarks", "deploy")
        for file in (ROOT / room).rglob("*")
        if file.is_file() and file.suffix in {".py", ".md", ".yml", ".html", ".service"}
        for mark in marks
        if mark in file.read_text()
    ]

    assert found == []
