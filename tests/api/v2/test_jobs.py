"""Jobs: events, output, and what may be done with a run."""

import base64
from typing import Any

import pytest
from sqlalchemy import func, select

from core.db import Database
from models.events import JobEvent, store_events
from models.settings import Setting
from models.unified import unified_job_credentials
from tests.api.conftest import RecordedRuns
from tests.api.world import World, make_event

RED = "\x1b[0;31m"
OFF = "\x1b[0m"
LINES = ("PLAY [all]", f"{RED}failed: <b>&</b>{OFF}", "", "é last")


@pytest.fixture(scope="module")
def job(world: World) -> int:
    return world.job(world.template(), lines=LINES)


def _stdout(world: World, job: int, **query: Any) -> Any:
    return world.admin.get(f"/api/v2/jobs/{job}/stdout/", params=query)


class TestStdout:
    def test_as_text_with_and_without_colours(self, world: World, job: int) -> None:
        assert _stdout(world, job, format="txt").text == "PLAY [all]\nfailed: <b>&</b>\n\né last\n"
        assert _stdout(world, job, format="ansi").text == "\n".join(LINES) + "\n"
        assert _stdout(world, job, format="txt").headers["content-type"] == "text/plain; charset=utf-8"

    def test_as_html_is_escaped_and_coloured(self, world: World, job: int) -> None:
        page = _stdout(world, job, format="html")
        alone = _stdout(world, job, format="html", content_only=1).text

        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text.startswith("<!doctype html>")
        assert '<span class="ansi31">failed: &lt;b&gt;&amp;&lt;/b&gt;</span>' in page.text
        assert alone.startswith("<pre")

    def test_as_json(self, world: World, job: int) -> None:
        body = _stdout(world, job, format="json", content_format="ansi").json()
        encoded = _stdout(world, job, format="json", content_format="ansi", content_encoding="base64").json()["content"]

        assert body == {"range": {"start": 0, "end": 4, "absolute_end": 4}, "content": "\n".join(LINES) + "\n"}
        assert base64.b64decode(encoded).decode() == body["content"]
        assert "&lt;b&gt;" in _stdout(world, job, format="json").json()["content"]

    @pytest.mark.parametrize(
        ("start", "end", "text"),
        [
            (0, 1, "PLAY [all]\n"),
            (1, 3, "failed: <b>&</b>\n\n"),
            (3, 99, "é last\n"),
            (-1, "", "é last\n"),
            ("", -3, "PLAY [all]\n"),
            (9, 12, ""),
            (3, 1, ""),
        ],
    )
    def test_by_lines(self, world: World, job: int, start: Any, end: Any, text: str) -> None:
        assert _stdout(world, job, format="txt", start_line=start, end_line=end).text == text

    def test_range_of_lines_is_told(self, world: World, job: int) -> None:
        body = _stdout(world, job, format="json", start_line=1, end_line=2).json()

        assert body["range"] == {"start": 1, "end": 2, "absolute_end": 4}

    @pytest.mark.parametrize("name", ["start_line", "end_line"])
    @pytest.mark.parametrize("value", ["x", "1.5", "9" * 30])
    def test_lines_that_are_none(self, world: World, job: int, name: str, value: str) -> None:
        assert _stdout(world, job, **{name: value}).json() == {name: ["A valid integer is required."]}

    def test_to_download(self, world: World, job: int) -> None:
        plain, coloured = (_stdout(world, job, format=f"{kind}_download") for kind in ("txt", "ansi"))

        assert plain.headers["content-disposition"] == f'attachment; filename="job_{job}.txt"'
        assert plain.text == "PLAY [all]\nfailed: <b>&</b>\n\né last\n"
        assert coloured.text == "\n".join(LINES) + "\n"

    def test_an_event_of_many_lines_is_cut_in_the_middle(self, world: World, database: Database) -> None:
        job = world.job(world.template(), lines=tuple(f"line {number}" for number in range(450)))

        assert _stdout(world, job, format="txt_download").text.count("\n") == 450  # more than is read at once
        assert _stdout(world, job, format="txt", start_line=449).text == "line 449\n"

    def test_too_much_is_for_download_only(self, world: World, database: Database, job: int) -> None:
        with database.transaction() as session:
            session.add(Setting(key="STDOUT_MAX_BYTES_DISPLAY", value=10))
        try:
            shown = _stdout(world, job, format="json", content_format="ansi").json()
            text = _stdout(world, job, format="txt").text
            downloaded = _stdout(world, job, format="txt_download").text
        finally:
            with database.transaction() as session:
                session.delete(session.get_one(Setting, "STDOUT_MAX_BYTES_DISPLAY"))

        assert text.startswith("Standard Output too large to display (")
        assert text.endswith(" bytes), only download supported for sizes over 10 bytes.")
        assert shown == {"range": {"start": 0, "end": 1, "absolute_end": 1}, "content": text}
        assert "last" in downloaded

    def test_follows_what_the_caller_accepts(self, world: World, job: int) -> None:
        def kind(accept: str) -> str:
            answer = world.admin.get(f"/api/v2/jobs/{job}/stdout/", headers={"Accept": accept})
            return str(answer.headers["content-type"].partition(";")[0])

        assert kind("application/json") == "application/json"
        assert kind("text/html") == "text/html"
        assert kind("*/*") == "text/plain"
        assert _stdout(world, job, format="pdf").status_code == 404


class TestEvents:
    def test_are_contiguous_and_in_order(self, world: World, job: int) -> None:
        events = world.get(f"jobs/{job}/job_events", order_by="start_line", no_truncate="True")["results"]

        assert [(each["start_line"], each["end_line"]) for each in events] == [(0, 1), (1, 2), (2, 3), (3, 4)]
        assert [each["stdout"] for each in events] == list(LINES)
        assert (events[0]["event_display"], events[0]["event_level"], events[0]["job"]) == ("Host OK", 3, job)

    def test_are_filtered(self, world: World, job: int) -> None:
        def counters(**query: Any) -> list[int]:
            return [each["counter"] for each in world.get(f"jobs/{job}/job_events", **query)["results"]]

        assert counters(counter__gt=2) == [3, 4]
        assert counters(start_line__gte=3) == [4]
        assert counters(event__in="runner_on_ok,playbook_on_start", search="PLAY") == [1]
        assert counters(failed="true") == []

    def test_are_found_under_the_kind_of_their_run_only(self, world: World, database: Database, job: int) -> None:
        git = world.project(scm_type="git", scm_url="https://example.org/x.git")
        update = world.get(f"projects/{git['id']}/project_updates")["results"][0]["id"]
        with database.transaction() as session:
            store_events(session, update, [make_event(0, "fetched")])
        of_job = world.get(f"jobs/{job}/job_events")["results"][0]["id"]
        of_update = world.get(f"project_updates/{update}/events")["results"][0]["id"]

        def status(path: str) -> int:
            return world.admin.get(f"/api/v2/{path}/").status_code

        assert [status(f"job_events/{of_job}"), status(f"project_update_events/{of_update}")] == [200, 200]
        assert [status(f"job_events/{of_update}"), status(f"project_update_events/{of_job}")] == [404, 404]

    def test_have_children(self, world: World, job: int) -> None:
        first = world.get(f"jobs/{job}/job_events")["results"][0]

        children = world.admin.get(first["related"]["children"]).json()

        assert [each["counter"] for each in children["results"]] == [2, 3, 4]
        assert world.admin.get(first["url"]).json()["uuid"] == "uuid-0"

    def test_of_a_host(self, world: World) -> None:
        template = world.template()
        host = world.host({"id": template["inventory"]})
        job = world.job(template, lines=("one",), host=host["id"])

        assert world.admin.get(host["related"]["job_events"]).json()["results"][0]["job"] == job
        assert world.get(f"jobs/{job}/job_host_summaries")["results"][0]["host"] == host["id"]

    def test_long_output_is_cut_unless_asked_for(self, world: World) -> None:
        job = world.job(world.template(), lines=("x" * 5000,))

        def shown(**query: str) -> str:
            text: str = world.get(f"jobs/{job}/job_events", **query)["results"][0]["stdout"]
            return text

        assert shown() == "x" * 1023 + "…"
        assert shown(no_truncate="True") == "x" * 5000

    @pytest.mark.parametrize(("most", "shown"), [(3, "xx…"), (0, "x" * 5000)])
    def test_how_much_of_it_lists_show_is_a_setting(
        self, world: World, database: Database, most: int, shown: str
    ) -> None:
        job = world.job(world.template(), lines=("x" * 5000,))
        with database.transaction() as session:
            session.add(Setting(key="EVENT_STDOUT_MAX_BYTES_DISPLAY", value=most))
        try:
            listed = world.get(f"jobs/{job}/job_events")["results"][0]["stdout"]
        finally:
            with database.transaction() as session:
                session.delete(session.get_one(Setting, "EVENT_STDOUT_MAX_BYTES_DISPLAY"))

        assert listed == shown


@pytest.mark.parametrize(
    ("namespace", "inputs", "needed"),
    [
        ("ssh", {"username": "ASK", "password": "ASK"}, ["ssh_password"]),
        ("ssh", {"username": "ASK", "become_method": "ASK"}, []),
        ("vault", {"vault_password": "ASK", "vault_id": ""}, ["vault_password"]),
        ("vault", {"vault_password": "ASK", "vault_id": "dev"}, ["vault_password.dev"]),
        ("scm", {"username": "ASK"}, []),
    ],
)
def test_a_job_needs_the_passwords_that_its_launch_asked_for(
    world: World, namespace: str, inputs: dict[str, str], needed: list[str]
) -> None:
    job, credential = world.job(world.template()), world.credential(namespace, inputs=inputs)
    with world.database.transaction() as session:
        pair = {"unified_job_id": job, "credential_id": credential["id"]}
        session.execute(unified_job_credentials.insert().values(**pair))

    assert world.get(f"jobs/{job}")["passwords_needed_to_start"] == needed
    assert world.get(f"jobs/{job}/relaunch")["passwords_needed_to_start"] == needed


class TestActions:
    def test_a_running_job_can_be_cancelled_and_not_deleted(self, world: World, runs: RecordedRuns) -> None:
        job = world.job(world.template(), status="running", finished=None)

        assert world.get(f"jobs/{job}/cancel") == {"can_cancel": True}
        assert world.admin.delete(f"/api/v2/jobs/{job}/").status_code == 409
        answer = world.admin.post(f"/api/v2/jobs/{job}/cancel/")
        assert (answer.status_code, answer.content) == (202, b"")
        assert ("job", job) in runs.canceled

    def test_one_that_has_ended_cannot(self, world: World, job: int) -> None:
        assert world.get(f"jobs/{job}/cancel") == {"can_cancel": False}
        assert world.admin.post(f"/api/v2/jobs/{job}/cancel/").status_code == 405

    def test_events_go_with_their_job(self, world: World, database: Database) -> None:
        job = world.job(world.template(), lines=("one",))

        assert world.admin.delete(f"/api/v2/jobs/{job}/").status_code == 204

        assert world.admin.get(f"/api/v2/jobs/{job}/").status_code == 404
        with database.transaction() as session:
            assert session.scalar(select(func.count()).where(JobEvent.job_id == job)) == 0

    def test_a_relaunch_is_a_new_job(self, world: World, runs: RecordedRuns) -> None:
        template = world.template()
        job = world.job(template, limit="web")

        answer = world.admin.post(f"/api/v2/jobs/{job}/relaunch/", json={})

        shown = answer.json()
        assert (answer.status_code, shown["launch_type"], shown["limit"]) == (201, "relaunch", "web")
        assert shown["job"] == shown["id"] != job
        assert shown["id"] in runs.started
        assert world.get(f"jobs/{job}/relaunch") == {
            "passwords_needed_to_start": [],
            "retry_counts": {"all": 0, "failed": 0},
        }
        wrong = world.admin.post(f"/api/v2/jobs/{job}/relaunch/", json={"hosts": "some"})
        assert wrong.json() == {"hosts": ['"some" is not a valid choice.']}

    def test_a_job_cannot_be_written(self, world: World, job: int) -> None:
        for method in ("PUT", "PATCH", "POST"):
            assert world.admin.request(method, f"/api/v2/jobs/{job}/", json={}).status_code == 405


def test_details_are_for_the_detail(world: World, job: int) -> None:
    listed, detail = world.get("jobs", id=job)["results"][0], world.get(f"jobs/{job}")

    assert set(detail) - set(listed) >= {"job_args", "job_env", "result_traceback", "event_processing_finished"}
    assert detail["elapsed"] == 5.0
    assert detail["launched_by"] == {}


def test_a_running_job_counts_its_seconds(world: World) -> None:
    job = world.job(world.template(), status="running", finished=None, elapsed=0)

    assert 4 < world.get(f"jobs/{job}")["elapsed"] < 60


def test_a_mixed_list_shows_each_as_its_own_kind(world: World) -> None:
    template = world.template()
    job = world.job(template)
    project = world.project(scm_type="git", scm_url="https://example.org/x.git")
    update = project["summary_fields"]["current_update"]["id"]

    found = world.get("unified_jobs", id__in=f"{job},{update}", order_by="-type")["results"]

    assert [(each["type"], each["url"]) for each in found] == [
        ("project_update", f"/api/v2/project_updates/{update}/"),
        ("job", f"/api/v2/jobs/{job}/"),
    ]
    assert found[0]["related"]["unified_job_template"] == project["url"]
    assert found[1]["related"]["unified_job_template"] == template["url"]
    assert found[1]["summary_fields"]["unified_job_template"]["unified_job_type"] == "job"
    for each in found:
        for url in each["related"].values():
            assert world.admin.get(url).status_code == 200
