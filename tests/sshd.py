"""A real OpenSSH server on loopback, for tests that need a git server or managed hosts.

    with Sshd(ports=3) as sshd:
        key = make_key(tmp_path / "key")
        sshd.authorize(key.public)
        ...  # sign in as sshd.user on any of sshd.ports

It runs as the user of the tests. As root it also lets in `temporary_user(...)`, with a password if `passwords=True`."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
PORTS_PER_PROCESS = 16  # sshd's limit of listening sockets

needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="needs OpenSSH: apt-get install openssh-server openssh-client"
)
needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root can make the user accounts this needs"
)

_CONFIG = """\
ListenAddress 127.0.0.1
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication {passwords}
KbdInteractiveAuthentication no
MaxStartups 200
MaxSessions 100
UseDNS no
PrintMotd no
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Key:
    path: Path
    private: str
    public: str


@dataclass(frozen=True)
class User:
    name: str
    password: str
    home: Path


def make_key(path: Path, passphrase: str = "", *options: str) -> Key:
    """A new key pair; `options` are more arguments for ssh-keygen (`"-m", "PEM", "-t", "rsa"`)."""
    kind = () if "-t" in options else ("-t", "ed25519")
    subprocess.run(["ssh-keygen", "-q", *kind, *options, "-N", passphrase, "-f", path], check=True)
    return Key(path, path.read_text(), path.with_suffix(".pub").read_text())


@contextlib.contextmanager
def temporary_user(password: str = "") -> Iterator[User]:
    """An account on this machine, removed with its home and its processes at the end. Needs root."""
    user = User(f"forge-{secrets.token_hex(4)}", password or secrets.token_urlsafe(12), Path(tempfile.mkdtemp()))
    home = user.home / "home"
    _accounts("useradd", "--create-home", "--home-dir", str(home), "--shell", "/bin/bash", user.name)
    try:
        user.home.chmod(0o755)
        subprocess.run(["chpasswd"], input=f"{user.name}:{user.password}", text=True, check=True)
        yield User(user.name, user.password, home)
    finally:
        uid = pwd.getpwnam(user.name).pw_uid
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.uids().real == uid:
                    process.kill()
        _accounts("userdel", user.name)
        shutil.rmtree(user.home, ignore_errors=True)


def _accounts(*command: str) -> None:
    """useradd and userdel lock the password file and do not wait for each other."""
    for _ in range(50):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "cannot lock" not in done.stderr:
            break
        time.sleep(0.1)
    assert done.returncode == 0, done.stderr


class Sshd:
    """A context manager. All users and ports share one host key and one list of authorized keys."""

    def __init__(self, ports: int = 1, passwords: bool = False) -> None:
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.ports: list[int] = []
        self._wanted = ports
        self._passwords = passwords
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Sshd":
        # Not below pytest's directory: sshd reads the authorized keys as the user who signs in.
        self.directory = Path(tempfile.mkdtemp(prefix="forge-sshd-"))
        self.directory.chmod(0o755)
        self.replace_host_key()
        (self.directory / "authorized_keys").touch(0o644)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        try:
            while missing := self._wanted - len(self.ports):
                self._start(min(missing, PORTS_PER_PROCESS))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self.ports[0]

    def authorize(self, public_key: str) -> None:
        """Let in whoever has the key, as any user."""
        with (self.directory / "authorized_keys").open("a") as file:
            file.write(public_key.strip() + "\n")

    def replace_host_key(self) -> None:
        """Takes effect for servers started afterwards."""
        path = self.directory / "host_key"
        path.unlink(missing_ok=True)
        path.with_suffix(".pub").unlink(missing_ok=True)
        make_key(path)

    def restart(self) -> None:
        """The same ports again, without the sessions."""
        ports = self.ports
        self._end_processes()
        self.ports = []
        for start in range(0, len(ports), PORTS_PER_PROCESS):
            self._run(ports[start : start + PORTS_PER_PROCESS])

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def stop(self) -> None:
        self._end_processes()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, count: int) -> None:
        for attempt in range(5):
            try:
                self._run(_free_ports(count))
                return
            except OSError:  # somebody else was faster on one of the ports
                if attempt == 4:
                    raise

    def _run(self, ports: list[int]) -> None:
        name = f"{ports[0]}"
        config = self.directory / f"{name}.conf"
        lines = [f"Port {port}\n" for port in ports]
        options = _CONFIG.format(directory=self.directory, passwords="yes" if self._passwords else "no")
        config.write_text("".join(lines) + options)
        log = self.directory / f"{name}.log"
        process = subprocess.Popen(
            [str(SSHD), "-D", "-f", config, "-E", log], stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._processes.append(process)
        for port in ports:
            _wait_for_banner(port, process, log)
        self.ports += ports

    def _end_processes(self) -> None:
        for server in self._processes:
            sessions = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
            for process in sessions:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(sessions, timeout=1)  # while there is a parent to reap them
            server.kill()
            server.wait()
        self._processes = []


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for_banner(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises OSError if sshd ends, or does not answer on the port within ten seconds."""
    give_up = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            if connection.recv(4).startswith(b"SSH-"):
                return
        time.sleep(0.02)
    process.kill()
    raise OSError(f"sshd does not listen on {port}: {log.read_text() if log.exists() else ''}")
