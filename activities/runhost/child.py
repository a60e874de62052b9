"""The life of one run, in the process that the run host forked for it: claim, prepare, run, clean up, say how it
ended. It serves the run alone and needs nobody: not the worker, not the run host."""

import errno
import fcntl
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import orjson
from ansible_runner.config.runner import RunnerConfig
from ansible_runner.exceptions import AnsibleRunnerException

from activities.runhost import processes
from activities.runhost.environment import build_environment, write_layout
from activities.runhost.events import EventLog, Output
from activities.runhost.execution import Execution
from activities.runhost.protocol import (
    ExitInfo,
    Op,
    Reply,
    RunDir,
    RunSpec,
    RunStatus,
    SshKey,
    Started,
    StartRequest,
    receive_body,
    send,
)

EXIT_SIZE = 4096  # bytes reserved for exit.json, so that a full disk cannot keep a run from ending


def main(connection: socket.socket, length: int) -> NoReturn:
    """Read the request of `length` bytes from `connection` and do it. Never returns into the run host's loop."""
    code = 1
    try:
        _leave_the_host(connection)
        request = receive_body(connection, length)
        if request is not None:
            _serve(connection, StartRequest.decode(request))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _leave_the_host(connection: socket.socket) -> None:
    os.setsid()
    os.umask(0o077)
    # Above all the run host's lock: held here, it would keep a new run host from starting after a crash. The objects
    # that own the descriptors live on in frames that are never unwound, so none is closed twice.
    os.closerange(3, connection.fileno())
    os.closerange(connection.fileno() + 1, 1 << 16)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    processes.adopt_orphans()


def _serve(connection: socket.socket, request: StartRequest) -> None:
    spec = request.spec
    processes.set_title(spec.run_id)
    try:
        run = claim(Path(request.runs_dir), spec.run_id)
    except OSError as error:
        send(connection, Op.REPLY, Reply(_sentence(error)))
        return
    if run is None:
        send(connection, Op.REPLY, Reply())
        return
    try:
        run.note.write_text(spec.note)
        write_layout(run, spec.files)
        log = EventLog(run)
        exit_file = ExitFile(run)
    except OSError as error:
        shutil.rmtree(run.path, ignore_errors=True)
        send(connection, Op.REPLY, Reply(_sentence(error)))
        return
    output = Output(log, str(run.artifacts))
    execution = Execution(output, log, run.home)  # from here on SIGTERM cancels
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGCHLD])
    send(connection, Op.REPLY, Reply())
    connection.close()

    try:
        info = _execute(run, spec, execution, output)
    except Exception as error:  # the edge of the process: whatever went wrong, the run says that it ended
        traceback.print_exc()
        info = ExitInfo(RunStatus.ERROR, None, f"The run could not be carried out: {error!r}.")
    output.close()
    for path in run.private:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    exit_file.write(info)
    log.wake()


def claim(runs_dir: Path, run_id: str) -> RunDir | None:
    """The run's directory, made and locked for as long as this process lives; None if the run exists already.

    It is locked under another name first: renaming is the claim, and nobody ever sees an unlocked run that is alive."""
    runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    run = RunDir(runs_dir, run_id)
    if run.path.exists():
        return None
    staging = RunDir(runs_dir, f".{run_id}.{os.getpid()}")
    staging.path.mkdir(mode=0o700)
    try:
        lock = os.open(staging.lock, os.O_RDWR | os.O_CREAT, 0o600)  # closed by the end of the process
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, str(os.getpid()).encode())
        staging.events.touch(mode=0o600)
        staging.path.rename(run.path)
    except OSError:
        shutil.rmtree(staging.path)
        if run.path.exists():  # another request was first
            return None
        raise
    return run


class ExitFile:
    """`exit.json`, with its space taken at the start and its name given at the end."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._draft = run.path / "exit.draft"
        self._fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._fd, b" " * EXIT_SIZE)

    def write(self, info: ExitInfo) -> None:
        short = ExitInfo(info.status, info.rc, info.error[:1000])
        size = os.pwrite(self._fd, orjson.dumps(short), 0)
        os.ftruncate(self._fd, size)
        os.fsync(self._fd)
        os.close(self._fd)
        self._draft.rename(self._run.exit)


def _execute(run: RunDir, spec: RunSpec, execution: Execution, output: Output) -> ExitInfo:
    env = build_environment(run, spec.project_dir, spec.env)
    if spec.ssh_keys:
        env["SSH_AUTH_SOCK"] = str(run.agent)
    os.environ.clear()  # RunnerConfig and the search for commands go by it
    os.environ.update(env)
    processes.show_home(run.home)
    try:
        if spec.playbook and not Path(spec.project_dir).is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), spec.project_dir)
        config = _runner_config(run, spec, env)
        _write_started(run, config)
        keys = _offer_keys(run, spec.ssh_keys)
        return execution.run(
            config.command,
            config.cwd,
            config.env,
            passwords={**_passphrases(keys), **spec.passwords},
            timeout=spec.timeout,
            idle_timeout=spec.idle_timeout,
            keys=keys,
        )
    except (OSError, AnsibleRunnerException, subprocess.CalledProcessError) as error:
        message = f"The run could not be started. {_sentence(error)}"
        output.feed(f"{message}\r\n")
        return ExitInfo(RunStatus.ERROR, None, message)


def _runner_config(run: RunDir, spec: RunSpec, env: dict[str, str]) -> RunnerConfig:
    """ansible-runner's part in the start: command line, callback plugin and the environment that it needs."""
    config = RunnerConfig(
        private_data_dir=str(run.path),
        artifact_dir=str(run.artifacts.parent),
        ident=run.artifacts.name,
        project_dir=spec.project_dir or None,
        playbook=spec.playbook,
        module=spec.module,
        module_args=spec.module_args,
        host_pattern=spec.hosts,
        inventory=spec.inventory or None,
        cmdline=shlex.join(spec.args),
        envvars=env,
        fact_cache_type="",  # the project's own choice of a cache stands
        suppress_env_files=True,
        quiet=True,
    )
    config.prepare()
    return config


def _write_started(run: RunDir, config: RunnerConfig) -> None:
    started = Started(config.command, config.cwd, config.env)
    draft = run.path / "started.draft"
    draft.write_bytes(orjson.dumps(started))
    draft.rename(run.started)


def _offer_keys(run: RunDir, keys: Sequence[SshKey]) -> dict[int, SshKey]:
    """Start the run's ssh-agent, and give each key by a pipe that ssh-add is to read, so that none touches a disk."""
    offered = {}
    if keys:
        subprocess.run(["ssh-agent", "-a", run.agent], stdout=subprocess.DEVNULL, check=True)
    for key in keys:
        reader, writer = os.pipe()
        os.write(writer, key.key.replace("\r\n", "\n").strip().encode() + b"\n")
        os.close(writer)
        offered[reader] = key
    return offered


def _passphrases(keys: Mapping[int, SshKey]) -> dict[str, str]:
    prompts = {f"Enter passphrase for /dev/fd/{fd}:": key.passphrase or "" for fd, key in keys.items()}
    return prompts | dict.fromkeys((f"Bad passphrase, try again for /dev/fd/{fd}:" for fd in keys), "")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    return f"{error}"
