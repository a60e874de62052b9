"""The activity that runs a playbook, on a real run host: one attempt, several attempts, and every way to end."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from gitserver import GitRepo
from make import (
    make_credential,
    make_git_project,
    make_group,
    make_host,
    make_inventory,
    make_job,
    make_project,
    make_template,
)
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import output
from activities.playbook import LOST, RESTARTED, Playbooks, _PlaybookRun, checkouts
from activities.services import WorkerServices
from core.crypto import MASK
from core.db import Database
from models import runs
from models.events import JobEvent
from models.inventories import Inventory
from models.jobs import Job
from models.unified import unified_job_credentials
from workflows.contracts import Outcome, PlayInput, RunRef

LOCAL = 'ansible_connection: local\nansible_python_interpreter: "{{ ansible_playbook_python }}"'


@pytest.fixture
def playbooks(services: WorkerServices) -> Playbooks:
    return Playbooks(services)


def add(database: Database, project: str = "hello", **over: Any) -> int:
    """A job of one of the projects in `tests/projects`, given to this host."""
    with database.transaction() as session:
        inventory = make_inventory(session)
        make_host(session, inventory, name="localhost", variables=LOCAL)
        project_id = over.pop("project_id", None) or make_project(session, local_path=project).id
        template = make_template(session, inventory_id=inventory.id, project_id=project_id)
        return make_job(session, template, **{"playbook": f"{project}.yml", "execution_node": "n1"} | over).id


def look(database: Database, job_id: int) -> Job:
    with database.transaction() as session:
        return session.get_one(Job, job_id)


def events(database: Database, job_id: int) -> list[JobEvent]:
    with database.transaction() as session:
        return list(session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.counter)))


def is_whole(found: list[JobEvent]) -> bool:
    """Contiguous counters, and lines that follow each other from 0."""
    lines = [(event.start_line, event.end_line) for event in found]
    return [event.counter for event in found] == list(range(1, len(found) + 1)) and all(
        before[1] == after[0] for before, after in zip([(0, 0), *lines], lines, strict=False)
    )


class Attempt:
    """One attempt of the activity, in a thread as in a worker."""

    def __init__(self, playbooks: Playbooks, job_id: int, *, cancelled: bool = False) -> None:
        self.environment = ActivityEnvironment()
        self._thread = ThreadPoolExecutor(1)
        self._future: Future[Outcome] = self._thread.submit(
            self.environment.run, playbooks.run_playbook, PlayInput(job_id, cancelled)
        )

    def result(self) -> Outcome:
        try:
            return self._future.result(timeout=60)
        finally:
            self._thread.shutdown()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def slow(database: Database, journal: Path) -> int:
    """A job that writes a line to the journal per second."""
    return add(database, "slow", extra_vars=f'{{"journal": "{journal}", "steps": 4, "pause": 0.7}}')


def wait_for(path: Path, lines: int = 1) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().count("\n") >= lines:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} has no {lines} lines")


class TestCourse:
    def test_stores_everything_and_says_what_ran(self, playbooks: Playbooks, database: Database) -> None:
        job_id = add(database)

        assert Attempt(playbooks, job_id).result() == Outcome("successful")

        job, found = look(database, job_id), events(database, job_id)
        assert (job.status, job.execution_node, job.events_stored) == ("running", "n1", len(found))
        assert is_whole(found)
        assert [event.event for event in found][:2] == ["playbook_on_start", "playbook_on_play_start"]
        assert found[-1].event == "playbook_on_stats"
        assert {event.host_name for event in found if event.host_id} == {"localhost"}
        assert "ansible-playbook" in job.job_args
        assert "hello.yml" in job.job_args
        assert job.job_env["JOB_ID"] == str(job_id)

    def test_failed_playbook_is_a_result(self, playbooks: Playbooks, database: Database) -> None:
        job_id = add(database, "broken")

        assert Attempt(playbooks, job_id).result().status == "failed"
        assert "ERROR" in "".join(event.stdout for event in events(database, job_id))

    def test_names_of_hosts_reach_the_playbook_as_they_are(self, playbooks: Playbooks, database: Database) -> None:
        """Although the project enables other inventory plugins than the one that the run needs."""
        names = {"bad[1", "web[01:03]", "x:2222", "-v", "a,b"}
        job_id = add(database, "plugins")
        with database.transaction() as session:
            inventory = session.get_one(Inventory, session.get_one(Job, job_id).inventory_id)
            for name in names:
                make_host(session, inventory, name=name, variables=LOCAL)

        assert Attempt(playbooks, job_id).result() == Outcome("successful")

        found = [event for event in events(database, job_id) if event.event == "runner_on_ok"]
        assert {event.host_name for event in found} == {"localhost", *names}
        assert all(event.host_id for event in found)

    def test_inventory_that_cannot_be_read_is_a_failure(self, playbooks: Playbooks, database: Database) -> None:
        job_id = add(database, "plugins")
        with database.transaction() as session:
            inventory = session.get_one(Inventory, session.get_one(Job, job_id).inventory_id)
            make_group(session, inventory, name="web", variables="ansible_group_priority: high")

        outcome = Attempt(playbooks, job_id).result()
        with database.transaction() as session:
            runs.end(session, job_id, outcome.status, outcome.explanation)

        job = look(database, job_id)
        assert (job.status, job.job_explanation) == (
            "failed",
            "Ansible ended before it had played the playbook: invalid literal for int() with base 10: 'high'",
        )

    def test_timeout_is_a_failure_with_the_reason(self, playbooks: Playbooks, database: Database, slow: int) -> None:
        with database.transaction() as session:
            session.get_one(Job, slow).timeout = 1

        assert Attempt(playbooks, slow).result() == Outcome("failed", "Job terminated due to timeout")

    def test_from_git_at_the_projects_revision(self, playbooks: Playbooks, database: Database, tmp_path: Path) -> None:
        """Although this host has never seen the repository, and its branch has moved on."""
        repo = GitRepo(tmp_path / "repo")
        revision = repo.commit({"site.yml": "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: old}}]\n"})
        repo.commit({"site.yml": "- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: new}}]\n"})
        with database.transaction() as session:
            project = make_git_project(session, scm_url=f"file://{repo.path}", scm_revision=revision)
        job_id = add(database, project_id=project.id, playbook="site.yml")

        assert Attempt(playbooks, job_id).result() == Outcome("successful")

        assert look(database, job_id).scm_revision == revision
        printed = "".join(event.stdout for event in events(database, job_id))
        assert "old" in printed
        assert "new" not in printed

    def test_from_a_branch_of_its_own(self, playbooks: Playbooks, database: Database, tmp_path: Path) -> None:
        repo = GitRepo(tmp_path / "repo")
        main = repo.commit({"site.yml": "- hosts: all\n"})
        repo.git("checkout", "-q", "-b", "topic")
        topic = repo.commit({"only_here.yml": "- hosts: all\n  gather_facts: false\n"})
        with database.transaction() as session:
            project = make_git_project(
                session, scm_url=f"file://{repo.path}", scm_revision=main, scm_branch="main", allow_override=True
            )
        job_id = add(database, project_id=project.id, playbook="only_here.yml", scm_branch="topic")

        assert Attempt(playbooks, job_id).result() == Outcome("successful")
        assert look(database, job_id).scm_revision == topic


class TestCannotStart:
    def test_unknown_playbook(self, playbooks: Playbooks, database: Database) -> None:
        outcome = Attempt(playbooks, add(database, playbook="other.yml")).result()

        assert outcome.status == "error"
        assert outcome.explanation.startswith("Playbook other.yml is not in the project")

    def test_playbook_outside_of_the_project(
        self, playbooks: Playbooks, database: Database, services: WorkerServices
    ) -> None:
        other = checkouts(services) / "other" / "site.yml"
        other.parent.mkdir(parents=True)
        other.write_text("- hosts: all\n")

        outcome = Attempt(playbooks, add(database, playbook="../other/site.yml")).result()

        assert outcome.explanation.startswith("Playbook ../other/site.yml is not in the project")

    @pytest.mark.parametrize("over", [{"scm_revision": ""}, {"status": "failed"}])
    def test_project_without_a_revision_to_trust(
        self, playbooks: Playbooks, database: Database, over: dict[str, str]
    ) -> None:
        with database.transaction() as session:
            project = make_git_project(session, **over)

        outcome = Attempt(playbooks, add(database, project_id=project.id)).result()

        assert outcome.status == "error"
        assert "no revision to run" in outcome.explanation

    def test_project_that_was_deleted(self, playbooks: Playbooks, database: Database) -> None:
        job_id = add(database)
        with database.transaction() as session:
            session.get_one(Job, job_id).project_id = None

        assert "project of this job was deleted" in Attempt(playbooks, job_id).result().explanation

    def test_broken_variables(self, playbooks: Playbooks, database: Database) -> None:
        job_id = add(database)
        with database.transaction() as session:
            inventory = look(database, job_id).inventory_id
            session.execute(text("UPDATE hosts SET variables = 'a: [' WHERE inventory_id = :id"), {"id": inventory})

        outcome = Attempt(playbooks, job_id).result()

        assert outcome.status == "error"
        assert "host localhost" in outcome.explanation
        assert look(database, job_id).started is None


class TestNothingToStart:
    @pytest.mark.parametrize("over", [{"status": "canceled"}, {"execution_node": "n2"}, {"cancel_flag": True}])
    def test_is_not_started(self, playbooks: Playbooks, database: Database, over: dict[str, Any]) -> None:
        job_id = add(database, **over)

        assert Attempt(playbooks, job_id).result() == Outcome("canceled")
        assert look(database, job_id).started is None
        assert events(database, job_id) == []

    def test_run_that_began_and_left_nothing_is_not_begun_again(self, playbooks: Playbooks, database: Database) -> None:
        outcome = Attempt(playbooks, add(database, status="running")).result()

        assert outcome == Outcome("error", RESTARTED.format(node="n1"))


class TestFurtherAttempts:
    @pytest.mark.parametrize("how", ["worker_shutdown", "not_found", "timed_out", "paused"])
    def test_attach_and_lose_nothing(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path, how: str
    ) -> None:
        """The worker stops, or Temporal gave the attempt up because heartbeats did not get through: nobody asked for
        the playbook to end."""
        first = Attempt(playbooks, slow)
        wait_for(journal, 2)
        if how == "worker_shutdown":
            first.environment.worker_shutdown()
        else:
            first.environment.cancel(ActivityCancellationDetails(**{how: True}))
        with pytest.raises(ApplicationError) as given_up:
            first.result()
        assert not given_up.value.non_retryable

        assert Attempt(playbooks, slow).result() == Outcome("successful")

        assert journal.read_text().splitlines() == ["0", "1", "2", "3"]
        assert is_whole(events(database, slow))

    def test_end_with_the_worker_that_takes_its_playbooks_along(
        self, playbooks: Playbooks, services: WorkerServices, database: Database, slow: int, journal: Path
    ) -> None:
        attempt = Attempt(playbooks, slow)
        wait_for(journal)
        services.ending = True

        assert attempt.result() == Outcome("error", "Forge was stopped while the job ran.")

        assert len(journal.read_text().splitlines()) < 4
        assert is_whole(events(database, slow))

    def test_do_not_begin_on_a_worker_that_ends(
        self, playbooks: Playbooks, services: WorkerServices, database: Database, slow: int
    ) -> None:
        services.ending = True

        with pytest.raises(ApplicationError):
            Attempt(playbooks, slow).result()

        assert look(database, slow).status == "pending"

    def test_end_what_was_to_be_cancelled_while_nobody_was_there(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path
    ) -> None:
        first = Attempt(playbooks, slow)
        wait_for(journal)
        first.environment.worker_shutdown()
        with pytest.raises(ApplicationError):
            first.result()

        assert Attempt(playbooks, slow, cancelled=True).result() == Outcome("canceled")

        assert len(journal.read_text().splitlines()) < 4
        assert is_whole(events(database, slow))

    def test_hide_what_the_run_was_given_although_its_credential_has_changed(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path
    ) -> None:
        with database.transaction() as session:
            credential = make_credential(session, "ssh", {"password": "s3cr3t-pa55word"})
            session.execute(insert(unified_job_credentials).values(unified_job_id=slow, credential_id=credential.id))
            variables = f'{{"journal": "{journal}", "steps": 4, "pause": 0.7, "word": "s3cr3t-pa55word"}}'
            session.get_one(Job, slow).extra_vars = variables
        first = Attempt(playbooks, slow)
        wait_for(journal, 2)
        first.environment.worker_shutdown()
        with pytest.raises(ApplicationError):
            first.result()
        with database.transaction() as session:
            session.execute(delete(unified_job_credentials))

        assert Attempt(playbooks, slow).result() == Outcome("successful")

        told = "".join(event.stdout + str(event.event_data) for event in events(database, slow))
        assert "pa55word" not in told
        assert MASK in told

    def test_one_starts_while_the_other_waits(
        self, services: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Temporal began another attempt because it had not heard of the first one, which is still checking out."""
        playbooks, job_id = Playbooks(services), add(database)
        entered, go_on = threading.Event(), threading.Event()
        check_out = _PlaybookRun._check_out

        def slowly(run: Any, job: Job, project: Any) -> str:
            assert not entered.is_set(), "two at once"
            entered.set()
            go_on.wait(30)
            return check_out(run, job, project)

        monkeypatch.setattr(_PlaybookRun, "_check_out", slowly)
        first = Attempt(playbooks, job_id)
        entered.wait(30)
        second = Attempt(playbooks, job_id)
        time.sleep(0.3)
        go_on.set()

        assert first.result() == second.result() == Outcome("successful")
        assert is_whole(events(database, job_id))

    def test_two_at_once_store_everything_once(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path
    ) -> None:
        """As when the first one only seems to be dead."""
        first = Attempt(playbooks, slow)
        wait_for(journal)
        second = Attempt(playbooks, slow)

        assert first.result() == second.result() == Outcome("successful")

        assert journal.read_text().splitlines() == ["0", "1", "2", "3"]
        assert is_whole(events(database, slow))

    def test_database_that_goes_away(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path, postgres_url: str
    ) -> None:
        """Attempts may fail, the playbook does not notice."""
        attempts = 0

        def follow() -> Outcome:
            nonlocal attempts
            while True:
                attempts += 1
                try:
                    return Attempt(playbooks, slow).result()
                except DBAPIError:
                    time.sleep(0.1)

        with ThreadPoolExecutor(1) as thread:
            outcome = thread.submit(follow)
            wait_for(journal)
            for _ in range(10):
                kill_connections(postgres_url)
                time.sleep(0.15)
            assert outcome.result(60) == Outcome("successful")

        assert journal.read_text().splitlines() == ["0", "1", "2", "3"]
        assert is_whole(events(database, slow))

    def test_connection_lost_while_events_are_copied(
        self, playbooks: Playbooks, database: Database, slow: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The driver's own error, from below SQLAlchemy, is told from a mistake too."""
        store_events = output.store_events
        failures = iter([True, True])

        def failing(session: Session, *arguments: Any) -> int:
            if next(failures, False):
                session.connection().connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return store_events(session, *arguments)

        monkeypatch.setattr(output, "store_events", failing)
        for _ in range(2):
            with pytest.raises(DBAPIError):
                Attempt(playbooks, slow).result()

        assert Attempt(playbooks, slow).result() == Outcome("successful")
        assert is_whole(events(database, slow))

    def test_playbook_that_was_killed_is_lost(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path, services: WorkerServices
    ) -> None:
        attempt = Attempt(playbooks, slow)
        wait_for(journal)
        kill_run(services, slow)

        assert attempt.result() == Outcome("error", LOST.format(node="n1"))
        assert is_whole(events(database, slow))


def kill_connections(url: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    finally:
        connection.close()


def run_of(services: WorkerServices, job_id: int) -> psutil.Process:
    pid = int((services.run_host.file_path(f"job-{job_id}", "x").parents[1] / "lock").read_text())
    return psutil.Process(pid)


def kill_run(services: WorkerServices, job_id: int) -> None:
    run_of(services, job_id).send_signal(signal.SIGKILL)


class TestCancel:
    def test_ends_the_process_tree_and_keeps_the_output(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path, services: WorkerServices
    ) -> None:
        attempt = Attempt(playbooks, slow)
        wait_for(journal)
        tree = [run_of(services, slow), *run_of(services, slow).children(recursive=True)]
        attempt.environment.cancel()
        began = time.monotonic()

        assert attempt.result() == Outcome("canceled")

        assert time.monotonic() - began < 10
        _, alive = psutil.wait_procs(tree, timeout=3)  # the last one has just said that it ends
        assert alive == []
        assert is_whole(events(database, slow))
        assert journal.read_text() != "0\n1\n2\n3\n"

    def test_row_that_ended_meanwhile_ends_the_run(
        self, playbooks: Playbooks, database: Database, slow: int, journal: Path, services: WorkerServices
    ) -> None:
        """The sweep closed it, say: whatever still runs for it is ended, and its output stays as it is."""
        attempt = Attempt(playbooks, slow)
        wait_for(journal)
        with database.transaction() as session:
            runs.end(session, slow, "error", "closed")
        stored = len(events(database, slow))

        attempt.result()

        assert look(database, slow).status == "error"
        assert len(events(database, slow)) == stored
        run = services.run_host.find(f"job-{slow}")
        assert run is not None
        assert not run.alive()
        assert Attempt(playbooks, slow).result() == Outcome("canceled")


class TestMistakes:
    def test_end_the_run_and_tell_no_secret(
        self,
        playbooks: Playbooks,
        database: Database,
        slow: int,
        services: WorkerServices,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken(*_: Any) -> int:
            raise KeyError("s3cret-answer")

        with database.transaction() as session:
            job = session.get_one(Job, slow)
            job.survey_passwords = {"a": services.secrets.encrypt("s3cret-answer", f"job:{slow}:survey:a")}
        monkeypatch.setattr(output, "store_events", broken)

        outcome = Attempt(playbooks, slow).result()

        assert outcome.status == "error"
        assert "KeyError" in outcome.explanation
        assert "s3cret" not in f"{outcome.explanation}{outcome.traceback}"
        run = services.run_host.find(f"job-{slow}")
        assert run is not None
        assert not run.alive()


class TestClean:
    def test_removes_everything_and_may_be_repeated(
        self, playbooks: Playbooks, database: Database, services: WorkerServices
    ) -> None:
        job_id = add(database)
        Attempt(playbooks, job_id).result()
        assert (checkouts(services) / str(job_id)).is_dir()

        for _ in range(2):
            playbooks.clean_run(RunRef(job_id))

        assert services.run_host.find(f"job-{job_id}") is None
        assert not (checkouts(services) / str(job_id)).exists()


def test_heartbeats_go_on_while_a_checkout_takes_long(
    playbooks: Playbooks, database: Database, services: WorkerServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the attempt is given up, and the next one begins beside it."""
    beats: list[float] = []
    released = threading.Event()

    def slow_copy(*_: Any) -> None:
        released.wait(4)

    monkeypatch.setattr("activities.playbook.manual_checkout", slow_copy)
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: beats.append(time.monotonic())

    environment.run(playbooks.run_playbook, PlayInput(add(database)))

    assert len(beats) >= 4


@pytest.fixture(autouse=True)
def no_leftovers(database: Database) -> Iterator[None]:
    yield
    with database.transaction() as session:
        for job_id in session.scalars(select(Job.id).where(Job.finished.is_(None))).all():
            runs.end(session, job_id, "error")
