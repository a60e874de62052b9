"""A Forge of its own for a benchmark: `forge up` on a fresh data directory and free ports, gone afterwards."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

FINISHED = ("successful", "failed", "error", "canceled")


@dataclass
class Forge:
    url: str
    data_dir: Path
    http: httpx.Client
    process: subprocess.Popen[bytes]

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        response = self.http.post(f"/api/v2/{path}", json=body or {})
        if response.is_error:
            raise SystemExit(f"POST {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(f"/api/v2/{path}", params=query)
        response.raise_for_status()
        return response.json()

    def by_name(self, resource: str, name: str) -> int:
        return int(self.get(f"{resource}/", name=name)["results"][0]["id"])

    def wait(self, job_id: int, every: float = 0.25) -> dict[str, Any]:
        while (job := self.get(f"jobs/{job_id}/"))["status"] not in FINISHED:
            time.sleep(every)
        return dict(job)

    def resident_bytes(self) -> dict[str, int]:
        """Resident memory of the server and the worker, by name."""
        sizes: dict[str, int] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            command = child.cmdline()
            for name in ("server", "worker"):
                if "-m" in command and command[command.index("-m") + 1] == name:
                    sizes[name] = child.memory_info().rss
        return sizes


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def forge(**settings: str) -> Iterator[Forge]:
    """Settings are FORGE_* variables by their lower-case names."""
    data_dir = Path(tempfile.mkdtemp(prefix="forge-bench-"))
    port, password = free_port(), secrets.token_urlsafe(12)
    env = {
        **os.environ,
        "FORGE_DATA_DIR": str(data_dir),
        "FORGE_PORT": str(port),
        "FORGE_ADMIN_PASSWORD": password,
        **{f"FORGE_{name.upper()}": value for name, value in settings.items()},
    }
    (data_dir / "logs").mkdir()
    log = (data_dir / "logs" / "up.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "cli", "up"], env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, auth=("admin", password), timeout=30) as http:
            running = Forge(url, data_dir, http, process)
            _wait_until_up(running)
            yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(data_dir, ignore_errors=True)


def _wait_until_up(running: Forge) -> None:
    """Until the demo job has ended: nothing of the start is left to disturb a measurement."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise SystemExit("forge up ended:\n" + (running.data_dir / "logs" / "up.log").read_text())
        with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):
            jobs = running.get("jobs/", order_by="-id")["results"]
            if jobs and jobs[0]["status"] in FINISHED:
                return
        time.sleep(0.2)
    raise SystemExit("forge up did not come up in 120 s")


def manual_project(running: Forge, name: str, playbook: str) -> int:
    """A manual project holding one playbook, `play.yml`. Returns its id."""
    directory = running.data_dir / "projects" / name
    directory.mkdir(parents=True)
    (directory / "play.yml").write_text(playbook)
    body = {"name": name, "organization": running.by_name("organizations", "Default"), "local_path": name}
    return int(running.post("projects/", body)["id"])


LOCAL_HOST = 'ansible_connection: local\nansible_python_interpreter: "{{ ansible_playbook_python }}"'


def job_template(running: Forge, name: str, playbook: str, hosts: int) -> int:
    """A template that runs `playbook` on so many local hosts, as often at once as it is launched. Returns its id."""
    organization = running.by_name("organizations", "Default")
    inventory = running.post("inventories/", {"name": name, "organization": organization})["id"]
    for number in range(hosts):
        running.post(f"inventories/{inventory}/hosts/", {"name": f"host{number}", "variables": LOCAL_HOST})
    project = manual_project(running, name, playbook)
    body = {
        "name": name,
        "inventory": inventory,
        "project": project,
        "playbook": "play.yml",
        "allow_simultaneous": True,
    }
    return int(running.post("job_templates/", body)["id"])
