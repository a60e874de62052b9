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
from core.errors import Invalid
from models.access import Actor, require
from models.inventories import Host
from models.job_templates import JobTemplate, PlaybookOptions
from models.jobs import Job
from models.prompts import Prompts
from models.settings import get_setting
from models.unified import (
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
    job = write_job(session, secrets, actor, template, asked, prompts.get("credential_passwords"), launch_type)
    return Launched(job, asked.ignored)


def write_job(
    session: Session,
    secrets: Secrets,
    actor: Actor,
    template: JobTemplate,
    asked: Prompts,
    credential_passwords: Any,
    launch_type: LaunchType,
) -> Job:
    """The job that the prompts make of the template, if they pass every check. Raises Invalid, Forbidden."""
    values: dict[str, Any] = {name: asked.accepted.get(name, getattr(template, name)) for name in OPTIONS}
    asked.check_options()

    inventory = asked.inventory()
    project = asked.project(values["scm_branch"])
    credentials = asked.credentials()
    variables, answers = asked.variables()
    passwords = asked.passwords(credentials, credential_passwords)
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
    return _write(session, secrets, actor, template, values, inputs, launch_type)


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
