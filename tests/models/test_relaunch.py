"""Relaunch: the same again for those who may have it, through the checks of a launch."""

from typing import Any

import pytest
from make import (
    SECRETS,
    allow,
    attach,
    make_actor,
    make_credential,
    make_git_project,
    make_instance_group,
    make_job,
    make_label,
    make_project,
    make_template,
    survey,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Forbidden, Invalid
from models.access import Actor
from models.environments import ExecutionEnvironment
from models.inventories import Inventory
from models.inventory_script import host_pattern
from models.job_templates import JobTemplate
from models.jobs import Job, JobHostSummary
from models.launch import launch_job, survey_context
from models.launch_form import ASKED_BY, job_credentials
from models.projects import Project
from models.relaunch import relaunch_job
from models.unified import unified_job_instance_groups

ASK_ALL = dict.fromkeys([*ASKED_BY.values(), "ask_variables_on_launch"], True)
ASK_NOTHING = dict.fromkeys(ASK_ALL, False)


@pytest.fixture
def root(session: Session) -> Actor:
    return make_actor(session, is_superuser=True)


def launch(session: Session, actor: Actor, template: JobTemplate, **prompts: Any) -> Job:
    return launch_job(session, SECRETS, actor, template, prompts).job


def executor(session: Session, template: JobTemplate) -> Actor:
    actor = make_actor(session)
    allow(session, actor, "job_template", template.id, "execute_role")
    return actor


def alter(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)


class TestRelaunch:
    @pytest.fixture
    def job(self, session: Session, root: Actor) -> Job:
        template = make_template(session, **ASK_ALL, **survey({"variable": "token", "type": "password"}))
        return launch(
            session,
            root,
            template,
            limit="web",
            extra_vars={"token": "s3cr3t-answer", "a": 1},
            labels=[make_label(session).id],
            instance_groups=[make_instance_group(session).id for _ in range(2)],
            credentials=[make_credential(session, "ssh", {"password": "ASK"}).id],
            credential_passwords={"ssh_password": "pa55word"},
        )

    def test_has_the_same_prompts(self, session: Session, root: Actor, job: Job) -> None:
        again = relaunch_job(session, SECRETS, root, job, passwords={"ssh_password": "other"})

        assert (again.limit, again.extra_vars, again.launch_type) == ("web", job.extra_vars, "relaunch")
        assert SECRETS.decrypt(again.survey_passwords["token"], survey_context(again.id, "token")) == "s3cr3t-answer"
        assert [c.id for c, _ in job_credentials(session, again.id)] == [
            c.id for c, _ in job_credentials(session, job.id)
        ]
        groups = unified_job_instance_groups.c
        asked = select(groups.instance_group_id).order_by(groups.position)
        assert (
            session.scalars(asked.where(groups.unified_job_id == again.id)).all()
            == session.scalars(asked.where(groups.unified_job_id == job.id)).all()
        )

    def test_asks_for_passwords_again(self, session: Session, root: Actor, job: Job) -> None:
        with pytest.raises(Invalid) as error:
            relaunch_job(session, SECRETS, root, job)

        assert error.value.fields == {"passwords_needed_to_start": ["ssh_password"]}

    def test_secret_answers_of_another_user_are_not_lent(self, session: Session, job: Job) -> None:
        actor = make_actor(session)
        allow(session, actor, "job_template", job.job_template_id or 0, "execute_role")

        with pytest.raises(Forbidden, match="secret prompts"):
            relaunch_job(session, SECRETS, actor, job, passwords={"ssh_password": "x"})

    def test_prompts_of_another_user_have_to_be_usable(self, session: Session, job: Job) -> None:
        actor = make_actor(session)
        allow(session, actor, "job_template", job.job_template_id or 0, "execute_role")
        job.survey_passwords = {}

        with pytest.raises(Forbidden, match="prompts you lack access to"):
            relaunch_job(session, SECRETS, actor, job, passwords={"ssh_password": "x"})

    def test_of_a_deleted_template_is_refused(self, session: Session, root: Actor) -> None:
        job = make_job(session, job_template_id=None)

        with pytest.raises(Invalid, match="deleted"):
            relaunch_job(session, SECRETS, root, job)

    def test_needs_nothing_but_execute_for_what_the_template_gives(self, session: Session) -> None:
        secret = survey({"variable": "token", "type": "password", "default": "of the template"})
        template = make_template(session, limit="web", extra_vars="a: 1", timeout=60, **secret)
        attach(session, template, make_credential(session, "ssh"))
        actor, other = executor(session, template), executor(session, template)

        again = relaunch_job(session, SECRETS, other, launch(session, actor, template))

        assert (again.created_by_id, again.limit, again.timeout) == (other.id, "web", 60)

    def test_runs_with_the_variables_of_then(self, session: Session, root: Actor) -> None:
        template = make_template(session, extra_vars="a: 1")
        job = launch(session, root, template)

        template.extra_vars = "b: 2"

        assert relaunch_job(session, SECRETS, root, job).extra_vars == '{"a":1}'

    def test_takes_the_credentials_of_then(self, session: Session, root: Actor) -> None:
        template = make_template(session, ask_credential_on_launch=True)
        job = launch(session, root, template)

        attach(session, template, make_credential(session, "ssh"))

        assert job_credentials(session, relaunch_job(session, SECRETS, root, job).id) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"survey_enabled": False},
            {"survey_spec": {"spec": []}},
            survey({"variable": "token", "min": 100}),
            survey({"variable": "token", "type": "multiplechoice", "choices": ["a"]}),
        ],
    )
    def test_keeps_a_secret_answer_secret_whatever_the_survey_asks_by_now(
        self, session: Session, root: Actor, change: dict[str, Any]
    ) -> None:
        template = make_template(session, **survey({"variable": "token", "type": "password"}))
        job = launch(session, root, template, extra_vars={"token": "s3cr3t-answer"})
        alter(template, **change)

        again = relaunch_job(session, SECRETS, root, job)

        assert again.extra_vars == '{"token":"$encrypted$"}'
        assert SECRETS.decrypt(again.survey_passwords["token"], survey_context(again.id, "token")) == "s3cr3t-answer"


class TestRelaunchOfWhatTheTemplateNoLongerGives:
    """It takes what making such a template takes."""

    PROMPTS = {
        "limit": "one",
        "job_tags": "x",
        "skip_tags": "y",
        "job_type": "check",
        "verbosity": 4,
        "diff_mode": True,
        "forks": 7,
        "timeout": 9,
        "extra_vars": {"a": 1},
    }

    def refused(self, session: Session, actor: Actor, job: Job, name: str) -> None:
        """Until the actor may use all parts of the job."""
        project, inventory = session.get_one(Project, job.project_id), session.get_one(Inventory, job.inventory_id)
        used = [("credential", credential.id) for credential, _ in job_credentials(session, job.id)]
        for kind, id in (("project", project.id), ("inventory", inventory.id), *used):
            with pytest.raises(Forbidden, match=name):
                relaunch_job(session, SECRETS, actor, job)
            allow(session, actor, kind, id, "use_role")
        again = relaunch_job(session, SECRETS, actor, job)
        assert (again.project_id, again.inventory_id) == (job.project_id, job.inventory_id)

    @pytest.mark.parametrize("name", PROMPTS)
    def test_prompt(self, session: Session, name: str) -> None:
        template = make_template(session, **ASK_ALL)
        attach(session, template, make_credential(session, "ssh"))
        actor = executor(session, template)
        job = launch(session, actor, template, **{name: self.PROMPTS[name]})
        assert getattr(relaunch_job(session, SECRETS, actor, job), name) == getattr(job, name)

        alter(template, **ASK_NOTHING)

        self.refused(session, actor, job, name)

    def test_labels_and_environment(self, session: Session) -> None:
        template = make_template(session, **ASK_ALL)
        actor = executor(session, template)
        label, environment = make_label(session), ExecutionEnvironment(name="mine", image="local", managed=True)
        session.add(environment)
        session.flush()
        allow(session, actor, "organization", label.organization_id, "member_role")
        job = launch(session, actor, template, labels=[label.id], execution_environment=environment.id)

        alter(template, **ASK_NOTHING)

        self.refused(session, actor, job, "execution_environment, labels")

    @pytest.mark.parametrize("change", [{"playbook": "other.yml"}, {"become_enabled": True}, {"extra_vars": "a: 1"}])
    def test_option_that_is_never_asked(self, session: Session, change: dict[str, Any]) -> None:
        template = make_template(session, extra_vars="a: 2")
        actor = executor(session, template)
        job = launch(session, actor, template)

        alter(template, **change)

        self.refused(session, actor, job, next(iter(change)))

    def test_project(self, session: Session) -> None:
        template = make_template(session)
        actor = executor(session, template)
        job = launch(session, actor, template)

        template.project_id = make_project(session).id

        self.refused(session, actor, job, "project")

    def test_is_for_superusers_in_any_case(self, session: Session, root: Actor) -> None:
        template = make_template(session, **ASK_ALL)
        job = launch(session, executor(session, template), template, limit="web")

        alter(template, **ASK_NOTHING)

        assert relaunch_job(session, SECRETS, root, job).limit == "web"


class TestRelaunchIsCheckedAsALaunch:
    @pytest.mark.parametrize(
        ("change", "field", "words"),
        [
            ({"allow_override": False}, "scm_branch", "does not allow override"),
            ({"scm_branch": "topic", "scm_revision": ""}, "project", "never been updated"),
            ({"scm_branch": "topic", "status": "failed"}, "project", "unknown due to a failed update"),
            ({"scm_branch": "topic", "playbook_files": []}, "playbook", "Playbook not found"),
        ],
    )
    def test_for_what_the_project_holds(
        self, session: Session, root: Actor, change: dict[str, Any], field: str, words: str
    ) -> None:
        project = make_git_project(session, allow_override=True)
        template = make_template(session, project_id=project.id, ask_scm_branch_on_launch=True)
        job = launch(session, root, template, scm_branch="topic")

        alter(project, **change)

        with pytest.raises(Invalid) as error:
            relaunch_job(session, SECRETS, root, job)
        assert list(error.value.fields) == [field]
        assert words in error.value.fields[field][0]

    @pytest.mark.parametrize("field", ["inventory", "project"])
    def test_for_what_was_deleted(self, session: Session, field: str) -> None:
        template = make_template(session)
        actor = executor(session, template)
        job = launch(session, actor, template)
        for part in ("project", "inventory"):
            allow(session, actor, part, getattr(job, f"{part}_id"), "use_role")

        setattr(job, f"{field}_id", None)

        with pytest.raises(Invalid) as error:
            relaunch_job(session, SECRETS, actor, job)
        assert list(error.value.fields) == [field]


class TestRelaunchOnFailedHosts:
    def ended(self, session: Session, **failed: bool) -> Job:
        job = make_job(session, status="failed", playbook_counts={"play_count": 1, "task_count": 1}, events_stored=9)
        for name, value in failed.items():
            session.add(JobHostSummary(job_id=job.id, host_name=name, failed=value))
        session.flush()
        return job

    def test_is_limited_to_them(self, session: Session, root: Actor) -> None:
        job = self.ended(session, web1=True, web2=False, db1=True)

        assert relaunch_job(session, SECRETS, root, job, hosts="failed").limit == "db1,web1"

    def test_is_limited_to_them_whatever_their_names_mean_in_a_limit(self, session: Session, root: Actor) -> None:
        job = self.ended(session, **{"*": True, "a,b": True, "web1": True})

        limit = relaunch_job(session, SECRETS, root, job, hosts="failed").limit

        assert sorted(limit.split(",")) == sorted(map(host_pattern, ("*", "a,b", "web1")))

    def test_is_for_those_who_may_launch_though_no_limit_is_asked(self, session: Session) -> None:
        job = self.ended(session, web1=True, web2=False)
        template = session.get_one(JobTemplate, job.job_template_id)
        job.limit = template.limit = "web"

        assert relaunch_job(session, SECRETS, executor(session, template), job, hosts="failed").limit == "web1"

    def test_needs_some(self, session: Session, root: Actor) -> None:
        with pytest.raises(Invalid, match="No failed hosts"):
            relaunch_job(session, SECRETS, root, self.ended(session, web1=False), hosts="failed")

    def test_needs_statistics(self, session: Session, root: Actor) -> None:
        with pytest.raises(Invalid, match="statistics are missing"):
            relaunch_job(session, SECRETS, root, make_job(session, status="error"), hosts="failed")

    def test_waits_for_the_end(self, session: Session, root: Actor) -> None:
        with pytest.raises(Invalid, match="Wait until job finishes"):
            relaunch_job(session, SECRETS, root, make_job(session, status="running"), hosts="failed")

    def test_other_words_are_refused(self, session: Session, root: Actor) -> None:
        with pytest.raises(Invalid, match="not a valid choice"):
            relaunch_job(session, SECRETS, root, make_job(session), hosts="some")
