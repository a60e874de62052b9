"""The processes of `forge up`: started in order, restarted when one dies, stopped in the reverse order."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from activities.runhost.client import RunHost, private_runs_dir
from cli.console import step, warn
from core.embedded.processes import Child, spawn, stop_leftover
from core.errors import ForgeError
from core.logging import message_of

FIRST_PAUSE = 0.2  # seconds before a restart; doubled for each further one
LONGEST_PAUSE = 15.0
LONGEST_STOP = 25.0  # seconds that a worker takes, with its playbooks
STEADY_SECONDS = 60.0  # who ran this long starts with the first pause again


class Service(Protocol):
    """A server that can be started and stopped again and again. `child` is None before the first start."""

    name: str
    child: Child | None

    def start(self) -> object: ...

    def stop(self) -> None: ...


class PythonService:
    """`python -m <name>` with these environment variables. A worker ends its playbooks when it is stopped like this,
    and leaves them running when `forge up` is killed: the next one goes on with them."""

    def __init__(self, name: str, data_dir: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.child: Child | None = None
        self._data_dir = data_dir
        self._env = env

    def start(self) -> None:
        self.stop()
        stop_leftover(self.name, self._data_dir)
        # -P: nothing is to be imported from the working directory.
        command = [sys.executable, "-P", "-m", self.name]
        # Where we are: the settings may hold relative paths.
        env = {name: value for name, value in os.environ.items() if name != "FORGE_ADMIN_PASSWORD"} | dict(self._env)
        self.child = spawn(self.name, command, self._data_dir, env=env, cwd=Path.cwd())

    def stop(self) -> None:
        if self.child:
            self.child.stop(LONGEST_STOP, signal.SIGINT)


@dataclass
class _Watch:
    service: Service
    pause: float = FIRST_PAUSE
    restart_at: float | None = None
    started_at: float = 0


class Stack:
    """Use from the main thread: it is the life of that thread that the children's lives are bound to."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._watches: list[_Watch] = []

    def start(self, service: Service) -> None:
        # Noted before it is started: an interrupt in between must stop it too.
        watch = _Watch(service, started_at=time.monotonic())
        self._watches.append(watch)
        service.start()

    def tend(self) -> None:
        """Restart what has died. Their state is durable, so nothing else is to be done. Call it every moment."""
        for watch in self._watches:
            self._tend(watch)

    def _tend(self, watch: _Watch) -> None:
        now = time.monotonic()
        service = watch.service
        if watch.restart_at is None:
            if service.child is None or service.child.running:
                return
            if now - watch.started_at > STEADY_SECONDS:
                watch.pause = FIRST_PAUSE
            warn(f"{service.name} ended ({_ending(service.child)}), restarting it; see {service.child.log}")
            watch.restart_at = now + watch.pause
        if now < watch.restart_at:
            return
        watch.restart_at, watch.started_at = None, now
        watch.pause = min(2 * watch.pause, LONGEST_PAUSE)
        try:
            service.start()
        except ForgeError as error:
            warn(f"{service.name} cannot be restarted: {error.message}")
            watch.restart_at = time.monotonic() + watch.pause

    def stop(self) -> None:
        """In order: no new work, no running work, then what it stood on. A second Ctrl-C kills what is left."""
        if not self._watches:
            return
        children = [watch.service.child for watch in self._watches if watch.service.child]

        def kill_all(number: int, frame: FrameType | None) -> None:
            for child in children:
                child.kill()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, kill_all)
        with step("Stopping"):
            for watch in reversed(self._watches):
                watch.service.stop()
                if watch.service.name == "worker":
                    self._stop_runs()

    def _stop_runs(self) -> None:
        """The playbooks outlive a worker that is killed; they are not to outlive `forge up`."""
        with contextlib.suppress(ForgeError):
            RunHost(self._data_dir / "run", private_runs_dir(self._data_dir)).stop()


def _ending(child: Child) -> str:
    code = child.exit_code
    if code is not None and code < 0:
        return signal.Signals(-code).name
    said = message_of(child.last_words()).removesuffix(".")
    return f"exit code {code}: {said}" if said else f"exit code {code}"
