"""What crosses between client and run host: the order for a run, the names in its directory, the framing."""

import hashlib
import re
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson


def _fingerprint() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


# In the name of the socket: an upgraded worker never gets runs from the code that an older run host has in memory.
SOCKET_NAME = f"runhost-{_fingerprint()}.sock"
RUN_ID = re.compile(r"[a-z][a-z0-9_-]{0,23}")
STAGING = re.compile(rf"\.{RUN_ID.pattern}\.(?P<pid>\d+)")  # a run's directory while it is being claimed

MAX_KEY = 32 << 10  # a key travels through a pipe, which holds 64 kB

# A Unix socket's path holds 107 bytes. The longest one in a run directory is ssh's control socket with the suffix it
# has while it is being made: "/<run id>/cp/<10 hex digits>.<16 random characters>".
MAX_RUNS_DIR = 107 - len("/") - 24 - len("/cp/") - 10 - 17
MAX_STATE_DIR = 107 - len("/" + SOCKET_NAME)


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A private file of the run, made before it starts and removed when it ends."""

    content: str
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class SshKey:
    """A private key (PEM text) for the run's own ssh-agent."""

    key: str
    passphrase: str | None = None


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: `playbook` of `project_dir`, or an ad hoc `module` on `hosts` (a host pattern).

    `files` are relative to the run's `files/`: `RunHost.file_path(run_id, name)` gives the path to name in `args`,
    `env` or `inventory`. `passwords` maps a regular expression for a prompt to its answer. `timeout` and
    `idle_timeout` (time without output) are in seconds, 0 for none. `note` is kept with the run for its readers, and
    not read here: what they must know of it that may not be found out later."""

    run_id: str
    project_dir: str = ""
    playbook: str | None = None
    module: str | None = None
    module_args: str | None = None
    hosts: str | None = None
    inventory: list[str] = field(default_factory=list)
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    ssh_keys: list[SshKey] = field(default_factory=list)
    files: dict[str, FileSpec] = field(default_factory=dict)
    timeout: float = 0
    idle_timeout: float = 0
    note: str = ""

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(self.run_id):
            raise ValueError(f"{self.run_id!r} is not a run id: letters, digits, '-' and '_', at most 24")
        if (self.playbook is None) == (self.module is None):
            raise ValueError("a run has either a playbook or a module")
        for name in self.files:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name!r} is not a path inside the run directory")
        for pattern in self.passwords:
            re.compile(pattern)
        if any(len(key.key) > MAX_KEY for key in self.ssh_keys):
            raise ValueError("an SSH key is longer than any real one")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "RunSpec":
        """From its JSON form."""
        keys = [SshKey(**key) for key in plain["ssh_keys"]]
        files = {name: FileSpec(**file) for name, file in plain["files"].items()}
        return cls(**{**plain, "ssh_keys": keys, "files": files})


class RunStatus(StrEnum):
    SUCCESSFUL = "successful"
    FAILED = "failed"  # ansible ended with another code than 0
    CANCELED = "canceled"
    TIMEOUT = "timeout"
    IDLE_TIMEOUT = "idle_timeout"
    ERROR = "error"  # ansible could not be started, or its events not be kept


@dataclass(frozen=True, slots=True)
class Started:
    """`started.json`: what was started. `env` is what ansible was given and may hold secrets."""

    command: list[str]
    cwd: str
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """`exit.json`: how it ended. `rc` is ansible's exit code (negative: the signal that killed it), None if it never
    ran; `error` is a sentence for people, empty for a plain success or failure."""

    status: RunStatus
    rc: int | None
    error: str = ""

    @classmethod
    def decode(cls, data: bytes) -> "ExitInfo":
        plain = orjson.loads(data)
        return cls(RunStatus(plain["status"]), plain["rc"], plain["error"])


class RunDir:
    """The names in a run's directory. It exists if and only if the run was claimed."""

    def __init__(self, runs_dir: Path, run_id: str) -> None:
        self.path = runs_dir / run_id
        self.lock = self.path / "lock"  # the run's pid; locked (flock) for as long as that process lives
        self.started = self.path / "started.json"
        self.events = self.path / "events.jsonl"  # line n is the event with counter n
        self.exit = self.path / "exit.json"
        self.note = self.path / "note"
        self.wake = self.path / "wake"  # datagram socket of the reader, poked after every event and at the end
        # From here on: private to the run, removed when it ends.
        self.files = self.path / "files"
        self.home = self.path / "home"
        self.tmp = self.path / "tmp"
        self.control = self.path / "cp"  # ssh's control sockets
        self.agent = self.path / "agent"
        self.ssh_config = self.path / "ssh_config"
        self.known_hosts = self.path / "known_hosts"
        self.artifacts = self.path / "artifacts"

    @property
    def private(self) -> tuple[Path, ...]:
        return (
            self.files,
            self.home,
            self.tmp,
            self.control,
            self.agent,
            self.ssh_config,
            self.known_hosts,
            self.artifacts,
        )


class Op(StrEnum):
    START = "S"  # StartRequest -> Reply
    STOP = "Q"  # nothing -> the connection closes when all runs have ended and the host is about to exit
    REPLY = "R"


@dataclass(frozen=True, slots=True)
class StartRequest:
    runs_dir: str
    spec: RunSpec

    @classmethod
    def decode(cls, data: bytes) -> "StartRequest":
        plain = orjson.loads(data)
        return cls(plain["runs_dir"], RunSpec.from_plain(plain["spec"]))


HEADER = struct.Struct("!cI")  # operation, length of the JSON that follows


@dataclass(frozen=True, slots=True)
class Reply:
    """`error` is empty if the run exists now, whether it was started by this request or an earlier one."""

    error: str = ""


def send(connection: socket.socket, op: Op, body: StartRequest | Reply | None = None) -> None:
    data = orjson.dumps(body) if body else b""
    connection.sendall(HEADER.pack(op.encode(), len(data)) + data)


def receive_header(connection: socket.socket) -> tuple[Op, int] | None:
    """The operation and the length of its body; None if the other side has closed. Raises ValueError on nonsense."""
    header = receive_body(connection, HEADER.size)
    if header is None:
        return None
    op, length = HEADER.unpack(header)
    return Op(op.decode("latin-1")), length


def receive_body(connection: socket.socket, length: int) -> bytes | None:
    """Exactly `length` bytes, None if the other side closed first."""
    data = bytearray()
    while len(data) < length:
        chunk = connection.recv(min(length - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)
