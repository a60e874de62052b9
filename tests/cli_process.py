"""Running the `forge` command as people do: as a process of its own, with settings in the environment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-m", "cli"]


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORGE_")}
    return {**inherited, "FORGE_DATA_DIR": str(data_dir), "FORGE_PORT": "0", "COLUMNS": "200", **settings}


def forge(*arguments: str, data_dir: Path, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(data_dir, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Up:
    """A `forge up` that runs, with what it says in `output`."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self._log = data_dir.with_name(f"{data_dir.name}.out")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "up"], env=environment(data_dir, **settings), stdout=log, stderr=log
            )
        try:
            self.wait_for("Ctrl-C stops everything")
        except BaseException:
            self.stop(signal.SIGTERM)
            raise

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def url(self, label: str) -> str:
        """What it says behind "API", say."""
        line = next(line for line in self.output.splitlines() if line.startswith(f"  {label} "))
        return line.split()[-1]

    def child_pid(self, name: str) -> int:
        return int((self.data_dir / "run" / f"{name}.pid").read_text().split()[0])

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(60)
        self._log.unlink(missing_ok=True)
        return code


def processes_on(data_dir: Path) -> list[str]:
    """The command lines of what runs for this data directory, named there or in the environment."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if str(data_dir) in line or process.environ().get("FORGE_DATA_DIR") == str(data_dir):
                found.append(line)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
