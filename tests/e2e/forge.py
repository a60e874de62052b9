"""A whole Forge on loopback: its own PostgreSQL and Temporal, a server and workers, each a process that a test can kill
and start again. What tests see of it is the REST API."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from cli_process import environment, forge
from e2e.client import Client, Json

from activities.runhost.client import RunHost, private_runs_dir
from core.datadir import prepare_data_dir
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.processes import Child, pick_port, spawn
from core.embedded.temporal import EmbeddedTemporal

ADMIN_PASSWORD = "the admin's own password"
START_SECONDS = 90.0  # the machine may be busy


class Part:
    """`python -m <module>`. It says `ready` in its log once it serves."""

    def __init__(self, module: str, name: str, data_dir: Path, settings: dict[str, str], ready: str) -> None:
        self.data_dir = data_dir
        self._command = [sys.executable, "-P", "-m", module]
        self._name = name
        self._environment = environment(data_dir, **settings)
        self._ready = ready
        self._child: Child | None = None
        self._said = 0  # times it was ready when it was last started

    @property
    def child(self) -> Child:
        assert self._child is not None, f"{self._name} was never started"
        return self._child

    @property
    def log(self) -> str:
        path = self.data_dir / "logs" / f"{self._name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Returns at once; see `wait_until_ready`."""
        self._said = self.log.count(self._ready)
        self._child = spawn(self._name, self._command, self.data_dir, env=self._environment)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.child.running, self.log
            return self.log.count(self._ready) > self._said

        wait_for(ready, f"{self._name} to be ready", START_SECONDS)

    def restart(self) -> None:
        self.start()
        self.wait_until_ready()

    def kill(self) -> None:
        """`kill -9`, of this process alone."""
        kill(self.child)

    def suspend(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError):
                self.resume()
            self._child.stop(grace=20)


class Worker(Part):
    def __init__(self, name: str, data_dir: Path, settings: dict[str, str]) -> None:
        super().__init__("worker", name, data_dir, settings, "ready: instance")

    @property
    def runs_dir(self) -> Path:
        return private_runs_dir(self.data_dir)

    def run_host(self) -> psutil.Process:
        """The process that forks the runs."""
        hosts = [process for process in self.run_processes() if name_of(process) == "forge-runhost"]
        assert len(hosts) == 1, hosts
        return hosts[0]

    def run_processes(self) -> list[psutil.Process]:
        """The run host, the runs, and what the runs started: all that lives on when the worker is gone."""
        return processes_of(self.data_dir / "run", self.runs_dir)

    def lose(self) -> None:
        """As if the machine had been switched off: the worker and everything it ever started are gone."""
        self.kill()
        while running := self.run_processes():
            for process in running:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(running, timeout=1)

    def kill_run(self, job: Json) -> None:
        """Everything of one run, and neither the worker nor the run host."""
        name = f"job-{job['id']}"
        mine = [process for process in self.run_processes() if name_of(process) == name]
        for process in (*mine, *processes_of(self.runs_dir / name)):
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def stop_gracefully(self) -> None:
        """SIGTERM, as at an upgrade: the runs live on."""
        super().stop()

    def stop(self) -> None:
        super().stop()
        RunHost(self.data_dir / "run", self.runs_dir).stop()
        shutil.rmtree(self.runs_dir, ignore_errors=True)


class Forge:
    """Started by `running_forge`. `settings` are FORGE_* variables of all its parts."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.data_dir = make_data_dir()
        self.postgres = EmbeddedPostgres(self.data_dir)
        self.temporal = EmbeddedTemporal(self.data_dir)
        self._settings = settings
        self._workers: list[Worker] = []
        self._data_dirs = [self.data_dir]
        self._server: Part | None = None
        self._client: Client | None = None

    @property
    def server(self) -> Part:
        assert self._server is not None
        return self._server

    @property
    def worker(self) -> Worker:
        """The first one."""
        return self._workers[0]

    @property
    def api(self) -> Client:
        """As the admin."""
        assert self._client is not None
        return self._client

    @property
    def logs(self) -> dict[str, str]:
        return {
            str(path): path.read_text(errors="replace")
            for data_dir in self._data_dirs
            for path in data_dir.rglob("*.log")
        }

    def start(self) -> None:
        port = pick_port()
        self._settings |= {
            "FORGE_DATABASE_URL": self.postgres.start(),
            "FORGE_TEMPORAL_ADDRESS": self.temporal.start(),
            "FORGE_PORT": str(port),
            "FORGE_ADMIN_PASSWORD": ADMIN_PASSWORD,
        }
        migrated = forge("migrate", data_dir=self.data_dir, **self._settings)
        assert migrated.returncode == 0, migrated.stderr
        self._server = Part("server", "server", self.data_dir, self._settings, "serving on")
        self.server.start()
        worker = self._new_worker("worker", self.data_dir, self._settings)
        worker.start()
        self.server.wait_until_ready()
        worker.wait_until_ready()
        self._client = Client(f"http://127.0.0.1:{port}", "admin", ADMIN_PASSWORD)

    def add_worker(self, node: str, groups: str = "default", **settings: str) -> Worker:
        """A worker on another host, as far as Forge can tell; it is ready."""
        data_dir = make_data_dir()
        self._data_dirs.append(data_dir)
        shutil.copy(self.data_dir / "secret_key", data_dir)
        settings = self._settings | {"FORGE_NODE_NAME": node, "FORGE_INSTANCE_GROUPS": groups} | settings
        worker = self._new_worker(node, data_dir, settings)
        worker.restart()
        return worker

    def _new_worker(self, name: str, data_dir: Path, settings: dict[str, str]) -> Worker:
        worker = Worker(name, data_dir, settings)
        self._workers.append(worker)
        return worker

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """For what the API does not show. Commits."""
        connection = psycopg2.connect(self.postgres.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def mend(self) -> None:
        """Start again what is dead, in case a test failed before it did."""
        for server in (self.postgres, self.temporal):
            if server.child is None or not server.child.running:
                server.start()
        for part in (self.server, self.worker):
            if not part.child.running:
                part.restart()

    def stop(self) -> None:
        if self._client:
            self._client.close()
        for worker in self._workers:
            worker.stop()
        if self._server:
            self._server.stop()
        self.temporal.stop()
        self.postgres.stop()
        left = [process.cmdline() for data_dir in self._data_dirs for process in processes_of(data_dir)]
        for data_dir in self._data_dirs:
            shutil.rmtree(data_dir, ignore_errors=True)
        assert left == []


@contextmanager
def running_forge(**settings: str) -> Iterator[Forge]:
    """A system of one's own, gone afterwards whatever happens. `settings`: `capacity="4"` is FORGE_CAPACITY=4."""
    forge = Forge({f"FORGE_{name.upper()}": value for name, value in settings.items()})
    try:
        forge.start()
        yield forge
    finally:
        forge.stop()


def make_data_dir() -> Path:
    """Not below pytest's own directory: that is closed to the unprivileged user that PostgreSQL runs as for root."""
    data_dir = Path(tempfile.mkdtemp(prefix="forge-e2e-"))
    prepare_data_dir(data_dir)
    return data_dir


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def kill(child: Child | None) -> None:
    """`kill -9` and nothing else: what it started lives on."""
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(10)


def name_of(process: psutil.Process) -> str:
    """ "" if it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


def processes_of(*directories: Path) -> list[psutil.Process]:
    """What runs for one of the directories: they are named on the command line, or in the environment."""
    names = [str(directory) for directory in directories]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            told = [*process.cmdline(), process.environ().get("FORGE_DATA_DIR", ""), process.environ().get("HOME", "")]
            if process.status() != psutil.STATUS_ZOMBIE and any(name in text for name in names for text in told):
                found.append(process)
    return found
