"""The worker's side of the run host: start runs or attach to them, read their events, cancel them, clean up.

Blocking and thread-safe: activities use it from threads. All knowledge about a run is in its directory, so none of
this depends on which process started it; only starting needs the run host."""

import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson
import psutil

from activities.runhost import processes
from activities.runhost.environment import inherited
from activities.runhost.protocol import (
    MAX_RUNS_DIR,
    MAX_STATE_DIR,
    RUN_ID,
    SOCKET_NAME,
    STAGING,
    ExitInfo,
    Op,
    Reply,
    RunDir,
    RunSpec,
    Started,
    StartRequest,
    receive_body,
    receive_header,
    send,
)
from core.errors import ForgeError, StartupError, Unavailable

START_TIMEOUT = 20.0  # seconds for the run host to come up, and for it to confirm a run
END_TIMEOUT = 15.0  # seconds for a cancelled run to end: execution.GRACE + PATIENCE and some
WAKE_INTERVAL = 1.0  # seconds after which `Run.events` yields an empty batch when nothing happened
LINGER = 0.1  # seconds between two batches of events
GATHER = 0.01  # seconds between two looks while a batch fills
MOST_LINES = 500  # in a batch, give or take a chunk
MOST_BYTES = 8 << 20  # in a batch, give or take a line
STOP_TIMEOUT = 20.0  # seconds for the run host to end all its runs and itself
TRASH = ".trash."  # prefix of a run's directory that is being removed
CHUNK = 1 << 20  # bytes read at once from events.jsonl


class RunVanished(ForgeError):
    """The run's process is gone and did not say how the run ended: it was killed, or the machine was restarted."""

    code = "run_vanished"


def private_runs_dir(data_dir: Path) -> Path:
    """Where the runs of a data dir live: in memory (tmpfs) where that is possible, so that secrets never reach a disk,
    else in the data dir. Raises StartupError if somebody else made the directory."""
    shared = Path("/dev/shm")
    if not (os.access(shared, os.W_OK) and not os.statvfs(shared).f_flag & os.ST_NOEXEC):
        return data_dir / "runs"  # inventory scripts and binary modules have to be executable
    own = shared / f"forge-{os.geteuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o77 or own.is_symlink():
        raise StartupError(f"{own} belongs to somebody else or is open to others. Remove it.")
    return own / hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]


class Run:
    """A run that was claimed, whatever became of it."""

    def __init__(self, directory: RunDir) -> None:
        self._dir = directory
        self.run_id = directory.path.name

    @property
    def note(self) -> str:
        """`RunSpec.note`; "" when the run is gone."""
        return (_read(self._dir.note) or b"").decode()

    @property
    def started(self) -> Started | None:
        """None if it has not got so far, which may also be the end of it (see `exit`), and when it was forgotten."""
        data = _read(self._dir.started)
        return Started(**orjson.loads(data)) if data else None

    def forget_started(self) -> None:
        """Remove `started`, once it is known: secrets are in that environment."""
        self._dir.started.unlink(missing_ok=True)

    @property
    def exit(self) -> ExitInfo | None:
        """None while it runs, and for ever if it vanished."""
        data = _read(self._dir.exit)
        return ExitInfo.decode(data) if data else None

    def alive(self) -> bool:
        """Whether the run's process lives. It holds a lock, so this is right even if its pid has been given away."""
        try:
            lock = os.open(self._dir.lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def cancel(self) -> None:
        """Ask the run to end: SIGTERM to its processes, SIGKILL after 3 s. Returns at once; harmless when it ended."""
        self._signal(signal.SIGTERM)

    def events(self, after: int = 0) -> Iterator[list[bytes]]:
        """Batches of events as JSON lines, from counter `after` + 1 on: the n-th line yielded has counter `after` + n.
        Ends when the run has ended and everything was yielded. While nothing happens an empty batch comes every
        second, for the caller to heartbeat or cancel. Raises RunVanished, after the last line there is.

        What comes within LINGER of a batch waits for the next one, since whoever stores events pays by the batch; the
        end of the run does not wait."""
        with contextlib.closing(self._attach()) as wake, open(self._dir.events, "rb", 0) as file:
            _skip_lines(file, after)
            rest = b""
            lines: list[bytes] = []
            size = 0  # bytes read for them
            yielded = 0.0
            while True:
                # Asked before reading, so that what is read last is complete. The exit file comes first: its poke is
                # the last one, and the process lives a moment longer.
                over = self._dir.exit.exists() or not self.alive()
                while chunk := file.read(CHUNK):
                    *complete, rest = (rest + chunk).split(b"\n")
                    lines += complete
                    size += len(chunk)
                    if len(lines) >= MOST_LINES or (lines and size >= MOST_BYTES):
                        break
                now = time.monotonic()
                if lines and (over or chunk or now - yielded >= LINGER):
                    yield lines
                    lines, size, yielded = [], 0, time.monotonic()
                if over and not chunk:
                    break
                if chunk:
                    continue
                if lines:
                    time.sleep(GATHER)  # more is on its way: one look at it all is cheaper than one per event
                elif select.select([wake], [], [], WAKE_INTERVAL)[0]:
                    _drain(wake)
                else:
                    yield []
        if self.exit is None:
            raise RunVanished(f"The process of {self.run_id} was killed before the run ended.")

    def wait(self, timeout: float) -> bool:
        """Whether the run's process ended within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        pause = 0.001  # mostly it is about to end: it has written its exit, or was just sent a signal
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return True

    def kill(self) -> None:
        """End what is left of it without mercy, also the processes it left behind if it vanished itself."""
        self._signal(signal.SIGKILL)
        deadline = time.monotonic() + END_TIMEOUT
        while processes.signal_all(processes.of_run(self._dir.home), signal.SIGKILL) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        pid = _read(self._dir.lock)
        if pid and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def _attach(self) -> socket.socket:
        """The socket that the run pokes. The latest reader has it; an earlier one still looks every second."""
        wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        wake.setblocking(False)
        name = self._dir.wake.with_suffix(f".{os.getpid()}.{threading.get_ident() % 10**6}")
        name.unlink(missing_ok=True)
        wake.bind(str(name))
        name.rename(self._dir.wake)
        return wake


class RunHost:
    """`state_dir` holds the run host's socket, lock and log; `runs_dir` one directory per run. `idle_seconds`: how long
    a run host that this starts stays when it has neither a run nor a client."""

    def __init__(self, state_dir: Path, runs_dir: Path, idle_seconds: float = 30.0) -> None:
        """Raises StartupError if the paths are too long for Unix sockets."""
        for path, limit in ((state_dir, MAX_STATE_DIR), (runs_dir, MAX_RUNS_DIR)):
            if len(os.fsencode(path)) > limit:
                raise StartupError(f"{path} is longer than the {limit} bytes that sockets allow. Use a shorter path.")
        self._state_dir = state_dir
        self._runs_dir = runs_dir
        self._idle_seconds = idle_seconds
        self._socket_path = state_dir / SOCKET_NAME
        self._log_path = state_dir / "runhost.log"
        self._presence: socket.socket | None = None  # an idle connection: as long as we live, the run host stays
        self._lock = threading.Lock()

    def ensure_started(self) -> None:
        """Start the run host if there is none, and keep it while this process lives. Raises Unavailable."""
        with self._lock:
            # Readable means closed: a run host never speaks unasked.
            if self._presence is not None and not select.select([self._presence], [], [], 0)[0]:
                return
            self._leave()
            try:
                self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                # One process at a time looks and starts; whoever comes second finds it running.
                with open(self._state_dir / "runhost-start.lock", "w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    try:
                        self._presence = self._connect()
                    except OSError:
                        self._launch()
                        self._presence = self._connect()
            except OSError as error:
                raise Unavailable(f"The run host cannot be started: {error}.") from error

    def start(self, spec: RunSpec) -> Run:
        """Start the run, or attach to the one of this id that runs or has ended. Raises Unavailable."""
        for _ in range(3):  # a run host may leave just when it is asked; asking again is harmless
            self.ensure_started()
            reply = self._ask(spec)
            run = self.find(spec.run_id)
            if run is not None:
                return run
            if reply is not None and reply.error:
                raise Unavailable(f"The run {spec.run_id} could not be started. {reply.error}")
        raise Unavailable(f"The run host does not answer; see {self._log_path}.")

    def find(self, run_id: str) -> Run | None:
        directory = RunDir(self._runs_dir, run_id)
        return Run(directory) if directory.lock.exists() else None

    def runs(self) -> list[Run]:
        """All there are. Other private directories beside theirs are left alone."""
        found = (self.find(name) for name in self._names() if RUN_ID.fullmatch(name))
        return [run for run in found if run is not None]

    def file_path(self, run_id: str, name: str) -> Path:
        """Where the file `name` of `RunSpec.files` will be."""
        return RunDir(self._runs_dir, run_id).files / name

    def cleanup(self, run_id: str) -> None:
        """Remove the run for good, ending it first if need be."""
        run = self.find(run_id)
        if run is None:
            return
        if run.alive():
            run.cancel()
            run.wait(END_TIMEOUT)
        if run.exit is None:
            run.kill()
        trash = self._runs_dir / f"{TRASH}{run_id}.{os.getpid()}.{threading.get_ident()}"
        with contextlib.suppress(FileNotFoundError):  # somebody else cleans up the same run
            (self._runs_dir / run_id).rename(trash)  # at once, so that nobody finds half a run
            _remove_tree(trash)

    def sweep(self, keep: set[str]) -> list[str]:
        """Clean up every run that has ended and is not in `keep`, and what crashes left; the ids of those runs."""
        ended = [run.run_id for run in self.runs() if run.run_id not in keep and not run.alive()]
        for run_id in ended:
            self.cleanup(run_id)
        for name in self._names():
            claim = STAGING.fullmatch(name)
            if name.startswith(TRASH) or (claim and not psutil.pid_exists(int(claim["pid"]))):
                _remove_tree(self._runs_dir / name)
        return ended

    def close(self) -> None:
        """Let the run host leave after its last run."""
        with self._lock:
            self._leave()

    def stop(self) -> None:
        """Cancel all runs and end the run host; returns when all of it is gone."""
        self.close()
        with contextlib.suppress(OSError), contextlib.closing(self._connect()) as connection:
            send(connection, Op.STOP)
            connection.settimeout(STOP_TIMEOUT)
            connection.recv(1)  # its end closes the connection
        alive = [run for run in self.runs() if run.alive()]  # those of a run host that was killed
        for run in alive:
            run.cancel()
        for run in alive:
            if not run.wait(END_TIMEOUT):
                run.kill()
        with contextlib.suppress(OSError):  # there are runs in it that a worker will still ask about
            self._runs_dir.rmdir()

    def _leave(self) -> None:
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    def _names(self) -> list[str]:
        return sorted(os.listdir(self._runs_dir)) if self._runs_dir.is_dir() else []

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(START_TIMEOUT)
            connection.connect(str(self._socket_path))
        except OSError:
            connection.close()
            raise
        return connection

    def _ask(self, spec: RunSpec) -> Reply | None:
        """None if the connection ended without an answer."""
        with contextlib.suppress(OSError), contextlib.closing(self._connect()) as connection:
            send(connection, Op.START, StartRequest(str(self._runs_dir), spec))
            header = receive_header(connection)
            body = receive_body(connection, header[1]) if header else None
            return Reply(**orjson.loads(body)) if body else None
        return None

    def _launch(self) -> None:
        """Returns when the run host listens. It detaches itself, so it is never our child."""
        # -P: what lies in the current directory is not to be imported.
        command = [sys.executable, "-P", "-m", "activities.runhost.host", str(self._state_dir)]
        command += ["--detach", f"--socket-name={SOCKET_NAME}", f"--idle-seconds={self._idle_seconds}"]
        with open(self._log_path, "ab") as log:
            try:
                subprocess.run(
                    command,
                    cwd="/",
                    env={**inherited(os.environ), **processes.ROOM},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in the worker's terminal is not meant for it
                    timeout=START_TIMEOUT,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                raise Unavailable(f"The run host cannot be started; see {self._log_path}.") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _skip_lines(file: BinaryIO, count: int) -> None:
    while count > 0 and (chunk := file.read(CHUNK)):
        lines = chunk.count(b"\n")
        if lines >= count:
            end = -1
            for _ in range(count):
                end = chunk.index(b"\n", end + 1)
            file.seek(end + 1 - len(chunk), os.SEEK_CUR)
        count -= lines


def _drain(wake: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            wake.recv(1)


def _remove_tree(path: Path) -> None:
    """Also what a playbook made unreadable. What belongs to another user (after become) may stay."""
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)
