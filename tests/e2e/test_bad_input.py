"""What cannot work is refused where that can be known, and else ends with a reason. Nothing is left stuck."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import LOCAL, Client, Json, assert_contiguous
from e2e.forge import Forge
from gitserver import GitHttp, GitRepo

MANY = 10_000  # hosts


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_stuck(api: Client) -> Iterator[None]:
    yield
    assert api.get("/api/v2/unified_jobs/", finished__isnull=True)["results"] == []


@pytest.fixture
def template(api: Client, project: Json, inventory: Json) -> Json:
    """A right one."""
    return api.template(project=project["id"], playbook="hello.yml", inventory=inventory["id"])


class TestRefused:
    def test_an_unknown_playbook(self, api: Client, project: Json, inventory: Json) -> None:
        status, body = api.refused(
            "/api/v2/job_templates/", name="x", project=project["id"], playbook="gone.yml", inventory=inventory["id"]
        )

        assert (status, list(body)) == (400, ["playbook"])

    def test_a_playbook_that_went_away(self, api: Client, inventory: Json, tmp_path: Path) -> None:
        repo = GitRepo(tmp_path / "repo")
        repo.commit({"site.yml": "- hosts: all\n"})
        project = api.project(f"file://{repo.path}")
        template = api.template(project=project["id"], playbook="site.yml", inventory=inventory["id"])
        repo.git("mv", "site.yml", "other.yml")
        repo.commit({})
        assert api.update(project)["status"] == "successful"

        status, body = api.refused(template["related"]["launch"])

        assert status == 400
        assert "site.yml" in body["playbook"][0]

    def test_a_project_that_was_never_synced(self, api: Client, inventory: Json, tmp_path: Path) -> None:
        project = api.project(f"file://{tmp_path}/nothing", synced=False)
        assert api.finished(api.last_update(project))["status"] == "failed"
        template = api.template(project=project["id"], playbook="site.yml", inventory=inventory["id"])

        status, body = api.refused(template["related"]["launch"])

        assert (status, body) == (400, {"project": ["Missing a revision to run due to failed project update."]})

    def test_a_launch_without_an_inventory(self, api: Client, project: Json) -> None:
        template = api.template(project=project["id"], playbook="hello.yml", ask_inventory_on_launch=True)

        for prompts in ({}, {"inventory": None}, {"inventory": 999_999}):
            status, body = api.refused(template["related"]["launch"], **prompts)
            assert (status, list(body)) == (400, ["inventory"]), prompts

    def test_an_inventory_that_was_deleted(self, api: Client, template: Json, project: Json) -> None:
        inventory = api.inventory({"local": {}})
        api.patch(template["url"], inventory=inventory["id"])
        answer = api.http.delete(inventory["url"])
        assert answer.status_code in (202, 204), answer.text

        status, body = api.refused(template["related"]["launch"])

        assert (status, list(body)) == (400, ["inventory"])

    @pytest.mark.parametrize(
        "variables", ["{not json", "key: [1, 2", "- a\n- list\n", "just words", "a: b: c", "\t: x"]
    )
    def test_variables_that_are_none(self, api: Client, template: Json, variables: str) -> None:
        api.patch(template["url"], ask_variables_on_launch=True)

        launch = api.refused(template["related"]["launch"], extra_vars=variables)
        save = api.http.patch(template["url"], json={"extra_vars": variables})
        inventory = api.refused("/api/v2/inventories/", name="x", organization=api.organization, variables=variables)

        assert (launch[0], list(launch[1])) == (400, ["extra_vars"])
        assert (save.status_code, list(save.json())) == (400, ["extra_vars"])
        assert (inventory[0], list(inventory[1])) == (400, ["variables"])

    def test_a_credential_of_the_wrong_kind(self, api: Client, template: Json) -> None:
        scm = api.credential("Source Control", username="x", password="y")
        api.patch(template["url"], ask_credential_on_launch=True)

        attach, _ = api.refused(template["related"]["credentials"], id=scm["id"])
        launch, body = api.refused(template["related"]["launch"], credentials=[scm["id"]])

        assert attach == 400
        assert (launch, list(body)) == (400, ["credentials"])

    def test_a_project_with_a_credential_of_the_wrong_kind(self, api: Client) -> None:
        machine = api.credential("Machine", username="x", password="y")
        status, body = api.refused(
            "/api/v2/projects/",
            name="x",
            organization=api.organization,
            scm_type="git",
            scm_url="https://git.invalid/x",
            credential=machine["id"],
        )

        assert (status, list(body)) == (400, ["credential"])

    def test_a_template_that_does_not_exist(self, api: Client) -> None:
        assert api.refused("/api/v2/job_templates/999999/launch/") == (404, {"detail": "Not found."})

    def test_a_body_that_is_no_json(self, api: Client, template: Json) -> None:
        answer = api.http.post(
            template["related"]["launch"], content="{broken", headers={"Content-Type": "application/json"}
        )

        assert answer.status_code == 400
        assert "JSON" in answer.json()["detail"]

    def test_a_template_with_a_running_job_is_not_deleted(
        self, api: Client, project: Json, inventory: Json, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        template = api.template(
            project=project["id"],
            playbook="hold.yml",
            inventory=inventory["id"],
            extra_vars=json.dumps({"gate": str(gate)}),
        )
        job = api.running(api.launch(template))
        answers = [api.http.delete(thing["url"]) for thing in (template, job)]
        gate.touch()

        assert [answer.status_code for answer in answers] == [409, 409]
        assert api.finished(job)["status"] == "successful"


class TestProjectUpdates:
    def test_a_wrong_url(self, api: Client) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            project = api.project(f"http://127.0.0.1:{unused.getsockname()[1]}/x", synced=False)
            update = api.finished(api.last_update(project))

        assert update["status"] == "failed"
        assert "127.0.0.1" in update["job_explanation"]
        assert "fatal:" in api.stdout(update)
        assert_contiguous(api.events(update))
        assert api.get(project["url"])["status"] == "failed"

    def test_a_wrong_password(self, api: Client, repo: GitRepo) -> None:
        server = GitHttp(repo.path.parent, "deploy", "right")
        credential = api.credential("Source Control", username="deploy", password="wrong")
        try:
            project = api.project(f"{server.url}/project", credential=credential["id"], synced=False)
            update = api.finished(api.last_update(project))
        finally:
            server.stop()

        assert update["status"] == "failed"
        assert "refused the sign-in" in update["job_explanation"]

    def test_a_branch_that_does_not_exist(self, api: Client, repo: GitRepo) -> None:
        project = api.project(f"file://{repo.path}", scm_branch="gone", synced=False)
        update = api.finished(api.last_update(project))

        assert update["status"] == "failed"
        assert "gone" in update["job_explanation"]


class TestJobs:
    def test_a_playbook_with_a_syntax_error(self, api: Client, project: Json, inventory: Json) -> None:
        job = api.run(api.template(project=project["id"], playbook="syntax_error.yml", inventory=inventory["id"]))

        assert job["status"] == "failed"
        assert "couldn't resolve module/action 'no.such.module'" in job["job_explanation"]
        assert "no.such.module" in api.stdout(job)

    def test_an_unreachable_host(self, api: Client, project: Json) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            away = {"ansible_host": "127.0.0.1", "ansible_port": unused.getsockname()[1]}
            inventory = api.inventory({"away": away})
            job = api.run(api.template(project=project["id"], playbook="ssh.yml", inventory=inventory["id"]))

        assert job["status"] == "failed"
        assert job["host_status_counts"] == {"dark": 1}
        assert "UNREACHABLE" in api.stdout(job)
        (event,) = api.events(job, event="runner_on_unreachable")
        assert event["host_name"] == "away"
        assert event["failed"]

    def test_a_limit_that_matches_nothing(self, api: Client, template: Json) -> None:
        api.patch(template["url"], limit="nobody")
        job = api.run(template)

        assert job["status"] == "failed"
        assert "leaves us with no hosts to target" in job["job_explanation"]
        assert "nobody" in api.stdout(job)

    def test_output_that_databases_choke_on(self, api: Client, project: Json, inventory: Json) -> None:
        """A line of five megabytes, and bytes that are no UTF-8."""
        job = api.run(api.template(project=project["id"], playbook="odd_output.yml", inventory=inventory["id"]))

        assert job["status"] == "successful", job["job_explanation"]
        assert "only download supported" in api.stdout(job)
        output = api.stdout(job, "txt_download")
        assert "x" * 5_000_000 in output
        assert "still here" in output
        assert "caf\ufffd \ufffd\ufffd end" in output
        assert_contiguous(api.events(job))

    def test_the_project_was_deleted_on_the_disk(self, api: Client, inventory: Json) -> None:
        project = api.create("projects", organization=api.organization, local_path=f"nowhere-{inventory['id']}")
        job = api.run(api.template(project=project["id"], playbook="site.yml", inventory=inventory["id"]))

        assert job["status"] in ("failed", "error")
        assert f"nowhere-{inventory['id']}" in job["job_explanation"]


@pytest.fixture(scope="module")
def crowd(forge: Forge, api: Client) -> Json:
    """Ten thousand hosts; one by one over the API they would take minutes."""
    made = api.inventory({}, **LOCAL)
    forge.sql(
        """
        INSERT INTO hosts (created, modified, name, inventory_id, variables)
        SELECT now(), now(), 'host' || n, %s, '{"number": ' || n || '}' FROM generate_series(1, %s) AS n
        """,
        made["id"],
        MANY,
    )
    return made


class TestManyHosts:
    def test_a_job_limited_to_one_of_them(self, api: Client, project: Json, crowd: Json) -> None:
        template = api.template(
            project=project["id"], playbook="hello.yml", inventory=crowd["id"], ask_limit_on_launch=True
        )
        job = api.run(template, limit="host4711")

        assert job["status"] == "successful", api.stdout(job)
        assert "Hello from host4711" in api.stdout(job)
        assert [summary["host_name"] for summary in api.all(job["related"]["job_host_summaries"])] == ["host4711"]

    def test_the_whole_inventory_in_one_answer(self, api: Client, crowd: Json) -> None:
        script = api.get(f"{crowd['url']}script/", hostvars=1)

        assert len(script["_meta"]["hostvars"]) == MANY
        assert script["_meta"]["hostvars"]["host4711"] == {"number": 4711}
