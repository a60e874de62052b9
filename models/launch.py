"""THE launch path: template + prompts + caller -> a job row that holds everything the run needs.

Whoever launches - a user, a schedule, a node, a rule, a relaunch - comes through here, so that every check applies to
every source. Nothing here commits or talks to Temporal: the caller commits, then starts the workflow `job-<id>`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import Forbidden, Invalid
from models.access import Actor, has_role, require
from models.inventories import Host, Inventory
from models.job_templates import JobTemplate, PlaybookOptions
from models.jobs import Job, JobHostSummary
from models.launch_form import job_credentials, template_credentials
from models.projects import Project
from models.prompts import Prompts
from models.settings import get_setting
from models.unified import (
    FINISHED,
    JobStatus,
    LaunchType,
    show_on_template,
    unified_job_credentials,
    unified_job_instance_groups,
    unified_job_labels,
)

DEFAULT_FORKS = 5  # ansible's own
OPTIONS = tuple(name for name in vars(PlaybookOptions) if not name.startswith("_"))


@dataclass
class Launched:
    job: Job
    ignored_fields: dict[str, Any] = field(default_factory=dict)


def launch_job(
    session: Session,
    secrets: Secrets,
    actor: Actor,
    template: JobTemplate,
    prompts: Mapping[str, Any],
    *,
    launch_type: LaunchType = LaunchType.MANUAL,
) -> Launched:
    """Write the job row, `pending`, with its credentials, labels and groups. Raises Invalid with messages per field,
    Forbidden or NotFound. The caller commits and starts the workflow."""
    require(session, actor, "job_template", "execute_role", template.id, template.organization_id)
    asked = Prompts(session, secrets, actor, template, prompts)
    values: dict[str, Any] = {name: asked.accepted.get(name, getattr(template, name)) for name in OPTIONS}
    asked.check_options()

    inventory = asked.inventory()
    project = asked.project(values["scm_branch"])
    credentials = asked.credentials()
    variables, answers = asked.variables()
    passwords = asked.passwords(credentials, prompts.get("credential_passwords"))
    labels = asked.labels()
    groups = asked.instance_groups()
    environment_id = asked.environment()
    asked.refuse_isolation(environment_id, project)
    if asked.errors:
        raise Invalid(fields=asked.errors)
    assert inventory is not None  # else there was an error
    assert project is not None

    values |= {
        "timeout": values["timeout"] or get_setting(session, "DEFAULT_JOB_TIMEOUT"),
        "extra_vars": orjson.dumps(variables).decode() if variables else "",
        "name": template.name,
        "description": template.description,
        "organization_id": template.organization_id,
        "inventory_id": inventory.id,
        "project_id": project.id,
        "execution_environment_id": environment_id,
        "webhook_credential_id": template.webhook_credential_id,
    }
    inputs = _Inputs([c.id for c, _ in credentials], labels, groups, answers, passwords)
    return Launched(_write(session, secrets, actor, template, values, inputs, launch_type), asked.ignored)


@dataclass
class _Inputs:
    """What a job has beside its own columns. `answers` (of the survey) and `passwords` are in clear here."""

    credentials: Sequence[int]
    labels: Sequence[int]
    groups: Sequence[int]
    answers: Mapping[str, str]
    passwords: Mapping[str, str]


def _write(
    session: Session,
    secrets: Secrets,
    actor: Actor,
    template: JobTemplate,
    values: Mapping[str, Any],
    inputs: _Inputs,
    launch_type: LaunchType,
) -> Job:
    job = Job(
        **values,
        job_template_id=template.id,
        unified_job_template_id=template.id,
        launch_type=launch_type,
        status=JobStatus.PENDING,
        created_by_id=actor.id,
        modified_by_id=actor.id,
        task_impact=_impact(session, values["inventory_id"], values["forks"]),
    )
    session.add(job)
    session.flush()
    job.survey_passwords = {
        name: secrets.encrypt(answer, survey_context(job.id, name)) for name, answer in inputs.answers.items()
    }
    if inputs.passwords:
        job.start_args = secrets.encrypt(orjson.dumps(inputs.passwords).decode(), start_context(job.id))
    _attach(session, unified_job_credentials, job.id, "credential_id", inputs.credentials)
    _attach(session, unified_job_labels, job.id, "label_id", inputs.labels)
    _attach(session, unified_job_instance_groups, job.id, "instance_group_id", inputs.groups, ordered=True)
    session.flush()
    show_on_template(session, template.id, status=JobStatus.PENDING, current_job_id=job.id)
    return job


def survey_context(job_id: int, variable: str) -> str:
    return f"job:{job_id}:survey:{variable}"


def start_context(job_id: int) -> str:
    return f"job:{job_id}:start_args"


def _attach(
    session: Session, table: Any, job_id: int, column: str, ids: Sequence[int], *, ordered: bool = False
) -> None:
    if ids:
        rows = [{"unified_job_id": job_id, column: id_} for id_ in ids]
        if ordered:
            rows = [{**row, "position": position} for position, row in enumerate(rows)]
        session.execute(insert(table), rows)


def _impact(session: Session, inventory_id: int, forks: int) -> int:
    """Forks that a run really takes: no more than it has hosts."""
    hosts = session.scalar(
        select(func.count()).select_from(Host).where(Host.inventory_id == inventory_id, Host.enabled.is_(True))
    )
    return max(1, min(forks or DEFAULT_FORKS, hosts or 1))


# --- relaunching ------------------------------------------------------------------------------------------------------

_COPIED = (*OPTIONS, "name", "description", "organization_id", "inventory_id", "project_id")
_COPIED += ("execution_environment_id", "webhook_credential_id")


def relaunch_job(
    session: Session, secrets: Secrets, actor: Actor, job: Job, *, hosts: str = "all", passwords: Any = None
) -> Job:
    """A new job with the same prompts. `hosts="failed"` limits it to the hosts that failed or were unreachable."""
    template = session.get(JobTemplate, job.job_template_id) if job.job_template_id else None
    if template is None:
        raise Invalid("The template of this job was deleted: it cannot be relaunched.")
    require(session, actor, "job_template", "execute_role", template.id, template.organization_id)
    _require_prompts(session, actor, template, job)
    asked = Prompts(session, secrets, actor, template, {})
    if hosts not in ("all", "failed"):
        raise Invalid(fields={"hosts": [f'"{hosts}" is not a valid choice.']})
    if hosts == "failed" and job.status not in FINISHED:
        raise Invalid(fields={"hosts": ["Wait until job finishes before retrying on failed hosts."]})
    inventory = session.get(Inventory, job.inventory_id) if job.inventory_id else None
    project = session.get(Project, job.project_id) if job.project_id else None
    if inventory is None or inventory.pending_deletion:
        asked.errors["inventory"] = ["Job Template 'inventory' is missing or undefined."]
    if project is None:
        asked.errors["project"] = ["A project is required to run a job."]
    asked.refuse_isolation(job.execution_environment_id, project)
    credentials = job_credentials(session, job.id)
    given = asked.passwords(credentials, passwords)
    if asked.errors:
        raise Invalid(fields=asked.errors)

    values = {name: getattr(job, name) for name in _COPIED}
    if hosts == "failed":
        values["limit"] = _failed_hosts(session, job)
    inputs = _Inputs(
        credentials=[credential.id for credential, _ in credentials],
        labels=_attached(session, unified_job_labels, job.id, "label_id"),
        groups=_attached(session, unified_job_instance_groups, job.id, "instance_group_id"),
        answers={
            name: secrets.decrypt(value, survey_context(job.id, name)) for name, value in job.survey_passwords.items()
        },
        passwords=given,
    )
    return _write(session, secrets, actor, template, values, inputs, LaunchType.RELAUNCH)


def _attached(session: Session, table: Any, job_id: int, column: str) -> Sequence[int]:
    ids = select(table.c[column]).where(table.c.unified_job_id == job_id)
    return session.scalars(ids.order_by(table.c.position if "position" in table.c else table.c[column])).all()


def _require_prompts(session: Session, actor: Actor, template: JobTemplate, job: Job) -> None:
    """What the template does not bring by itself, only those may use again who could have asked for it at launch, and
    secret answers only who gave them."""
    if job.survey_passwords and job.created_by_id != actor.id and not actor.is_superuser:
        raise Forbidden("Job was launched with secret prompts provided by another user.")
    own = {credential.id for credential, _ in template_credentials(session, template.id)}
    used = [("credential", c.id, c.organization_id) for c, _ in job_credentials(session, job.id) if c.id not in own]
    if job.inventory_id not in (None, template.inventory_id):
        inventory = session.get_one(Inventory, job.inventory_id)
        used.append(("inventory", inventory.id, inventory.organization_id))
    groups = unified_job_instance_groups.c
    used += [
        ("instance_group", id_, None)
        for id_ in session.scalars(select(groups.instance_group_id).where(groups.unified_job_id == job.id))
    ]
    for resource_type, id_, organization_id in used:
        if not has_role(session, actor, resource_type, "use_role", id_, organization_id):
            raise Forbidden("Job was launched with prompts you lack access to.")


def _failed_hosts(session: Session, job: Job) -> str:
    if job.events_stored == 0 or not job.playbook_counts:
        raise Invalid(fields={"hosts": ["Cannot relaunch on failed hosts: the playbook's statistics are missing."]})
    names = session.scalars(
        select(JobHostSummary.host_name)
        .where(JobHostSummary.job_id == job.id, JobHostSummary.failed.is_(True))
        .order_by(JobHostSummary.host_name)
    ).all()
    if not names:
        raise Invalid(fields={"hosts": ["No failed hosts to relaunch on: every host of this job succeeded."]})
    return ",".join(names)
