"""How runs end before their time, and how they are started again."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from e2e.client import LOCAL, Client, Json, assert_contiguous
from e2e.forge import wait_for
from gitserver import GitHttp, GitRepo

CANCEL_SECONDS = 10.0  # what a cancel may take, process tree included


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Opened at the latest when the test ends."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def holding(api: Client, project: Json, inventory: Json, gate: Path, **fields: object) -> Json:
    """A template whose jobs run until the gate opens."""
    return api.template(
        project=project["id"],
        playbook="hold.yml",
        inventory=inventory["id"],
        extra_vars=f'{{"gate": "{gate}"}}',
        **fields,
    )


class TestCancel:
    def test_it_ends_the_whole_process_tree_in_time(
        self, api: Client, project: Json, inventory: Json, tmp_path: Path
    ) -> None:
        """The processes ignore SIGTERM, and one has left its session and its parent."""
        pids = tmp_path / "pids"
        template = api.template(
            project=project["id"],
            playbook="stubborn.yml",
            inventory=inventory["id"],
            extra_vars=f'{{"pids": "{pids}"}}',
        )
        job = api.launch(template)
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both processes")
        assert api.get(job["related"]["cancel"]) == {"can_cancel": True}

        began = time.monotonic()
        api.cancel(job)
        job = api.finished(job)
        took = time.monotonic() - began

        assert job["status"] == "canceled"
        assert job["canceled_on"]
        assert not [pid for pid in map(int, pids.read_text().split()) if psutil.pid_exists(pid)]
        assert took < CANCEL_SECONDS
        assert "TASK [Hide and wait]" in api.stdout(job)
        assert_contiguous(api.events(job))

    @pytest.mark.parametrize("seconds", [0, 2])
    def test_soon_after_the_launch(
        self, api: Client, project: Json, inventory: Json, gate: Path, seconds: float
    ) -> None:
        job = api.launch(holding(api, project, inventory, gate))
        time.sleep(seconds)

        began = time.monotonic()
        api.cancel(job)
        job = api.finished(job)

        assert job["status"] == "canceled"
        assert time.monotonic() - began < CANCEL_SECONDS

    def test_of_a_waiting_job(self, api: Client, project: Json, inventory: Json, gate: Path) -> None:
        template = holding(api, project, inventory, gate)
        first, second = api.launch(template), api.launch(template)
        api.until(second, lambda job: job["status"] == "waiting", "its turn to wait")

        api.cancel(second)

        assert api.finished(second)["status"] == "canceled"
        assert api.stdout(second) == ""
        api.running(first)
        gate.touch()
        assert api.finished(first)["status"] == "successful"

    def test_of_a_finished_job_is_refused(self, api: Client, project: Json, inventory: Json) -> None:
        job = api.run(api.template(project=project["id"], playbook="hello.yml", inventory=inventory["id"]))

        assert api.get(job["related"]["cancel"]) == {"can_cancel": False}
        assert api.refused(job["related"]["cancel"])[0] == 405
        assert api.get(job["url"])["status"] == "successful"

    def test_of_a_project_update(self, api: Client, repo: GitRepo) -> None:
        server = GitHttp(repo.path.parent, "deploy", "s3cret")
        credential = api.credential("Source Control", username="deploy", password="s3cret")
        server.hold()
        try:
            project = api.project(f"{server.url}/project", credential=credential["id"], synced=False)
            update = api.running(api.last_update(project))
            assert server.asked.wait(30)

            began = time.monotonic()
            api.cancel(update)
            update = api.finished(update)
            took = time.monotonic() - began
        finally:
            server.stop()

        assert update["status"] == "canceled"
        assert took < CANCEL_SECONDS
        assert api.get(project["url"])["status"] == "canceled"


def test_the_timeout_of_a_template(api: Client, project: Json, inventory: Json, gate: Path) -> None:
    job = api.run(holding(api, project, inventory, gate, timeout=2))

    assert job["status"] == "failed"
    assert "timeout" in job["job_explanation"]
    assert 2 <= job["elapsed"] < 2 + CANCEL_SECONDS
    assert_contiguous(api.events(job))


class TestRelaunch:
    @pytest.fixture
    def template(self, api: Client, project: Json, tmp_path: Path) -> Json:
        """Its jobs fail on `b` until that has its file."""
        hosts = api.inventory({"a": {}, "b": {}}, **LOCAL)
        (tmp_path / "a").touch()
        return api.template(
            project=project["id"],
            playbook="needs_file.yml",
            inventory=hosts["id"],
            ask_variables_on_launch=True,
        )

    def test_on_all_hosts_or_on_those_that_failed(self, api: Client, template: Json, tmp_path: Path) -> None:
        job = api.run(template, extra_vars={"directory": str(tmp_path)})
        assert job["status"] == "failed"
        assert job["host_status_counts"] == {"changed": 1, "failures": 1}
        assert api.get(job["related"]["relaunch"])["retry_counts"] == {"all": 2, "failed": 1}

        (tmp_path / "b").touch()
        everywhere = api.finished(api.post(job["related"]["relaunch"]))
        failed = api.finished(api.post(job["related"]["relaunch"], hosts="failed"))

        assert (everywhere["status"], everywhere["launch_type"], everywhere["limit"]) == ("successful", "relaunch", "")
        assert everywhere["host_status_counts"] == {"changed": 2}
        assert (failed["status"], failed["limit"]) == ("successful", "b")
        assert [summary["host_name"] for summary in api.all(failed["related"]["job_host_summaries"])] == ["b"]

    def test_on_failed_hosts_when_there_are_none(self, api: Client, template: Json, tmp_path: Path) -> None:
        (tmp_path / "b").touch()
        job = api.run(template, extra_vars={"directory": str(tmp_path)})

        status, body = api.refused(job["related"]["relaunch"], hosts="failed")

        assert (status, list(body)) == (400, ["hosts"])
