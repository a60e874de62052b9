"""What a job waits for before it starts, and what it says meanwhile."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import Client, Json
from gitserver import GitHttp, GitRepo

HELLO = "- hosts: all\n  gather_facts: false\n  tasks:\n  - ansible.builtin.debug:\n      msg: hello\n"


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[GitRepo, GitHttp]]:
    repo = GitRepo(tmp_path / "served" / "project")
    repo.commit({"hello.yml": HELLO})
    server = GitHttp(repo.path.parent, "deploy", "s3cret")
    yield repo, server
    server.stop()


@pytest.fixture
def updating(api: Client, remote: tuple[GitRepo, GitHttp]) -> Json:
    """A project that is updated before a job runs from it."""
    credential = api.credential("Source Control", username="deploy", password="s3cret")
    return api.project(f"{remote[1].url}/project", credential=credential["id"], scm_update_on_launch=True)


def updates_of(api: Client, project: Json) -> list[Json]:
    return api.all(project["related"]["project_updates"], order_by="id")


def waiting(api: Client, job: Json) -> Json:
    return api.until(job, lambda seen: seen["status"] == "waiting", "its turn to wait")


def test_one_update_serves_all_that_wait_for_it(
    api: Client, updating: Json, inventory: Json, remote: tuple[GitRepo, GitHttp]
) -> None:
    repo, server = remote
    newest = repo.commit({"more.yml": HELLO})
    template = api.template(
        project=updating["id"], playbook="hello.yml", inventory=inventory["id"], allow_simultaneous=True
    )
    server.hold()
    jobs = [api.launch(template) for _ in range(3)]
    seen = [waiting(api, job) for job in jobs]
    update = updates_of(api, updating)[-1]
    server.held.clear()

    assert all(job["waiting_on"] == [{"type": "project_update", "id": update["id"]}] for job in seen)
    assert all(job["job_explanation"] == f"Waiting for project update {update['id']} to finish." for job in seen)
    done = [api.finished(job) for job in jobs]
    assert [(job["status"], job["scm_revision"]) for job in done] == [("successful", newest)] * 3
    assert [run["launch_type"] for run in updates_of(api, updating)] == ["manual", "dependency"]


def test_an_update_that_fails_fails_the_job_with_the_reason(
    api: Client, updating: Json, inventory: Json, remote: tuple[GitRepo, GitHttp]
) -> None:
    template = api.template(project=updating["id"], playbook="hello.yml", inventory=inventory["id"])
    remote[1].stop()
    job = api.run(template)
    update = updates_of(api, updating)[-1]

    assert update["status"] == "failed"
    assert update["job_explanation"]
    assert job["status"] == "failed"
    prefix, _, facts = job["job_explanation"].partition(": ")
    assert prefix == "Previous Task Failed"
    assert json.loads(facts) == {
        "job_type": "project_update",
        "job_name": updating["name"],
        "job_id": str(update["id"]),
    }


def test_a_fresh_update_is_not_repeated(api: Client, updating: Json, inventory: Json) -> None:
    api.patch(updating["url"], scm_update_cache_timeout=3600)
    template = api.template(project=updating["id"], playbook="hello.yml", inventory=inventory["id"])

    assert api.run(template)["status"] == "successful"
    assert len(updates_of(api, updating)) == 1


def test_the_second_job_of_a_template_says_which_one_it_waits_for(
    api: Client, project: Json, inventory: Json, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    template = api.template(
        project=project["id"],
        playbook="hold.yml",
        inventory=inventory["id"],
        extra_vars=json.dumps({"gate": str(gate)}),
    )
    first = api.running(api.launch(template))
    second = api.launch(template)
    seen = waiting(api, second)
    gate.touch()

    assert seen["waiting_on"] == [{"type": "job", "id": first["id"]}]
    assert seen["job_explanation"] == f"Waiting for job {first['id']} of the same template to finish."
    first, second = api.finished(first), api.finished(second)
    assert (first["status"], second["status"]) == ("successful", "successful")
    assert second["started"] >= first["finished"]
    assert (second["waiting_on"], second["job_explanation"]) == ([], "")


def test_simultaneous_jobs_do_not_wait(api: Client, project: Json, inventory: Json, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    template = api.template(
        project=project["id"],
        playbook="hold.yml",
        inventory=inventory["id"],
        allow_simultaneous=True,
        extra_vars=json.dumps({"gate": str(gate)}),
    )
    jobs = [api.launch(template) for _ in range(2)]
    for job in jobs:
        api.running(job)
    gate.touch()

    assert [api.finished(job)["status"] for job in jobs] == ["successful"] * 2
