"""What comes with a launch, checked against what the template asks for and what the caller may use."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.crypto import MASK, Secrets
from core.errors import Forbidden
from models import surveys
from models.access import Actor, has_role, may
from models.credentials import KINDS_FOR_JOBS, Credential, CredentialType
from models.environments import ExecutionEnvironment
from models.instances import InstanceGroup
from models.inventories import Inventory
from models.job_templates import JobTemplate, names_a_file
from models.jobs import Job
from models.labels import Label
from models.launch_form import ASKED_BY, passwords_needed, template_credentials, with_types
from models.organizations import Organization
from models.project_updates import active_update
from models.projects import Project
from models.settings import get_setting
from models.unified import unified_job_template_labels
from models.variables import parse_variables

_TEXTS = {"scm_branch": 1024, "limit": None, "job_tags": None, "skip_tags": 1024}  # most characters
_NUMBERS: Mapping[str, tuple[int, int]] = {
    "verbosity": (0, 5),
    "forks": (0, 2**31 - 1),
    "timeout": (-(2**31), 2**31 - 1),
    "job_slice_count": (1, 1),  # slicing is not offered yet
}


class Prompts:
    """The prompts of one launch. Each method answers with what will be used and leaves its messages in `errors`, by
    field, so that a caller hears of everything at once; what the caller may not use raises Forbidden.

    For a job that is launched `again` the prompts are all that it had, whether the template asks for it or not (who
    may do that is for the caller to check): they take the place of the template's project, playbook and variables too.
    Its secret answers, which the prompts hold in clear, stay secret whatever the survey says by now."""

    def __init__(
        self,
        session: Session,
        secrets: Secrets,
        actor: Actor,
        template: JobTemplate,
        prompts: Mapping[str, Any],
        again: Job | None = None,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._actor = actor
        self._template = template
        self._again = again
        self.accepted, self.ignored = sort_prompts(template, prompts) if again is None else (dict(prompts), {})
        self.errors: dict[str, list[str]] = {}

    def check_options(self) -> None:
        for name, longest in _TEXTS.items():
            value = self.accepted.get(name, "")
            if not isinstance(value, str):
                self.errors[name] = ["Not a valid string."]
            elif "\0" in value:
                self.errors[name] = ["Null characters are not allowed."]
            elif longest and len(value) > longest:
                self.errors[name] = [f"Ensure this field has no more than {longest} characters."]
        if "limit" not in self.errors and names_a_file(self.accepted.get("limit", "")):
            self.errors["limit"] = ["A limit cannot name a file (@...)."]
        if "job_type" in self.accepted and self.accepted["job_type"] not in ("run", "check"):
            self.errors["job_type"] = [f'"{self.accepted["job_type"]}" is not a valid choice.']
        if "diff_mode" in self.accepted and not isinstance(self.accepted["diff_mode"], bool):
            self.errors["diff_mode"] = ["Must be a valid boolean."]
        for name, (least, most) in _NUMBERS.items():
            value = self.accepted.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int):
                self.errors[name] = ["A valid integer is required."]
            elif value < least:
                self.errors[name] = [f"Ensure this value is greater than or equal to {least}."]
            elif value > most:
                self.errors[name] = [f"Ensure this value is less than or equal to {most}."]
        most_forks = get_setting(self._session, "MAX_FORKS")
        if "forks" not in self.errors and self.accepted.get("forks", 0) > most_forks:
            self.errors["forks"] = [f"Maximum number of forks ({most_forks}) exceeded."]

    def inventory(self) -> Inventory | None:
        inventory_id = self.accepted.get("inventory", self._template.inventory_id)
        if inventory_id is None:
            self.errors["inventory"] = ["Job Template 'inventory' is missing or undefined."]
            return None
        inventory = self._session.get(Inventory, inventory_id) if is_id(inventory_id) else None
        if inventory is None:
            self.errors["inventory"] = [no_such(inventory_id)]
        elif inventory.pending_deletion:
            self.errors["inventory"] = ["The inventory associated with this Job Template is being deleted."]
        elif inventory.id != self._template.inventory_id:
            self._require_use("inventory", inventory.id, inventory.organization_id)
        return inventory

    def project(self, branch: str) -> Project | None:
        project_id = self.accepted.get("project", self._template.project_id)
        playbook = self.accepted.get("playbook", self._template.playbook)
        project = self._session.get(Project, project_id) if project_id else None
        if project is None:
            self.errors["project"] = ["A project is required to run a job."]
            return None
        if not project.scm_type:
            if not project.local_path:
                self.errors["project"] = ["The project has no folder to take the playbook from."]
            return project
        if branch and branch != project.scm_branch:
            if not project.allow_override:
                self.errors["scm_branch"] = ["Project does not allow override of branch."]
            return project
        if project.scm_update_on_launch or active_update(self._session, project.id):
            return project  # what it will hold is not known yet
        if not project.scm_revision:
            self.errors["project"] = (
                ["Missing a revision to run due to failed project update."]
                if project.last_update_failed
                else ["The project has never been updated: update it first, then launch again."]
            )
        elif project.update_failed:
            self.errors["project"] = ["The project revision for this job template is unknown due to a failed update."]
        elif playbook not in project.playbook_files:
            self.errors["playbook"] = [f"Playbook not found in the project at its revision: {playbook or '(none)'}."]
        return project

    def credentials(self) -> list[tuple[Credential, CredentialType]]:
        own = template_credentials(self._session, self._template.id)
        asked = self.accepted.get("credentials")
        if asked is None:
            return own
        ids = self._ids(asked, "credentials")
        if ids is None:
            return own
        chosen = with_types(self._session, ids)
        found = {credential.id for credential, _ in chosen}
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            self.errors["credentials"] = [no_such(id_) for id_ in missing]
            return own
        own_ids = {credential.id for credential, _ in own}
        for credential, _ in chosen:
            if credential.id not in own_ids:
                self._require_use("credential", credential.id, credential.organization_id)
        kinds: dict[tuple[int, str], str] = {}
        for credential, kind in chosen:
            if kind.kind not in KINDS_FOR_JOBS:
                self.errors["credentials"] = [f"Cannot assign a Credential of kind `{kind.kind}`."]
            slot = (kind.id, str(credential.inputs.get("vault_id", "")) if kind.kind == "vault" else "")
            if slot in kinds:
                self.errors["credentials"] = [f"Cannot assign multiple {kind.name} credentials."]
            kinds[slot] = credential.name
        lost = sorted({kind.name for _, kind in own} - {kind.name for _, kind in chosen})
        if lost and self._again is None and "credentials" not in self.errors:
            self.errors["credentials"] = [
                f"Removing {name} credential at launch time without replacement is not supported. "
                "Provided list lacked credential(s): "
                + ", ".join(credential.name for credential, kind in own if kind.name == name)
                + "."
                for name in lost
            ]
        return chosen

    def variables(self) -> tuple[dict[str, Any], dict[str, str]]:
        """(variables with `$encrypted$` in the place of secrets, the secrets): template < survey < prompted."""
        merged = {} if self._again else parse_variables(self._template.extra_vars, "extra_vars")
        given = dict(self.accepted.get("extra_vars", {}))
        hidden = set(self._again.survey_passwords) if self._again else set()
        if self._template.survey_enabled and self._template.survey_spec:
            survey = surveys.with_clear_defaults(self._template.survey_spec, self._secrets, self._template.id)
            # A question that has become an open one would repeat a secret answer in its message.
            survey["spec"] = [q for q in survey["spec"] if q["type"] == "password" or q["variable"] not in hidden]
            answers = surveys.answers_with_defaults(survey, given)
            messages = surveys.check_answers(survey, answers)
            if messages:
                self.errors["variables_needed_to_start"] = messages
            hidden |= {each["variable"] for each in surveys.questions(survey) if each["type"] == "password"}
            given |= answers
        secret = {name: given[name] for name in hidden if isinstance(given.get(name), str)}
        return {**merged, **given, **dict.fromkeys(secret, MASK)}, secret

    def passwords(self, credentials: Sequence[tuple[Credential, CredentialType]], given: Any) -> dict[str, str]:
        needed = sorted({name for pair in credentials for name in passwords_needed(*pair)})
        passwords = given if isinstance(given, Mapping) else {}
        missing = [name for name in needed if not isinstance(passwords.get(name), str) or not passwords[name]]
        if missing:
            self.errors["passwords_needed_to_start"] = missing
        return {name: passwords[name] for name in needed if name not in missing}

    def instance_groups(self) -> list[int]:
        if "instance_groups" not in self.accepted:
            return []
        ids = self._referenced(InstanceGroup, self.accepted["instance_groups"], "instance_groups")
        if "instance_groups" not in self.errors:
            for group_id in ids:
                self._require_use("instance_group", group_id)
        return ids

    def labels(self) -> list[int]:
        pairs = unified_job_template_labels.c
        own = self._session.scalars(
            select(pairs.label_id).where(pairs.unified_job_template_id == self._template.id)
        ).all()
        if "labels" not in self.accepted:
            return list(own)
        ids = self._referenced(Label, self.accepted["labels"], "labels")
        readable = may(self._actor, "organization", "read_role", Label.organization_id)
        hidden = select(Label.id).where(Label.id.in_(ids), Label.id.not_in(own), ~readable)
        if self._session.scalar(hidden.limit(1)) is not None:
            raise self._forbidden()
        return ids

    def environment(self) -> int | None:
        """Those without an organization are for everybody."""
        own = self._template.execution_environment_id
        asked: int | None = self.accepted.get("execution_environment", own)
        if asked is None or asked == own:
            return asked
        environment = self._session.get(ExecutionEnvironment, asked) if is_id(asked) else None
        if environment is None:
            self.errors["execution_environment"] = [no_such(asked)]
        elif environment.organization_id and not has_role(
            self._session, self._actor, "organization", "read_role", environment.organization_id
        ):
            raise self._forbidden()
        return asked

    def refuse_isolation(self, environment_id: int | None, project: Project | None) -> None:
        """Jobs run on the worker's own host. Whoever asks for an image must not get less isolation than asked for."""
        organization = (
            self._session.get(Organization, self._template.organization_id) if self._template.organization_id else None
        )
        defaults = (project and project.default_environment_id, organization and organization.default_environment_id)
        resolved = next((id_ for id_ in (environment_id, *defaults) if id_), None)
        environment = self._session.get(ExecutionEnvironment, resolved) if is_id(resolved) else None
        if environment is not None and not environment.managed:
            self.errors.setdefault("execution_environment", []).append(
                f"Container isolation is not available, so {environment.name} cannot be used: "
                "choose the default execution environment."
            )

    def _forbidden(self) -> Forbidden:
        return Forbidden("Job was launched with prompts you lack access to.") if self._again else Forbidden()

    def _require_use(self, resource_type: str, resource_id: int, organization_id: int | None = None) -> None:
        if not has_role(self._session, self._actor, resource_type, "use_role", resource_id, organization_id):
            raise self._forbidden()

    def _referenced(self, table: type[Label] | type[InstanceGroup], value: Any, name: str) -> list[int]:
        """The ids in `value`; what does not exist becomes an error."""
        ids = self._ids(value, name) or []
        found = set(self._session.scalars(select(table.id).where(table.id.in_(ids))))
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            self.errors[name] = [no_such(id_) for id_ in missing]
        return ids

    def _ids(self, value: Any, name: str) -> list[int] | None:
        if not isinstance(value, list):
            self.errors[name] = [f'Expected a list of items but got type "{type(value).__name__}".']
            return None
        wrong = [item for item in value if not is_id(item)]
        if wrong:
            self.errors[name] = [f"Incorrect type. Expected pk value, received {type(wrong[0]).__name__}."]
            return None
        return list(dict.fromkeys(value))


def sort_prompts(template: JobTemplate, prompts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(accepted, ignored): what the template does not ask for is ignored and said, as AWX does."""
    accepted: dict[str, Any] = {}
    ignored: dict[str, Any] = {}
    for name, flag in ASKED_BY.items():
        if name not in prompts or (prompts[name] is None and name != "inventory"):
            continue
        (accepted if getattr(template, flag) else ignored)[name] = prompts[name]
    extra_vars = parse_variables(prompts.get("extra_vars"), "extra_vars")
    if extra_vars:
        asked = {q["variable"] for q in surveys.questions(template.survey_spec)} if template.survey_enabled else set()
        taken = {k: v for k, v in extra_vars.items() if template.ask_variables_on_launch or k in asked}
        accepted["extra_vars"] = taken
        if len(taken) < len(extra_vars):
            ignored["extra_vars"] = {k: v for k, v in extra_vars.items() if k not in taken}
    return accepted, ignored


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def no_such(id_: Any) -> str:
    return f'Invalid pk "{id_}" - object does not exist.'
