"""A run host of its own for every test, and orders for it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from activities.runhost.client import Run, RunHost
from activities.runhost.protocol import FileSpec, RunSpec

PROJECTS = Path(__file__).parents[2] / "projects"
INVENTORY = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"


@pytest.fixture
def base() -> Iterator[Path]:
    """A short path: pytest's own are too long for Unix sockets on some systems."""
    path = Path(tempfile.mkdtemp(prefix="forge-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def host(base: Path) -> Iterator[RunHost]:
    host = RunHost(base / "state", base / "runs", idle_seconds=1)
    yield host
    host.stop()


@pytest.fixture
def order(host: RunHost) -> Callable[..., RunSpec]:
    """`order("hello", extra_vars={...})` is a run of that project's playbook on localhost; fields can be overridden."""

    def make(project: str, run_id: str = "job-1", extra_vars: dict[str, Any] | None = None, **over: Any) -> RunSpec:
        variables = orjson.dumps({k: os.fspath(v) if isinstance(v, Path) else v for k, v in (extra_vars or {}).items()})
        fields: dict[str, Any] = {
            "run_id": run_id,
            "project_dir": str(PROJECTS / project),
            "playbook": f"{project}.yml",
            "inventory": [str(host.file_path(run_id, "hosts"))],
            "timeout": 60,
        }
        fields.update(over)
        fields["args"] = [*fields.get("args", []), "-e", f"@{host.file_path(run_id, 'vars')}"]
        own = {"hosts": FileSpec(INVENTORY), "vars": FileSpec(variables.decode())}
        fields["files"] = own | fields.get("files", {})
        return RunSpec(**fields)

    return make


def read_events(run: Run, after: int = 0) -> list[dict[str, Any]]:
    return [orjson.loads(line) for batch in run.events(after) for line in batch]


def stdout(events: list[dict[str, Any]]) -> str:
    return "\n".join(event["stdout"] for event in events)
