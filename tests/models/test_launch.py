"""The launch path: what is accepted, what is ignored, what is refused and in which words; updates, cancel."""

import json
from datetime import timedelta
from typing import Any

import orjson
import pytest
from make import (
    SECRETS,
    allow,
    attach,
    make_actor,
    make_credential,
    make_git_project,
    make_host,
    make_instance_group,
    make_inventory,
    make_job,
    make_label,
    make_organization,
    make_project,
    make_template,
    make_update,
    survey,
)
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.crypto import MASK
from core.errors import Conflict, Forbidden, Invalid, NotAllowed, NotFound
from models.access import Actor
from models.base import now
from models.environments import ExecutionEnvironment
from models.inventories import Inventory
from models.job_templates import JobTemplate
from models.jobs import Job
from models.launch import launch_job, start_context, survey_context
from models.launch_form import ASKED_BY, job_credentials, launch_data
from models.project_updates import depend_on_update, launch_project_update
from models.projects import ProjectUpdate
from models.runs import refuse_while_active, request_cancel
from models.unified import JobStatus, unified_job_instance_groups, unified_job_labels

ASK_ALL = dict.fromkeys([*ASKED_BY.values(), "ask_variables_on_launch"], True)


@pytest.fixture
def root(session: Session) -> Actor:
    return make_actor(session, is_superuser=True)


@pytest.fixture
def template(session: Session) -> JobTemplate:
    return make_template(session)


def launch(session: Session, actor: Actor, template: JobTemplate, **prompts: Any) -> Job:
    return launch_job(session, SECRETS, actor, template, prompts).job


def refused(session: Session, actor: Actor, template: JobTemplate, **prompts: Any) -> dict[str, list[str]]:
    """The messages per field; nothing may have been written."""
    before = session.scalar(select(func.count(Job.id)))
    with pytest.raises(Invalid) as error:
        launch_job(session, SECRETS, actor, template, prompts)
    assert session.scalar(select(func.count(Job.id))) == before
    return error.value.fields


class TestLaunch:
    def test_copies_the_template(self, session: Session, root: Actor) -> None:
        template = make_template(
            session, limit="web", forks=3, verbosity=2, extra_vars="a: 1", job_tags="t", timeout=60, become_enabled=True
        )

        job = launch(session, root, template)

        assert (job.status, job.launch_type, job.created_by_id) == ("pending", "manual", root.id)
        assert (job.limit, job.forks, job.verbosity, job.job_tags, job.timeout) == ("web", 3, 2, "t", 60)
        assert (job.extra_vars, job.become_enabled, job.work_unit_id) == ('{"a":1}', True, "")
        assert (job.inventory_id, job.project_id) == (template.inventory_id, template.project_id)

    def test_template_shows_the_new_job_and_is_not_modified_by_it(
        self, session: Session, root: Actor, template: JobTemplate
    ) -> None:
        modified = template.modified

        job = launch(session, root, template)

        session.refresh(template)
        assert (template.status, template.current_job_id) == ("pending", job.id)
        assert template.modified == modified

    def test_what_is_not_asked_is_ignored_and_said(self, session: Session, root: Actor, template: JobTemplate) -> None:
        prompts = {"limit": "db", "extra_vars": {"a": 1}, "inventory": 4711, "credentials": [4711]}

        launched = launch_job(session, SECRETS, root, template, prompts)

        assert launched.ignored_fields == prompts
        assert (launched.job.limit, launched.job.extra_vars) == ("", "")

    def test_what_is_asked_takes_the_place_of_the_templates(self, session: Session, root: Actor) -> None:
        template = make_template(session, extra_vars="a: 1\nb: 1", **ASK_ALL)
        inventory = make_inventory(session, hosts=["one", "two"])
        label, group = make_label(session), make_instance_group(session)
        credential = make_credential(session, "ssh", {"username": "ada"})
        environment = ExecutionEnvironment(name="mine", image="local", managed=True)
        session.add(environment)
        session.flush()
        prompts = {
            "inventory": inventory.id,
            "limit": "one",
            "job_tags": "x",
            "skip_tags": "y",
            "job_type": "check",
            "verbosity": 4,
            "diff_mode": True,
            "forks": 7,
            "timeout": 9,
            "job_slice_count": 1,
            "extra_vars": '{"b": 2}',
            "labels": [label.id],
            "instance_groups": [group.id],
            "credentials": [credential.id],
            "execution_environment": environment.id,
        }

        launched = launch_job(session, SECRETS, root, template, prompts)

        job = launched.job
        assert launched.ignored_fields == {}
        for name in ("limit", "job_tags", "skip_tags", "job_type", "verbosity", "diff_mode", "forks", "timeout"):
            assert getattr(job, name) == prompts[name]
        assert json.loads(job.extra_vars) == {"a": 1, "b": 2}
        assert (job.inventory_id, job.execution_environment_id, job.task_impact) == (inventory.id, environment.id, 2)
        assert [c.id for c, _ in job_credentials(session, job.id)] == [credential.id]
        for table, column, wanted in (
            (unified_job_labels, "label_id", label.id),
            (unified_job_instance_groups, "instance_group_id", group.id),
        ):
            assert session.scalars(select(table.c[column]).where(table.c.unified_job_id == job.id)).all() == [wanted]

    def test_labels_of_the_template_are_the_jobs_unless_others_are_asked(self, session: Session, root: Actor) -> None:
        template = make_template(session, ask_labels_on_launch=True)

        job = launch(session, root, template, labels=[])

        assert (
            session.scalars(
                select(unified_job_labels.c.label_id).where(unified_job_labels.c.unified_job_id == job.id)
            ).all()
            == []
        )

    @pytest.mark.parametrize(
        ("hosts", "forks", "impact"), [(0, 0, 1), (1, 0, 1), (3, 0, 3), (9, 0, 5), (9, 8, 8), (2, 50, 2)]
    )
    def test_takes_the_forks_that_it_can_use(
        self, session: Session, root: Actor, hosts: int, forks: int, impact: int
    ) -> None:
        inventory = make_inventory(session, hosts=[f"h{number}" for number in range(hosts)])
        make_host(session, inventory, enabled=False)
        template = make_template(session, inventory_id=inventory.id, forks=forks)

        assert launch(session, root, template).task_impact == impact


class TestBadPrompts:
    @pytest.mark.parametrize(
        ("prompts", "field"),
        [
            ({"limit": 5}, "limit"),
            ({"limit": "a\0b"}, "limit"),
            ({"skip_tags": "x" * 1025}, "skip_tags"),
            ({"job_type": "scan"}, "job_type"),
            ({"verbosity": 6}, "verbosity"),
            ({"verbosity": "1"}, "verbosity"),
            ({"verbosity": True}, "verbosity"),
            ({"forks": -1}, "forks"),
            ({"forks": 10_000}, "forks"),
            ({"timeout": 2**40}, "timeout"),
            ({"diff_mode": "yes"}, "diff_mode"),
            ({"job_slice_count": 3}, "job_slice_count"),
            ({"inventory": 2**40}, "inventory"),
            ({"inventory": "1"}, "inventory"),
            ({"inventory": None}, "inventory"),
            ({"credentials": 5}, "credentials"),
            ({"credentials": [[1]]}, "credentials"),
            ({"credentials": [4711]}, "credentials"),
            ({"labels": [4711]}, "labels"),
            ({"instance_groups": ["x"]}, "instance_groups"),
            ({"instance_groups": [4711]}, "instance_groups"),
            ({"execution_environment": 4711}, "execution_environment"),
            ({"execution_environment": "x"}, "execution_environment"),
            ({"extra_vars": "a: [1"}, "extra_vars"),
            ({"extra_vars": "[1]"}, "extra_vars"),
            ({"extra_vars": 7}, "extra_vars"),
            ({"extra_vars": {"a": 2**70}}, "extra_vars"),
        ],
    )
    def test_is_refused_under_its_field(
        self, session: Session, root: Actor, prompts: dict[str, Any], field: str
    ) -> None:
        template = make_template(session, **ASK_ALL)

        assert list(refused(session, root, template, **prompts)) == [field]

    def test_several_are_said_together(self, session: Session, root: Actor) -> None:
        template = make_template(session, **ASK_ALL, project_id=None)

        messages = refused(session, root, template, limit=1, verbosity=9)

        assert set(messages) == {"limit", "verbosity", "project"}


class TestWhatIsMissing:
    def test_inventory(self, session: Session, root: Actor) -> None:
        messages = refused(session, root, make_template(session, inventory_id=None))

        assert messages == {"inventory": ["Job Template 'inventory' is missing or undefined."]}

    def test_inventory_that_is_being_deleted(self, session: Session, root: Actor, template: JobTemplate) -> None:
        session.get_one(Inventory, template.inventory_id).pending_deletion = True

        assert "inventory" in refused(session, root, template)

    @pytest.mark.parametrize(
        ("over", "field", "words"),
        [
            ({"scm_revision": "", "last_updated": None}, "project", "never been updated"),
            ({"scm_revision": "", "last_update_failed": True}, "project", "Missing a revision to run"),
            ({"status": "failed"}, "project", "unknown due to a failed update"),
            ({"status": "error"}, "project", "unknown due to a failed update"),
            ({"playbook_files": ["other.yml"]}, "playbook", "Playbook not found"),
        ],
    )
    def test_project_that_cannot_run_it(
        self, session: Session, root: Actor, over: dict[str, Any], field: str, words: str
    ) -> None:
        template = make_template(session, project_id=make_git_project(session, **over).id)

        assert words in refused(session, root, template)[field][0]

    def test_folder_of_a_manual_project(self, session: Session, root: Actor) -> None:
        template = make_template(session, project_id=make_project(session, local_path="").id)

        assert "no folder" in refused(session, root, template)["project"][0]

    def test_project_that_is_being_updated_may_bring_it(self, session: Session, root: Actor) -> None:
        project = make_git_project(session, scm_revision="", playbook_files=[])
        make_update(session, project, status="running")

        assert launch(session, root, make_template(session, project_id=project.id)).status == "pending"

    @pytest.mark.parametrize("over", [{"status": "canceled"}, {"status": "failed", "scm_update_on_launch": True}])
    def test_project_whose_revision_is_good_or_will_be(
        self, session: Session, root: Actor, over: dict[str, Any]
    ) -> None:
        project = make_git_project(session, last_update_failed=True, **over)

        assert launch(session, root, make_template(session, project_id=project.id)).status == "pending"

    def test_project_that_updates_on_launch_may_bring_it(self, session: Session, root: Actor) -> None:
        project = make_git_project(session, scm_revision="", playbook_files=[], scm_update_on_launch=True)

        assert launch(session, root, make_template(session, project_id=project.id)).status == "pending"

    def test_another_branch_has_to_be_allowed(self, session: Session, root: Actor) -> None:
        project = make_git_project(session, scm_branch="main")
        template = make_template(session, project_id=project.id, ask_scm_branch_on_launch=True, playbook="new.yml")

        messages = refused(session, root, template, scm_branch="topic")
        assert messages == {"scm_branch": ["Project does not allow override of branch."]}

        project.allow_override = True
        assert launch(session, root, template, scm_branch="topic").scm_branch == "topic"


class TestSurvey:
    def test_missing_answers_are_listed(self, session: Session, root: Actor) -> None:
        template = make_template(
            session,
            **survey({"variable": "a"}, {"variable": "b", "default": "x"}, {"variable": "c", "required": False}),
        )

        assert refused(session, root, template) == {"variables_needed_to_start": ["'a' value missing"]}

    def test_answers_stand_above_defaults_above_the_template(self, session: Session, root: Actor) -> None:
        template = make_template(
            session,
            extra_vars="a: template\nb: template\nc: template",
            **survey({"variable": "a"}, {"variable": "b", "default": "survey"}),
        )

        launched = launch_job(session, SECRETS, root, template, {"extra_vars": {"a": "mine", "c": "mine"}})

        assert json.loads(launched.job.extra_vars) == {"a": "mine", "b": "survey", "c": "template"}
        assert launched.ignored_fields == {"extra_vars": {"c": "mine"}}

    def test_password_is_encrypted_and_shown_as_such(self, session: Session, root: Actor) -> None:
        template = make_template(session, **survey({"variable": "token", "type": "password"}))

        job = launch(session, root, template, extra_vars={"token": "s3cr3t-answer"})

        assert json.loads(job.extra_vars) == {"token": MASK}
        assert "s3cr3t" not in str(job.survey_passwords)
        assert SECRETS.decrypt(job.survey_passwords["token"], survey_context(job.id, "token")) == "s3cr3t-answer"

    def test_disabled_one_asks_nothing(self, session: Session, root: Actor) -> None:
        template = make_template(session, **survey({"variable": "a"}) | {"survey_enabled": False})

        assert launch(session, root, template).extra_vars == ""


class TestCredentials:
    def test_one_of_a_type(self, session: Session, root: Actor) -> None:
        template = make_template(session, ask_credential_on_launch=True)
        one, two = (make_credential(session, "ssh") for _ in range(2))

        messages = refused(session, root, template, credentials=[one.id, two.id])

        assert messages == {"credentials": ["Cannot assign multiple Machine credentials."]}

    def test_vaults_of_several_ids(self, session: Session, root: Actor) -> None:
        template = make_template(session, ask_credential_on_launch=True)
        vaults = [make_credential(session, "vault", {"vault_id": id, "vault_password": "x"}) for id in ("a", "b", "a")]

        job = launch(session, root, template, credentials=[vaults[0].id, vaults[1].id])

        assert len(job_credentials(session, job.id)) == 2
        assert "credentials" in refused(session, root, template, credentials=[vault.id for vault in vaults])

    def test_type_of_the_template_must_be_kept(self, session: Session, root: Actor) -> None:
        template = make_template(session, ask_credential_on_launch=True)
        attach(session, template, make_credential(session, "ssh", name="Prod"))

        [message] = refused(session, root, template, credentials=[])["credentials"]

        assert message.startswith("Removing Machine credential at launch time without replacement is not supported.")
        assert message.endswith("Provided list lacked credential(s): Prod.")

    def test_passwords_are_asked_encrypted_and_no_others_kept(self, session: Session, root: Actor) -> None:
        template = make_template(session)
        attach(
            session,
            template,
            make_credential(session, "ssh", {"username": "ASK", "password": "ASK", "become_password": "ASK"}),
            make_credential(session, "vault", {"vault_id": "prod", "vault_password": "ASK"}),
            make_credential(session, "vault", {"vault_password": "ASK"}),
        )
        needed = ["become_password", "ssh_password", "vault_password", "vault_password.prod"]
        assert launch_data(session, template)["passwords_needed_to_start"] == needed
        assert refused(session, root, template) == {"passwords_needed_to_start": needed}
        assert refused(session, root, template, credential_passwords=dict.fromkeys(needed, ""))

        job = launch(session, root, template, credential_passwords=dict.fromkeys([*needed, "other"], "pa55word"))

        assert "pa55word" not in job.start_args
        assert orjson.loads(SECRETS.decrypt(job.start_args, start_context(job.id))) == dict.fromkeys(needed, "pa55word")


class TestPermissions:
    def test_template_that_may_not_be_seen_is_not_there(self, session: Session, template: JobTemplate) -> None:
        with pytest.raises(NotFound):
            launch(session, make_actor(session), template)

    def test_template_that_may_only_be_read_is_forbidden(self, session: Session, template: JobTemplate) -> None:
        actor = make_actor(session)
        allow(session, actor, "job_template", template.id, "read_role")

        with pytest.raises(Forbidden):
            launch(session, actor, template)

    def test_execute_is_enough_for_what_the_template_brings(self, session: Session, template: JobTemplate) -> None:
        actor = make_actor(session)
        attach(session, template, make_credential(session, "ssh"))
        allow(session, actor, "job_template", template.id, "execute_role")

        assert launch(session, actor, template).created_by_id == actor.id

    def test_an_image_is_refused_because_nothing_isolates(self, session: Session, root: Actor) -> None:
        environment = ExecutionEnvironment(name="image", image="quay.io/x")
        session.add(environment)
        session.flush()

        errors = refused(session, root, make_template(session, execution_environment_id=environment.id))

        assert "Container isolation is not available" in errors["execution_environment"][0]

    def test_what_is_asked_for_has_to_be_usable(self, session: Session) -> None:
        actor = make_actor(session)
        template = make_template(session, **ASK_ALL)
        allow(session, actor, "job_template", template.id, "execute_role")
        inventory, credential, group = (
            make_inventory(session),
            make_credential(session, "ssh"),
            make_instance_group(session),
        )
        label = make_label(session)
        environment = ExecutionEnvironment(
            name="theirs", image="local", managed=True, organization_id=make_organization(session).id
        )
        session.add(environment)
        session.flush()
        wanted: dict[str, Any] = {
            "inventory": inventory.id,
            "credentials": [credential.id],
            "instance_groups": [group.id],
            "labels": [label.id],
            "execution_environment": environment.id,
        }
        for name, value in wanted.items():
            with pytest.raises(Forbidden):
                launch(session, actor, template, **{name: value})

        allow(session, actor, "inventory", inventory.id, "use_role")
        allow(session, actor, "credential", credential.id, "use_role")
        allow(session, actor, "instance_group", group.id, "use_role")
        allow(session, actor, "organization", label.organization_id, "member_role")
        allow(session, actor, "organization", environment.organization_id, "member_role")

        assert launch(session, actor, template, **wanted).inventory_id == inventory.id


class TestLaunchData:
    def test_has_the_shape_that_clients_know(self, session: Session) -> None:
        template = make_template(session, name="Demo Job Template")
        credential = make_credential(session, "ssh", name="Demo Credential")
        attach(session, template, credential)
        inventory = session.get_one(Inventory, template.inventory_id)

        data = launch_data(session, template)

        assert data == {
            "can_start_without_user_input": True,
            "passwords_needed_to_start": [],
            **dict.fromkeys(ASK_ALL, False),
            "survey_enabled": False,
            "variables_needed_to_start": [],
            "credential_needed_to_start": False,
            "inventory_needed_to_start": False,
            "job_template_data": {"name": "Demo Job Template", "id": template.id, "description": ""},
            "defaults": {
                "inventory": {"name": inventory.name, "id": inventory.id},
                "limit": "",
                "scm_branch": "",
                "job_tags": "",
                "skip_tags": "",
                "extra_vars": "",
                "diff_mode": False,
                "job_type": "run",
                "verbosity": 0,
                "credentials": [
                    {
                        "id": credential.id,
                        "name": "Demo Credential",
                        "credential_type": credential.credential_type_id,
                        "passwords_needed": [],
                    }
                ],
                "execution_environment": {},
                "forks": 0,
                "job_slice_count": 1,
                "timeout": 0,
                "instance_groups": [],
            },
        }

    @pytest.mark.parametrize(
        ("over", "can"),
        [
            ({"ask_limit_on_launch": True}, False),
            ({"inventory_id": None}, False),
            (survey({"variable": "a"}), False),
            (survey({"variable": "a", "default": "x"}), True),
        ],
    )
    def test_says_whether_it_starts_by_itself(self, session: Session, over: dict[str, Any], can: bool) -> None:
        assert launch_data(session, make_template(session, **over))["can_start_without_user_input"] is can


class TestProjectUpdates:
    def test_copies_the_project(self, session: Session, root: Actor) -> None:
        project = make_git_project(session, scm_branch="main", scm_clean=True)

        run = launch_project_update(session, root, project)

        session.refresh(project)
        assert (run.scm_url, run.scm_branch, run.scm_clean, run.status) == (project.scm_url, "main", True, "pending")
        assert (project.status, project.current_job_id) == ("pending", run.id)

    def test_manual_project_has_nothing_to_update_from(self, session: Session, root: Actor) -> None:
        with pytest.raises(NotAllowed):
            launch_project_update(session, root, make_project(session))

    def test_needs_permission(self, session: Session) -> None:
        actor, project = make_actor(session), make_git_project(session)
        allow(session, actor, "project", project.id, "use_role")

        with pytest.raises(Forbidden):
            launch_project_update(session, actor, project)


class TestDependOnUpdate:
    def job(self, session: Session, **project: Any) -> Job:
        owner = make_git_project(session, **{"scm_update_on_launch": True} | project)
        return make_job(session, make_template(session, project_id=owner.id))

    def updates(self, session: Session, job: Job) -> int:
        count = select(func.count(ProjectUpdate.id)).where(ProjectUpdate.project_id == job.project_id)
        return session.scalar(count) or 0

    def test_one_update_serves_all_that_wait(self, session: Session) -> None:
        job = self.job(session)
        other = make_job(session, make_template(session, project_id=job.project_id))

        update_id = depend_on_update(session, job)

        assert update_id is not None
        assert depend_on_update(session, other) == update_id
        assert session.get_one(ProjectUpdate, update_id).launch_type == "dependency"

    @pytest.mark.parametrize(
        ("project", "needed"),
        [
            ({"scm_update_on_launch": False}, False),
            ({"scm_type": ""}, False),
            ({"scm_update_cache_timeout": 0}, True),
            ({"scm_update_cache_timeout": 60}, False),
            ({"scm_update_cache_timeout": 60, "last_updated": now() - timedelta(seconds=61)}, True),
            ({"scm_update_cache_timeout": 60, "last_updated": None}, True),
            ({"scm_update_cache_timeout": 60, "last_update_failed": True}, True),
        ],
    )
    def test_only_when_the_project_is_not_fresh(self, session: Session, project: dict[str, Any], needed: bool) -> None:
        job = self.job(session, **project)

        assert (depend_on_update(session, job) is not None) is needed
        assert self.updates(session, job) == needed


class TestCancel:
    @pytest.mark.parametrize("status", ["new", "pending", "waiting", "running"])
    def test_is_remembered_for_what_has_not_ended(self, session: Session, status: str) -> None:
        job = make_job(session, status=status)

        request_cancel(session, job)
        session.refresh(job)
        first = job.canceled_on
        request_cancel(session, job)

        session.refresh(job)
        assert job.cancel_flag
        assert first is not None
        assert job.canceled_on == first
        with pytest.raises(Conflict):
            refuse_while_active(job)

    @pytest.mark.parametrize("status", ["successful", "failed", "error", "canceled"])
    def test_is_refused_for_what_has_ended(self, session: Session, status: str) -> None:
        job = make_job(session, status=status)

        with pytest.raises(NotAllowed):
            request_cancel(session, job)
        refuse_while_active(job)

    def test_counts_what_the_database_says(self, session: Session) -> None:
        """The run ended after the request had read it."""
        job = make_job(session, status=JobStatus.RUNNING)
        session.execute(Job.__table__.metadata.tables["unified_jobs"].update().values(status="successful"))

        with pytest.raises(NotAllowed):
            request_cancel(session, job)
        session.refresh(job)
        assert not job.cancel_flag
