"""The states of a run: every way between them, what comes late or twice, and what an end leaves behind."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from make import (
    make_git_project,
    make_host,
    make_instance,
    make_instance_group,
    make_inventory,
    make_job,
    make_template,
    make_update,
)
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from activities.output import event_row
from core.db import Database
from models import gates, runs
from models.events import JobEvent, store_events
from models.instances import Instance
from models.inventories import Host
from models.job_templates import JobTemplate
from models.jobs import Job, JobHostSummary
from models.project_updates import depend_on_update
from models.unified import FINISHED, UnifiedJob

BEFORE = ("pending", "waiting")
ACTIVE = ("new", "pending", "waiting", "running")


def state(session: Session, run: UnifiedJob) -> str:
    session.refresh(run)
    return run.status


class TestBegin:
    @pytest.mark.parametrize("status", ACTIVE + FINISHED)
    def test_only_what_has_not_begun(self, session: Session, status: str) -> None:
        job = make_job(session, status=status)

        assert runs.begin(session, job.id, "n1") is (status in BEFORE)
        assert state(session, job) == ("running" if status in BEFORE else status)

    def test_says_where_and_clears_why_it_waited(self, session: Session) -> None:
        job = make_job(session, status="waiting", waiting_on=[{"type": "x"}], job_explanation="Waiting.")

        runs.begin(session, job.id, "n1")

        session.refresh(job)
        assert (job.execution_node, job.controller_node, job.waiting_on, job.job_explanation) == ("n1", "n1", [], "")
        assert job.started is not None

    def test_not_on_a_host_that_it_does_not_belong_to(self, session: Session) -> None:
        job = make_job(session, execution_node="n2")

        assert not runs.begin(session, job.id, "n1")
        assert runs.begin(session, job.id, "n2")

    def test_shows_on_the_template_without_modifying_it(self, session: Session) -> None:
        template = make_template(session)
        modified = template.modified
        job = make_job(session, template)

        runs.begin(session, job.id, "n1")

        session.refresh(template)
        assert (template.status, template.current_job_id, template.modified) == ("running", job.id, modified)

    def test_of_a_deleted_template_works(self, session: Session) -> None:
        assert runs.begin(session, make_job(session, unified_job_template_id=None).id, "n1")

    def test_of_a_row_that_is_gone(self, session: Session) -> None:
        assert not runs.begin(session, 2**30, "n1")


class TestClaim:
    @pytest.fixture
    def nodes(self, session: Session) -> list[Instance]:
        return [make_instance(session, capacity=capacity) for capacity in (2, 4)]

    @pytest.fixture
    def group(self, session: Session, nodes: list[Instance]) -> int:
        return make_instance_group(session, nodes).id

    def test_goes_to_who_asks_if_there_is_room(self, session: Session, nodes: list[Instance], group: int) -> None:
        job = make_job(session, instance_group_id=group)

        assert runs.claim(session, job.id, nodes[0].hostname) == nodes[0].hostname

    def test_goes_to_who_has_most_room_otherwise(self, session: Session, nodes: list[Instance], group: int) -> None:
        make_job(session, execution_node=nodes[0].hostname, task_impact=2, status="running")
        job = make_job(session, instance_group_id=group)

        assert runs.claim(session, job.id, nodes[0].hostname) == nodes[1].hostname

    def test_what_runs_on_a_host_is_found_without_reading_all_that_ever_ran(self, session: Session) -> None:
        running = select(UnifiedJob.id).where(UnifiedJob.execution_node == "n", UnifiedJob.finished.is_(None))
        session.execute(text("SET LOCAL enable_seqscan = off"))

        statement = running.compile(session.connection(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(session.scalars(text(f"EXPLAIN {statement}")))

        assert "ix_unified_jobs_active_on" in plan

    def test_the_dead_are_not_chosen(self, session: Session, nodes: list[Instance], group: int) -> None:
        nodes[1].last_seen = datetime(2026, 1, 1, tzinfo=UTC)
        job = make_job(session, instance_group_id=group, task_impact=3)

        assert runs.claim(session, job.id, nodes[0].hostname) == nodes[0].hostname

    def test_first_claim_stands(self, session: Session, nodes: list[Instance], group: int) -> None:
        job = make_job(session, instance_group_id=group)
        first = runs.claim(session, job.id, nodes[0].hostname)

        assert runs.claim(session, job.id, nodes[1].hostname) == first

    def test_released_one_may_be_claimed_again(self, session: Session, nodes: list[Instance], group: int) -> None:
        job = make_job(session, instance_group_id=group)
        runs.claim(session, job.id, nodes[0].hostname)

        assert runs.release_claim(session, job.id)
        assert runs.claim(session, job.id, nodes[1].hostname) == nodes[1].hostname

    @pytest.mark.parametrize("status", ["running", *FINISHED])
    def test_what_has_begun_is_not_released(self, session: Session, status: str) -> None:
        job = make_job(session, status=status, execution_node="n1")

        assert not runs.release_claim(session, job.id)
        session.refresh(job)
        assert job.execution_node == "n1"

    @pytest.mark.parametrize("status", FINISHED)
    def test_nothing_to_claim_when_it_is_over(self, session: Session, status: str) -> None:
        assert runs.claim(session, make_job(session, status=status).id, "n1") == ""
        assert runs.claim(session, 2**30, "n1") == ""


class TestEnd:
    @pytest.mark.parametrize("status", ACTIVE)
    @pytest.mark.parametrize("final", FINISHED)
    def test_from_any_active_state(self, session: Session, status: str, final: str) -> None:
        job = make_job(session, status=status, start_args="secret", waiting_on=[{"type": "x"}])

        assert runs.end(session, job.id, final, "Because.", "Traceback") == final

        session.refresh(job)
        assert (job.status, job.failed) == (final, final != "successful")
        assert (job.job_explanation, job.result_traceback) == ("Because.", "Traceback")
        assert (job.start_args, job.waiting_on, job.event_processing_finished) == ("", [], True)
        assert job.finished is not None
        assert (job.canceled_on is not None) is (final == "canceled")

    @pytest.mark.parametrize("status", FINISHED)
    def test_late_or_repeated_one_changes_nothing(self, session: Session, status: str) -> None:
        job = make_job(session)
        runs.end(session, job.id, status, "First.")
        session.refresh(job)
        finished = job.finished

        for final in FINISHED:
            assert runs.end(session, job.id, final, "Second.") == status

        session.refresh(job)
        assert (job.status, job.job_explanation, job.finished) == (status, "First.", finished)

    def test_error_of_a_run_that_was_to_end_is_a_cancel(self, session: Session) -> None:
        job = make_job(session, status="running", cancel_flag=True)

        assert runs.end(session, job.id, "error", "lost") == "canceled"

    def test_success_of_a_run_that_was_to_end_stands(self, session: Session) -> None:
        assert runs.end(session, make_job(session, cancel_flag=True).id, "successful") == "successful"

    def test_row_that_is_gone(self, session: Session) -> None:
        assert runs.end(session, 2**30, "error") == ""

    def test_elapsed_counts_from_the_start(self, session: Session) -> None:
        job, never = make_job(session), make_job(session)
        runs.begin(session, job.id, "n1")

        for run in (job, never):
            runs.end(session, run.id, "failed")
            session.refresh(run)

        assert job.started
        assert job.finished
        assert float(job.elapsed) == pytest.approx((job.finished - job.started).total_seconds(), abs=0.001)
        assert never.elapsed == 0


class TestTemplateShowsIts:
    @pytest.fixture
    def template(self, session: Session) -> JobTemplate:
        return make_template(session, allow_simultaneous=True)

    def test_last_run(self, session: Session, template: JobTemplate) -> None:
        modified = template.modified
        job = make_job(session, template)
        runs.begin(session, job.id, "n1")

        runs.end(session, job.id, "failed")

        session.refresh(template)
        assert (template.status, template.last_job_id, template.last_job_failed) == ("failed", job.id, True)
        assert (template.current_job_id, template.last_job_run, template.modified) == (None, job.finished, modified)

    def test_run_that_goes_on(self, session: Session, template: JobTemplate) -> None:
        first, second = make_job(session, template), make_job(session, template)
        for job in (first, second):
            runs.begin(session, job.id, "n1")

        runs.end(session, first.id, "failed")
        session.refresh(template)
        assert (template.status, template.current_job_id, template.last_job_id) == ("running", second.id, first.id)

        runs.end(session, second.id, "successful")
        session.refresh(template)
        assert (template.status, template.current_job_id, template.last_job_failed) == ("successful", None, False)

    def test_project_remembers_its_last_success(self, session: Session) -> None:
        project = make_git_project(session, last_updated=None)

        runs.end(session, make_update(session, project).id, "failed")
        session.refresh(project)
        assert (project.last_update_failed, project.last_updated, project.status) == (True, None, "failed")

        update = make_update(session, project)
        runs.end(session, update.id, "successful")
        session.refresh(project)
        assert (project.last_update_failed, project.last_updated) == (False, update.finished)


class TestDependencies:
    @pytest.fixture
    def job(self, session: Session) -> Job:
        project = make_git_project(session, scm_update_on_launch=True)
        return make_job(session, make_template(session, project_id=project.id))

    def test_are_found_when_the_workflow_takes_the_row(self, session: Session, job: Job) -> None:
        runs.take(session, job, "job-1")
        runs.take(session, job, "job-1")

        [update] = runs.dependencies(session, job.id)
        assert (update.launch_type, job.work_unit_id) == ("dependency", "job-1")

    @pytest.mark.parametrize(
        ("ended", "status", "words"),
        [("failed", "failed", "Previous Task Failed: "), ("canceled", "canceled", "Previous Task Canceled: ")],
    )
    def test_failure_is_the_jobs_in_words_that_clients_parse(
        self, session: Session, job: Job, ended: str, status: str, words: str
    ) -> None:
        update_id = depend_on_update(session, job)
        assert update_id is not None
        runs.end(session, update_id, ended)
        [update] = runs.dependencies(session, job.id)
        update.name = 'say "hi"'

        runs.end_for_dependency(session, job.id, update)

        session.refresh(job)
        assert job.status == status
        assert job.job_explanation.startswith(words)
        told = json.loads(job.job_explanation.removeprefix(words))
        assert told == {"job_type": "project_update", "job_name": 'say "hi"', "job_id": str(update_id)}


class TestDiscard:
    def test_leaves_the_template_as_it_was(self, session: Session) -> None:
        template = make_template(session)
        before = make_job(session, template)
        runs.end(session, before.id, "successful")
        job = make_job(session, template)
        session.refresh(template)
        template.status, template.current_job_id = "pending", job.id

        runs.discard(session, job.id)
        runs.discard(session, job.id)

        session.refresh(template)
        assert session.scalar(select(Job.id).where(Job.id == job.id)) is None
        assert (template.status, template.current_job_id) == ("successful", None)

    def test_of_the_first_run_leaves_a_template_that_never_ran(self, session: Session) -> None:
        template = make_template(session)
        job = make_job(session, template)
        template.status, template.current_job_id = "pending", job.id

        runs.discard(session, job.id)

        session.refresh(template)
        assert template.status == "never updated"

    def test_not_of_what_has_ended(self, session: Session) -> None:
        job = make_job(session, status="canceled")

        runs.discard(session, job.id)

        assert session.scalar(select(Job.id).where(Job.id == job.id)) == job.id


# --- what a playbook leaves behind ------------------------------------------------------------------------------------


def event(counter: int, kind: str, **over: Any) -> dict[str, Any]:
    data = over.pop("event_data", {})
    return event_row(
        {"counter": counter, "created": "2026-11-21T10:00:00+00:00", "event": kind, "event_data": data} | over, {}
    )


def stats(counter: int, **data: Any) -> dict[str, Any]:
    return event(counter, "playbook_on_stats", event_data=data)


class TestSummaries:
    @pytest.fixture
    def job(self, session: Session) -> Job:
        inventory = make_inventory(session, hosts=["web", "db"])
        job = make_job(session, make_template(session, inventory_id=inventory.id))
        runs.begin(session, job.id, "n1")
        return job

    def test_per_host_with_counts_and_artifacts(self, session: Session, job: Job) -> None:
        before = {host.name: host.modified for host in session.scalars(select(Host))}
        store_events(
            session,
            job.id,
            [
                event(1, "playbook_on_start"),
                event(2, "playbook_on_play_start"),
                event(3, "playbook_on_task_start"),
                event(4, "playbook_on_task_start"),
                stats(
                    5,
                    ok={"web": 2, "db": 1},
                    changed={"web": 1},
                    dark={"db": 1},
                    rescued={"added": 1},
                    processed={"web": 1, "db": 1, "added": 1},
                    artifact_data={"version": 7},
                ),
            ],
        )

        runs.end(session, job.id, "failed")

        session.expire_all()
        assert job.job_explanation == "Could not reach db."
        rows = {
            row.host_name: row for row in session.scalars(select(JobHostSummary).where(JobHostSummary.job_id == job.id))
        }
        hosts = {host.name: host for host in session.scalars(select(Host).where(Host.inventory_id == job.inventory_id))}
        assert {name: (row.ok, row.changed, row.dark, row.failed) for name, row in rows.items()} == {
            "web": (2, 1, 0, False),
            "db": (1, 0, 1, True),
            "added": (0, 0, 0, False),
        }
        assert rows["web"].host_id == hosts["web"].id
        assert rows["added"].host_id is None
        assert (hosts["db"].last_job_id, hosts["db"].last_job_host_summary_id) == (job.id, rows["db"].id)
        assert hosts["db"].modified == before["db"]
        assert job.artifacts == {"version": 7}
        assert job.playbook_counts == {"play_count": 1, "task_count": 2}
        assert job.host_status_counts == {"changed": 1, "dark": 1, "rescued": 1}

    def test_without_statistics_parents_are_marked_all_the_same(self, session: Session, job: Job) -> None:
        store_events(
            session,
            job.id,
            [
                event(1, "playbook_on_start", uuid="book"),
                event(2, "playbook_on_play_start", uuid="play", parent_uuid="book"),
                event(3, "playbook_on_task_start", uuid="task", parent_uuid="play"),
                event(4, "playbook_on_task_start", uuid="other", parent_uuid="play"),
                event(5, "runner_on_failed", parent_uuid="task"),
            ],
        )

        runs.end(session, job.id, "canceled")

        failed = session.scalars(
            select(JobEvent.uuid).where(JobEvent.job_id == job.id, JobEvent.failed, JobEvent.uuid != "")
        ).all()
        assert sorted(failed) == ["book", "play", "task"]
        assert job.host_status_counts is None

    @pytest.mark.parametrize(
        "forged",
        [
            {"ok": ["web"], "dark": 5, "artifact_data": "x"},
            {"ok": {"web": "many", "x" * 5000: 1}, "failures": {"db": 2**40}, "dark": {"db": -1}},
            {},
        ],
    )
    def test_statistics_that_are_none_do_not_keep_a_run_from_ending(
        self, session: Session, job: Job, forged: dict[str, Any]
    ) -> None:
        store_events(session, job.id, [stats(1, **forged)])

        assert runs.end(session, job.id, "successful") == "successful"

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ("\x1b[0;31m[ERROR]: couldn't read it\x1b[0m", "couldn't read it"),
            ("ERROR! couldn't read it", "couldn't read it"),
            ("it went wrong", "its output says why."),
        ],
    )
    def test_failure_without_statistics_tells_what_ansible_said(
        self, session: Session, job: Job, said: str, reason: str
    ) -> None:
        store_events(session, job.id, [event(1, "verbose"), event(2, "verbose", stdout=said)])

        runs.end(session, job.id, "failed")

        session.refresh(job)
        assert job.job_explanation == f"Ansible ended before it had played the playbook: {reason}"

    def test_ten_thousand_hosts(self, session: Session, job: Job) -> None:
        store_events(session, job.id, [stats(1, ok={f"host{number}": 1 for number in range(10_000)})])

        runs.end(session, job.id, "successful")

        assert job.host_status_counts == {"ok": 10_000}


class TestStartFacts:
    def test_tell_what_the_ui_of_temporal_shows(self, session: Session) -> None:
        job = make_job(session, name="Deploy")

        assert runs.start_facts(session, [job.id]) == [
            {"kind": "job", "run_id": job.id, "name": "Deploy", "organization": "", "username": "", "gated": False}
        ]

    def test_job_is_gated_when_a_gate_has_something_to_say(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Gate:
            name = "test"

            def applies(self, session: Session, job: Job) -> bool:
                return job.name == "gated"

            def check(self, session: Session, job: Job) -> gates.Refusal | None:
                return None

        monkeypatch.setattr(gates, "GATES", [Gate()])
        monkeypatch.setattr(runs, "GATES", gates.GATES)
        rows = [make_job(session, name="gated"), make_job(session, name="free"), make_update(session)]

        facts = runs.start_facts(session, [row.id for row in rows])

        assert [fact["gated"] for fact in facts] == [True, False, False]


def test_host_is_still_known_after_its_job_is_gone(session: Session) -> None:
    inventory = make_inventory(session)
    host = make_host(session, inventory, name="web")
    job = make_job(session, make_template(session, inventory_id=inventory.id))
    store_events(session, job.id, [stats(1, ok={"web": 1})])
    runs.end(session, job.id, "successful")

    session.delete(job)
    session.flush()

    session.refresh(host)
    assert (host.last_job_id, host.last_job_host_summary_id) == (None, None)


def test_jobs_on_the_same_hosts_may_end_at_once(database: Database) -> None:
    """Each writes to all of the hosts; none waits for the other in a circle."""
    names = [f"h{number}" for number in range(300)]
    with database.transaction() as session:
        inventory = make_inventory(session, hosts=names)
        template = make_template(session, inventory_id=inventory.id, allow_simultaneous=True)
        ids = [make_job(session, template).id for _ in range(12)]
    for number, job_id in enumerate(ids):
        played = names[:: (-1) ** number]
        with database.transaction() as session:
            store_events(session, job_id, [stats(1, ok=dict.fromkeys(played[: 300 - number], 1))])

    def end(job_id: int) -> str:
        with database.transaction() as session:
            return runs.end(session, job_id, "successful")

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(end, ids)) == ["successful"] * len(ids)
