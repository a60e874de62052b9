"""Child processes that never outlive us: started with their own log file and session, stopped in order, and ended by
the kernel when we are killed. Also the choice of their ports."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.datadir import explained
from core.errors import StartupError

GUARD = Path(__file__).with_name("guard.py")
GUARD_MODE = "exec" if sys.platform == "linux" else "watch"
LOG_LIMIT_BYTES = 20 * 1024 * 1024  # a longer log is set aside as `<name>.log.1` at the next start
CLOCK_SLACK_SECONDS = 2  # a process's start time moves a little when the clock is set
# Below the range from which Linux and macOS take the ports of outgoing connections, so that a remembered port is
# still free at the next start.
PORTS = range(18000, 30000)

SEVERE = re.compile(r"\b(FATAL|PANIC|ERROR)\b")  # as PostgreSQL, Temporal and we ourselves log


@dataclass(frozen=True)
class Account:
    """The system user a child runs as."""

    uid: int
    gid: int


def own_account() -> Account:
    return Account(os.geteuid(), os.getegid())


class Child:
    """A process that `spawn` started."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], log: Path, log_start: int, stop_signal: signal.Signals
    ) -> None:
        self.name = name
        self.log = log
        self._log_start = log_start  # what is before was written by those of earlier starts
        self._process = process
        self._stop_signal = stop_signal

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def wait(self, timeout: float) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout)

    def stop(self, grace: float = 15, number: signal.Signals | None = None) -> None:
        """Ask it to end (with signal `number`, else as `spawn` was told), wait `grace` seconds, then kill it with
        everything in its session."""
        if self.running:
            self._process.send_signal(number or self._stop_signal)
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()

    def kill(self) -> None:
        """Does not wait, so that a signal handler may call it."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last line that it logged, or the last that tells of an error if there is one; for an error message."""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 2000))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            return next((line for line in reversed(lines) if SEVERE.search(line)), lines[-1] if lines else "")
        return ""


def spawn(
    name: str,
    command: Sequence[str | Path],
    data_dir: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = Path("/"),
    account: Account | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Child:
    """Start `command` (absolute path first), logging to `<data_dir>/logs/<name>.log`, noted in `run/<name>.pid`.

    When this process dies, however it dies, the child gets `stop_signal`. Linux sends it when the *thread* that
    started the child ends, so call this from a thread that stays, such as the main one."""
    account = account or own_account()
    log = data_dir / "logs" / f"{name}.log"
    with explained(data_dir):
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        guard = [sys.executable, "-I", "-S", str(GUARD), GUARD_MODE, str(os.getpid()), str(int(stop_signal))]
        with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output:
            log_start = output.tell()
            process = subprocess.Popen(
                [*guard, str(account.uid), str(account.gid), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone; we stop the children in order
            )
        _write_pid_file(_pid_file(data_dir, name), process.pid)
    return Child(name, process, log, log_start, stop_signal)


def stop_leftover(name: str, data_dir: Path, grace: float = 20) -> None:
    """End the child of this name that an earlier, killed process started and that has not ended yet.

    Two servers on the same files would destroy them. The start time tells the child from a process that merely got
    its pid."""
    try:
        pid, started = _pid_file(data_dir, name).read_text().split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(started)) > CLOCK_SLACK_SECONDS:
            return
        if _ends_within(process, 2):  # it has had its parent-death signal
            return
        process.terminate()
        if not _ends_within(process, grace):
            process.kill()
            _ends_within(process, 5)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return


def _ends_within(process: psutil.Process, seconds: float) -> bool:
    """Whether it ends; a zombie that nobody collects has ended. (`psutil`'s own wait would not return.)"""
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _pid_file(data_dir: Path, name: str) -> Path:
    return data_dir / "run" / f"{name}.pid"


def _write_pid_file(path: Path, pid: int) -> None:
    # One that ended already has nothing to be found by.
    with contextlib.suppress(psutil.NoSuchProcess):
        path.write_text(f"{pid} {psutil.Process(pid).create_time()!r}\n")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Binding beside a listener on another address succeeds on some systems; listening does not.
            probe.listen(1)
        except OSError:
            return False
    return True


def pick_port() -> int:
    """A free port on 127.0.0.1. Nothing reserves it: be ready to pick again."""
    for _ in range(1000):
        port = random.choice(PORTS)
        if port_is_free(port):
            return port
    raise StartupError(f"No free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1: end what occupies them.")


def choose_port(remembered: Path, configured: int, variable: str) -> int:
    """The configured port, else the one used last time if it is free, else a new one; remembered in that file."""
    if configured:
        require_port(configured, variable)
    port = configured or read_port(remembered)
    if port is None or not port_is_free(port):
        port = pick_port()
    with explained(remembered):
        remembered.write_text(f"{port}\n")
    return port


def require_port(port: int, variable: str) -> None:
    """Raises StartupError unless an embedded server can have the port that the variable names."""
    if port < 1024:
        raise StartupError(f"Port {port} is for root's own services: set {variable} to one above 1023.")
    if not port_is_free(port):
        raise StartupError(f"Port {port} is taken: end what uses it, or set {variable} to another port.")


def read_port(remembered: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(remembered.read_text())
    return None
