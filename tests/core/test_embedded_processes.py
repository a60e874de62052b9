"""Real children, and parents that really die."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.embedded import processes
from core.embedded.processes import Account, Child, choose_port, pick_port, port_is_free, spawn, stop_leftover
from core.errors import StartupError

PYTHON = sys.executable
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[[str], Child]]:
    """`start(code)` runs Python code as a child that is gone after the test."""
    children: list[Child] = []

    def start(code: str) -> Child:
        child = spawn("child", [PYTHON, "-c", code], data_dir)
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop(grace=0)


def test_output_goes_to_the_log(start: Callable[[str], Child], data_dir: Path) -> None:
    child = start("import sys; print('out'); sys.exit('the last words')")

    assert child.wait(10) == 1
    assert child.log == data_dir / "logs" / "child.log"
    assert child.log.read_text() == "out\nthe last words\n" or child.log.read_text() == "the last words\nout\n"
    assert child.log.stat().st_mode & 0o777 == 0o600


def test_last_words(start: Callable[[str], Child]) -> None:
    child = start("import sys; sys.exit('no space left')")

    child.wait(10)

    assert child.last_words() == "no space left"
    second = start("pass")
    second.wait(10)
    assert second.last_words() == ""


def test_a_missing_program_is_an_exit_code(data_dir: Path) -> None:
    child = spawn("child", ["/nonexistent"], data_dir)

    assert child.wait(10) == 127
    assert "No such file" in child.last_words()


def test_a_long_log_is_set_aside(start: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 10)
    start("print('a first long line')").wait(10)

    second = start("print('second')")
    second.wait(10)

    assert second.log.read_text() == "second\n"
    assert second.log.with_suffix(".log.1").read_text() == "a first long line\n"


def test_stop_asks_first(start: Callable[[str], Child]) -> None:
    child = start("import time; time.sleep(60)")

    child.stop()

    assert child.exit_code == -signal.SIGTERM


def test_stop_kills_who_does_not_listen(start: Callable[[str], Child]) -> None:
    child = start(IGNORES_SIGTERM)
    assert eventually(lambda: child.last_words() == "up")

    child.stop(grace=0.2)

    assert child.exit_code == -signal.SIGKILL


@as_root
def test_another_user(data_dir: Path) -> None:
    child = spawn("child", ["/bin/sh", "-c", "id -u; id -g; id -G"], data_dir, account=Account(65534, 65534))

    assert child.wait(10) == 0
    assert child.log.read_text().split() == ["65534", "65534", "65534"]


PARENT = """
import sys, time
from pathlib import Path
from core.embedded import processes
processes.GUARD_MODE = {mode!r}
child = processes.spawn("child", [sys.executable, "-c", {code!r}], Path({data_dir!r}))
print(child.pid, flush=True)
time.sleep(60)
"""
SHOWS_ITS_PID = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.fixture
def killed_parent(data_dir: Path) -> Callable[[str, str], int]:
    """Start a parent with a child that runs `code`, `kill -9` the parent; returns the pid of who runs `code`."""

    def run(mode: str, code: str) -> int:
        script = textwrap.dedent(PARENT).format(mode=mode, code=code, data_dir=str(data_dir))
        with subprocess.Popen([PYTHON, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
            log = data_dir / "logs" / "child.log"
            assert eventually(lambda: log.exists() and log.read_text().endswith("\n"))
            parent.kill()
        return int(log.read_text())

    return run


@pytest.mark.parametrize("mode", ["exec", "watch"])
def test_a_killed_parent_takes_its_child_along(killed_parent: Callable[[str, str], int], mode: str) -> None:
    pid = killed_parent(mode, SHOWS_ITS_PID)

    assert eventually(lambda: gone(pid))


def test_a_leftover_that_does_not_listen_is_ended(killed_parent: Callable[[str, str], int], data_dir: Path) -> None:
    ignoring = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    )
    pid = killed_parent("exec", ignoring)
    assert not gone(pid)

    stop_leftover("child", data_dir, grace=0.2)

    assert gone(pid)


def test_a_reused_pid_is_nobodys_leftover(data_dir: Path) -> None:
    (data_dir / "run" / "child.pid").write_text(f"{os.getppid()} 1000000.0\n")

    stop_leftover("child", data_dir)

    assert not gone(os.getppid())


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class TestChoosePort:
    def test_the_last_one_again(self, tmp_path: Path) -> None:
        first = choose_port(tmp_path / "port", 0, "FORGE_X")

        assert choose_port(tmp_path / "port", 0, "FORGE_X") == first

    def test_another_one_when_it_is_taken(self, tmp_path: Path, taken_port: int) -> None:
        (tmp_path / "port").write_text(str(taken_port))

        port = choose_port(tmp_path / "port", 0, "FORGE_X")

        assert port != taken_port
        assert (tmp_path / "port").read_text() == f"{port}\n"

    def test_a_configured_one_is_used_or_refused(self, tmp_path: Path, taken_port: int) -> None:
        free = pick_port()

        assert choose_port(tmp_path / "port", free, "FORGE_X") == free
        with pytest.raises(StartupError, match="set FORGE_X to one above 1023"):
            choose_port(tmp_path / "port", 22, "FORGE_X")
        with pytest.raises(StartupError, match=f"Port {taken_port} is taken.*FORGE_X"):
            choose_port(tmp_path / "port", taken_port, "FORGE_X")


def test_port_is_free(taken_port: int) -> None:
    assert not port_is_free(taken_port)
    assert not port_is_free(pick_port(), "192.0.2.1")
    assert port_is_free(pick_port())
