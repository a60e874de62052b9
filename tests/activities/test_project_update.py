"""The activity that syncs a project, on a real repository."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gitserver import GitHttp, GitRepo
from make import make_credential, make_git_project, make_update
from sqlalchemy import select
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.project_update import ATTEMPTS, ProjectUpdates
from activities.services import WorkerServices
from core.db import Database
from models.events import JobEvent
from models.projects import Project, ProjectUpdate
from models.runs import end
from workflows.contracts import Outcome, RunRef

PLAY = "- hosts: all\n  tasks: []\n"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def updates(services: WorkerServices) -> ProjectUpdates:
    return ProjectUpdates(services)


def add(database: Database, url: str, **over: Any) -> ProjectUpdate:
    with database.transaction() as session:
        project = make_git_project(session, scm_url=url, scm_revision="", playbook_files=[], **over)
        return make_update(session, project, scm_type="git", scm_url=url, credential_id=project.credential_id)


def look(database: Database, run: ProjectUpdate) -> ProjectUpdate:
    with database.transaction() as session:
        return session.get_one(ProjectUpdate, run.id)


def output(database: Database, run: ProjectUpdate) -> list[tuple[int, int, str]]:
    with database.transaction() as session:
        found = select(JobEvent.counter, JobEvent.start_line, JobEvent.stdout).where(JobEvent.job_id == run.id)
        return [tuple(row) for row in session.execute(found.order_by(JobEvent.counter))]


class TestSuccess:
    def test_records_what_it_found(self, updates: ProjectUpdates, database: Database, repo: GitRepo) -> None:
        revision = repo.commit({"site.yml": PLAY, "hosts.ini": "[web]\na\n", "roles/x/tasks/main.yml": "[]"})
        run = add(database, f"file://{repo.path}")

        assert ActivityEnvironment().run(updates.update_project, RunRef(run.id)) == Outcome("successful")

        with database.transaction() as session:
            found, project = session.get_one(ProjectUpdate, run.id), session.get_one(Project, run.project_id)
        assert (found.status, found.execution_node, found.scm_revision) == ("running", "n1", revision)
        assert (project.scm_revision, project.playbook_files) == (revision, ["site.yml"])
        lines = output(database, run)
        assert [(counter, line) for counter, line, _ in lines] == [(n + 1, n) for n in range(len(lines))]
        assert revision in lines[-1][2]

    def test_further_attempt_goes_on_with_the_output(
        self, updates: ProjectUpdates, database: Database, repo: GitRepo
    ) -> None:
        repo.commit({"site.yml": PLAY})
        run = add(database, f"file://{repo.path}")

        for _ in range(2):
            assert ActivityEnvironment().run(updates.update_project, RunRef(run.id)).status == "successful"

        lines = output(database, run)
        assert [counter for counter, _, _ in lines] == list(range(1, len(lines) + 1))

    def test_of_another_source_than_the_project_has_by_now_is_not_what_it_holds(
        self, updates: ProjectUpdates, database: Database, repo: GitRepo
    ) -> None:
        revision = repo.commit({"site.yml": PLAY})
        run = add(database, f"file://{repo.path}")
        with database.transaction() as session:
            session.get_one(Project, run.project_id).scm_url = "https://example.org/x.git"

        assert ActivityEnvironment().run(updates.update_project, RunRef(run.id)) == Outcome("successful")

        with database.transaction() as session:
            project = session.get_one(Project, run.project_id)
        assert (project.scm_revision, project.playbook_files) == ("", [])
        assert look(database, run).scm_revision == revision


class TestFailure:
    def test_is_a_result_with_the_reason(self, updates: ProjectUpdates, database: Database, tmp_path: Path) -> None:
        run = add(database, f"file://{tmp_path}/nothing")

        outcome = ActivityEnvironment().run(updates.update_project, RunRef(run.id))

        assert outcome.status == "failed"
        assert outcome.explanation
        assert outcome.explanation in output(database, run)[-1][2]

    @pytest.mark.parametrize(("attempt", "gives_up"), [(1, False), (2, False), (3, True)])
    def test_that_may_pass_is_tried_again(
        self, updates: ProjectUpdates, database: Database, attempt: int, gives_up: bool
    ) -> None:
        run = add(database, "https://127.0.0.1:1/repo.git")
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, attempt=attempt)
        if gives_up:
            assert environment.run(updates.update_project, RunRef(run.id)).status == "failed"
        else:
            with pytest.raises(ApplicationError) as error:
                environment.run(updates.update_project, RunRef(run.id))
            assert not error.value.non_retryable

    def test_password_is_in_none_of_it(self, updates: ProjectUpdates, database: Database, tmp_path: Path) -> None:
        http = GitHttp(tmp_path, "ada", "another")
        with database.transaction() as session:
            credential = make_credential(session, "scm", {"username": "ada", "password": "wr0ng-pa55word"}).id
        try:
            run = add(database, f"{http.url}/repo.git", credential_id=credential)
            outcome = ActivityEnvironment().run(updates.update_project, RunRef(run.id))
        finally:
            http.stop()

        assert outcome.status == "failed"
        assert "wr0ng-pa55word" not in str((outcome, output(database, run)))
        assert "wr0ng-pa55word" not in look(database, run).job_args

    def test_password_in_the_url_is_not_shown(
        self, updates: ProjectUpdates, database: Database, tmp_path: Path
    ) -> None:
        run = add(database, "https://ada:url-pa55word@127.0.0.1:1/repo.git", timeout=5)
        environment = ActivityEnvironment()

        environment.info = replace(environment.info, attempt=ATTEMPTS)

        outcome = environment.run(updates.update_project, RunRef(run.id))

        assert "url-pa55word" not in str((outcome, output(database, run), look(database, run).job_args))


class TestEndedFromOutside:
    @pytest.mark.parametrize("status", ["canceled", "error"])
    def test_run_that_is_over_is_not_done(
        self, updates: ProjectUpdates, database: Database, repo: GitRepo, status: str
    ) -> None:
        run = add(database, f"file://{repo.path}")
        with database.transaction() as session:
            end(session, run.id, status)

        assert ActivityEnvironment().run(updates.update_project, RunRef(run.id)) == Outcome("canceled")
        assert output(database, run) == []

    def test_cancel_is_a_result(self, updates: ProjectUpdates, database: Database, repo: GitRepo) -> None:
        environment = ActivityEnvironment()
        environment.cancel()

        outcome = environment.run(updates.update_project, RunRef(add(database, f"file://{repo.path}").id))

        assert outcome == Outcome("canceled")

    @pytest.mark.parametrize("why", ["worker_shutdown", "not_found", "timed_out"])
    def test_attempt_that_is_given_up_is_none(
        self, updates: ProjectUpdates, database: Database, repo: GitRepo, why: str
    ) -> None:
        """Nobody asked for the update to end: the next attempt goes on."""
        environment = ActivityEnvironment()
        environment.cancel(ActivityCancellationDetails(**{why: True}))

        with pytest.raises(ApplicationError) as error:
            environment.run(updates.update_project, RunRef(add(database, f"file://{repo.path}").id))

        assert not error.value.non_retryable
