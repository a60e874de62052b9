"""`forge up`, whole: first start, demo, deaths, the end, and the next start."""

import base64
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli_process import Up, forge, processes_on

from activities.runhost.client import private_runs_dir

pytestmark = pytest.mark.slow


def call(url: str, password: str, body: bytes | None = None) -> Any:
    login = base64.b64encode(f"admin:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as response:
        return orjson.loads(response.read())


def retrying(work: Callable[[], Any], seconds: float = 30) -> Any:
    """While a part is being restarted, the answer may be an error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def launch_demo(up: Up, password: str) -> str:
    """The URL of the job."""
    template = retrying(lambda: call(f"{up.url('API')}job_templates/?name=Demo+Job+Template", password))["results"][0]
    launch = up.url("API").removesuffix("/api/v2/") + template["related"]["launch"]
    return up.url("API").removesuffix("/api/v2/") + retrying(lambda: call(launch, password, b"{}"))["url"]


def finished(job_url: str, password: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        job = retrying(lambda: call(job_url, password))
        if job["event_processing_finished"]:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def launch_endless(up: Up, password: str) -> str:
    """A job that runs until it is ended; its URL. It has begun to play."""
    begun = up.data_dir / "begun"
    folder = up.data_dir / "projects" / "endless"
    folder.mkdir()
    task = f"ansible.builtin.raw: touch {begun}; sleep 1000"
    (folder / "endless.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n    - {task}\n")
    api = up.url("API")

    def post(path: str, **body: object) -> Any:
        return call(f"{api}{path}/", password, orjson.dumps(body))

    project = post("projects", name="Endless", organization=1, scm_type="", local_path="endless")
    inventory = call(f"{api}inventories/?name=Demo+Inventory", password)["results"][0]
    template = post(
        "job_templates", name="Endless", project=project["id"], inventory=inventory["id"], playbook="endless.yml"
    )
    job = post(f"job_templates/{template['id']}/launch")
    deadline = time.monotonic() + 30
    while not begun.exists():
        assert time.monotonic() < deadline, call(f"{api}jobs/{job['id']}/", password)
        time.sleep(0.1)
    return f"{api}jobs/{job['id']}/"


@pytest.fixture(scope="module")
def up(new_data_dir: Callable[[], Path]) -> Iterator[Up]:
    """Seen by all tests here; the last one ends it."""
    up = Up(new_data_dir())
    yield up
    up.stop(signal.SIGTERM)


def password(up: Up) -> str:
    found = re.search(r"password is (\S+) \(user admin; shown this once\)", up.output)
    assert found
    return found[1]


def test_the_first_start_runs_the_demo(up: Up) -> None:
    assert "TASK [" in up.output
    assert "ended successful" in up.output
    assert re.search(r"first line of its output came [\d.]+ s after the start", up.output)


def test_what_it_says_is_true(up: Up) -> None:
    secret = password(up)
    jobs = call(f"{up.url('API')}jobs/", secret)

    assert [job["status"] for job in jobs["results"]] == ["successful"]
    for label in ("API docs", "Temporal UI"):
        with urllib.request.urlopen(up.url(label), timeout=20) as response:
            assert response.status == 200
    templates, launched, output = (run(line) for line in what_next(up))
    assert "Demo Job Template" in templates
    assert '"status":"pending"' in launched
    assert "TASK [" in output


def what_next(up: Up) -> list[str]:
    lines = up.output.partition("What next\n")[2].partition("\n\n")[0].splitlines()
    assert len(lines) == 3
    return lines


def run(line: str, **exported: str) -> str:
    """Paste it into a shell."""
    env = {"PATH": os.environ["PATH"], "no_proxy": "*", **exported}
    return subprocess.run(["sh", "-c", f"{line} --silent --fail"], env=env, capture_output=True, text=True).stdout


def test_a_second_one_is_refused(up: Up) -> None:
    refused = forge("up", data_dir=up.data_dir)

    assert refused.returncode == 1
    assert f"Forge already runs on {up.data_dir}" in refused.stderr


def test_other_commands_find_it(up: Up) -> None:
    assert "admin" in forge("users", "list", data_dir=up.data_dir).stdout
    assert forge("doctor", data_dir=up.data_dir).returncode == 0


@pytest.mark.parametrize("name", ["server", "worker", "temporal", "postgres"])
def test_who_is_killed_comes_back(up: Up, name: str) -> None:
    killed = up.child_pid(name)
    secret = password(up)
    os.kill(killed, signal.SIGKILL)

    up.wait_for(f"{name} ended (SIGKILL), restarting it")

    job = launch_demo(up, secret)
    assert finished(job, secret)["status"] == "successful"
    assert up.child_pid(name) != killed


def test_ctrl_c_leaves_nothing_running_and_the_next_start_finds_everything(up: Up) -> None:
    secret, url, ui_url = password(up), up.url("API"), up.url("Temporal UI")
    running, commands = launch_endless(up, secret), what_next(up)
    jobs = call(f"{url}jobs/", secret)["count"]

    assert up.stop(signal.SIGINT) == 0
    assert processes_on(up.data_dir) == []
    assert not private_runs_dir(up.data_dir).exists()

    again = Up(up.data_dir)
    try:
        ended = call(running, secret)
        assert (ended["status"], ended["job_explanation"]) == ("error", "Forge was stopped while the job ran.")
        assert (again.url("API"), again.url("Temporal UI")) == (url, ui_url)
        assert call(f"{url}jobs/", secret)["count"] == jobs
        assert "TASK [" not in again.output
        asked_for = [line.replace("-u admin ", f"-u admin:{secret} ") for line in what_next(again)]
        assert asked_for[:2] == commands[:2]
        assert f"{running}stdout/?format=txt" in asked_for[2]
        assert "PLAY [all]" in run(asked_for[2])
    finally:
        assert again.stop(signal.SIGTERM) == 0


def test_a_password_of_odd_characters_can_be_pasted(new_data_dir: Callable[[], Path]) -> None:
    odd = {"FORGE_ADMIN_PASSWORD": 'it\'s "$HOME" `id` !! \\ : ü'}
    up = Up(new_data_dir(), **odd)
    try:
        lines = what_next(up)
        assert odd["FORGE_ADMIN_PASSWORD"] not in up.output
        templates, launched, output = (run(line, **odd) for line in lines)
    finally:
        assert up.stop(signal.SIGTERM) == 0

    assert "Demo Job Template" in templates
    assert '"status":"pending"' in launched
    assert "TASK [" in output


def test_killed_itself_it_leaves_nothing_in_the_way(up: Up) -> None:
    """The run host alone stays: it is made to outlive the rest, and goes by itself when it has nothing to do."""
    killed = Up(up.data_dir)
    url = killed.url("API")
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL

    again = Up(up.data_dir)
    try:
        assert again.url("API") == url
    finally:
        assert again.stop() == 0
    assert processes_on(up.data_dir) == []
