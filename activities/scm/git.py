"""Runs git for one sync: isolated from the user's configuration, silent towards people, its secrets out of sight, and
stoppable at any moment."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from activities.scm.errors import ScmError, ScmReason, classify
from activities.scm.output import LineSplitter, Mask
from activities.scm.source import Remote, ScmCredential
from activities.scm.ssh import plain_ssh_key, ssh_config

TICK = 0.2  # seconds between two looks at `cancelled` and the clock
GRACE = 1.0  # seconds from SIGTERM to SIGKILL
# What a child may know of the worker's environment: how to reach the network, nothing else.
_PASSED_ON = (
    *("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)

# `helper = store` reads $HOME/.git-credentials and offers a password to the scheme, host and port it was given for,
# no matter to whom a redirect or a submodule leads. gc is ours to call: in the background it would outlive the sync.
# A local repository may belong to somebody else; upload-pack believes `safe.directory` only when it stands in a file.
_CONFIG = """\
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[init]
\tdefaultBranch = main
[protocol]
\tversion = 2
[gc]
\tauto = 0
\tautoDetach = false
[maintenance]
\tauto = false
[fetch]
\trecurseSubmodules = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[credential]
\thelper = store
"""
_SAFE_DIRECTORY = "[safe]\n\tdirectory = *\n"


@dataclass(slots=True)
class Control:
    """How the caller follows and stops a sync. `deadline` is in `time.monotonic()` seconds."""

    emit: Callable[[str], None]
    cancelled: Callable[[], bool]
    deadline: float | None
    _ask_again: float = 0.0

    def check(self) -> None:
        """Raises ScmError (canceled, timeout)."""
        now = time.monotonic()
        if now >= self._ask_again:  # it may cost the caller a query
            self._ask_again = now + TICK
            if self.cancelled():
                raise ScmError(ScmReason.CANCELED, "The sync was canceled.")
        if self.deadline is not None and now > self.deadline:
            raise ScmError(ScmReason.TIMEOUT, "The sync took longer than the project's timeout.")


class Git:
    """git for one sync.

    `home` is its private directory (mode 700), `known_hosts` the file of SSH host keys seen so far, `keep_open` are
    file descriptors that every git process inherits. Only a `local` project may reach repositories on this host's
    disk."""

    def __init__(
        self,
        home: Path,
        known_hosts: Path,
        credential: ScmCredential,
        control: Control,
        *,
        local: bool = False,
        closed: Path | None = None,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._control = control
        self._home = home
        self._closed = closed
        self._credential = credential
        self._keep_open = keep_open
        self._known_hosts = known_hosts
        self._mask = Mask()
        self._mask.add(credential.password, credential.ssh_key_passphrase, credential.ssh_key)
        self._environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
            "HOME": str(home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": 'ssh -F "$HOME/ssh_config"',
            "GIT_SSH_VARIANT": "ssh",
            "GIT_ALLOW_PROTOCOL": "http:https:ssh:git:file" if local else "http:https:ssh:git",
        }
        self._write_private(".gitconfig", _CONFIG + (_SAFE_DIRECTORY if local else ""))

    def say(self, line: str) -> None:
        self._control.emit(self._mask(line))

    def admit(self, remote: Remote) -> None:
        """Prepare user, password and key for `remote`. Call it before fetching from it. Raises ScmError (invalid) for a
        local path into the closed directory: what Forge keeps there belongs to other projects, or to nobody."""
        if remote.kind == "local" and self._closed is not None:
            path = Path(remote.url).resolve()
            if path.is_relative_to(self._closed.resolve()):
                raise ScmError(ScmReason.INVALID, "The source control URL leads into Forge's own data directory.")
        self._mask.add(remote.password)
        if remote.kind == "http" and remote.username:
            basic = b64encode(f"{remote.username}:{remote.password}".encode()).decode()
            self._mask.add(basic, *([] if remote.password else [remote.username]))
            scheme, _, host = remote.origin.partition("://")
            line = f"{scheme}://{quote(remote.username, safe='')}:{quote(remote.password, safe='')}@{host}\n"
            self._write_private(".git-credentials", line, append=True)
        if remote.kind == "ssh":
            self._write_ssh_config(remote.username)

    def run(
        self,
        *arguments: str,
        about: Remote | None = None,
        quiet: bool = False,
        unheard: str = "",
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """git's standard output. Its messages go to `emit` line by line as they come, unless `quiet` or matching the
        pattern `unheard`. Raises ScmError, worded for the remote that the command is `about`."""
        self._control.check()
        try:
            with self._write_private("stdin", stdin).open("rb") as input_file:
                process = subprocess.Popen(
                    ["git", *arguments],
                    stdin=input_file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self._home,
                    env=self._environment | dict(environment or {}),
                    pass_fds=self._keep_open,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise ScmError(ScmReason.TOOL, "git is not installed on this host: install it for the worker.") from error
        output = bytearray()
        messages: deque[str] = deque(maxlen=40)
        with process, _ended(process):
            for line in map(self._mask, self._read(process, output)):
                messages.append(line)
                if not quiet and not (unheard and re.search(unheard, line)):
                    self._control.emit(line)
        if process.returncode:
            url = about.url if about else "the project's cache"
            has_credential = bool(about and (self._credential.ssh_key if about.kind == "ssh" else about.username))
            raise classify("\n".join(messages), url, has_credential)
        return output.decode(errors="surrogateescape")

    def _read(self, process: subprocess.Popen[bytes], output: bytearray) -> Iterator[str]:
        """Fill `output` from the process's standard output and yield the lines of its messages, until it has ended."""
        assert process.stdout
        assert process.stderr
        lines = LineSplitter()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(TICK)
                self._control.check()
                if not ready and process.poll() is not None:
                    break  # a grandchild that lingers holds the pipes; git itself has ended
                for key, _ in ready:
                    chunk = os.read(key.fd, 64 * 1024)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        output += chunk
                    else:
                        yield from lines.feed(chunk)
        yield from lines.rest()
        while process.poll() is None:  # both pipes closed: git is about to end
            self._control.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK)

    def _write_private(self, name: str, text: str, append: bool = False) -> Path:
        path = self._home / name
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        return path

    def _write_ssh_config(self, username: str) -> None:
        if shutil.which("ssh") is None:
            raise ScmError(ScmReason.TOOL, "ssh is not installed on this host: install an OpenSSH client.")
        key = None
        if self._credential.ssh_key.strip():
            key = self._home / "key"
            if not key.exists():
                self._write_private(key.name, plain_ssh_key(self._credential))
        self._write_private("ssh_config", ssh_config(username, key, self._known_hosts))


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens inside, leave no process of git's group behind."""
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # git then removes its lock files
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
