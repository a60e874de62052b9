"""From a job back to the prompts that make it again, which then go the way of every launch.

What the template asks for, the caller may give again as at a launch. Everything else that differs from what the
template gives by now - a prompt that is no longer asked, another playbook - is for those who could make such a
template themselves, as in AWX."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import Forbidden, Invalid
from models import surveys
from models.access import Actor, has_role, require
from models.credentials import Credential
from models.inventories import Inventory
from models.inventory_script import host_pattern
from models.job_templates import JobTemplate
from models.jobs import Job, JobHostSummary
from models.launch import OPTIONS, survey_context, write_job
from models.launch_form import ASKED_BY, job_credentials, template_credentials
from models.projects import Project
from models.prompts import Prompts, sort_prompts
from models.settings import get_setting
from models.unified import (
    FINISHED,
    LaunchType,
    unified_job_instance_groups,
    unified_job_labels,
    unified_job_template_labels,
)
from models.variables import parse_variables


def relaunch_job(
    session: Session, secrets: Secrets, actor: Actor, job: Job, *, hosts: str = "all", passwords: Any = None
) -> Job:
    """A new job with the same prompts. `hosts="failed"` limits it to the hosts that failed or were unreachable."""
    template = session.get(JobTemplate, job.job_template_id) if job.job_template_id else None
    if template is None:
        raise Invalid("The template of this job was deleted: it cannot be relaunched.")
    require(session, actor, "job_template", "execute_role", template.id, template.organization_id)
    if hosts not in ("all", "failed"):
        raise Invalid(fields={"hosts": [f'"{hosts}" is not a valid choice.']})
    if hosts == "failed" and job.status not in FINISHED:
        raise Invalid(fields={"hosts": ["Wait until job finishes before retrying on failed hosts."]})
    had, gives = _had(session, secrets, job), _gives(session, secrets, template)
    if hosts == "failed":
        had["limit"] = gives["limit"] = _failed_hosts(session, job)
    if not actor.is_superuser:
        _require_secrets(actor, job, had, gives)
        if unasked := _unasked(template, had, gives):
            _require_parts(session, actor, job, unasked)
    asked = Prompts(session, secrets, actor, template, had, again=job)
    return write_job(session, secrets, actor, template, asked, passwords, LaunchType.RELAUNCH)


def _had(session: Session, secrets: Secrets, job: Job) -> dict[str, Any]:
    """What the job ran with, by the names of prompts; secret answers in clear."""
    answers = {
        name: secrets.decrypt(value, survey_context(job.id, name)) for name, value in job.survey_passwords.items()
    }
    return {
        **{name: getattr(job, name) for name in OPTIONS},
        "project": job.project_id,
        "inventory": job.inventory_id,
        "execution_environment": job.execution_environment_id,
        "credentials": [credential.id for credential, _ in job_credentials(session, job.id)],
        "labels": _attached(session, unified_job_labels, job.id),
        "instance_groups": _attached(session, unified_job_instance_groups, job.id),
        "extra_vars": parse_variables(job.extra_vars, "extra_vars") | answers,
    }


def _gives(session: Session, secrets: Secrets, template: JobTemplate) -> dict[str, Any]:
    """The same of a job that would be launched from the template now, without any prompts."""
    survey = template.survey_spec if template.survey_enabled else {}
    defaults = surveys.answers_with_defaults(surveys.with_clear_defaults(survey, secrets, template.id), {})
    return {
        **{name: getattr(template, name) for name in OPTIONS},
        "timeout": template.timeout or get_setting(session, "DEFAULT_JOB_TIMEOUT"),
        "project": template.project_id,
        "inventory": template.inventory_id,
        "execution_environment": template.execution_environment_id,
        "credentials": [credential.id for credential, _ in template_credentials(session, template.id)],
        "labels": _attached(session, unified_job_template_labels, template.id),
        "instance_groups": [],  # a job has them only if they were asked for
        "extra_vars": parse_variables(template.extra_vars, "extra_vars") | defaults,
    }


def _attached(session: Session, pairs: Table, owner_id: int) -> list[int]:
    """What the table pairs with this id, in the order in which it was attached, if that is kept."""
    owner, attached, *position = pairs.c
    return list(session.scalars(select(attached).where(owner == owner_id).order_by(*position, attached)))


def _unasked(template: JobTemplate, had: Mapping[str, Any], gives: Mapping[str, Any]) -> list[str]:
    """Names of what the job had otherwise than the template gives it, and without being asked."""
    names = [
        name
        for name, value in had.items()
        if name != "extra_vars" and value != gives[name] and not getattr(template, ASKED_BY.get(name, ""), False)
    ]
    _, ignored = sort_prompts(template, {"extra_vars": had["extra_vars"]})
    variables = ignored.get("extra_vars", {})
    if any(name not in gives["extra_vars"] or gives["extra_vars"][name] != variables[name] for name in variables):
        names.append("extra_vars")
    return names


def _require_secrets(actor: Actor, job: Job, had: Mapping[str, Any], gives: Mapping[str, Any]) -> None:
    """Secret answers are used again by who gave them only; the survey's own defaults are nobody's. Raises Forbidden."""
    given = [name for name in job.survey_passwords if had["extra_vars"][name] != gives["extra_vars"].get(name)]
    if given and job.created_by_id != actor.id:
        raise Forbidden("Job was launched with secret prompts provided by another user.")


def _require_parts(session: Session, actor: Actor, job: Job, unasked: Sequence[str]) -> None:
    """The actor could make a template that gives this job; what is missing by now is for the launch to say. Raises
    Forbidden."""
    parts: list[tuple[str, Project | Inventory | Credential | None]] = [
        ("project", session.get(Project, job.project_id) if job.project_id else None),
        ("inventory", session.get(Inventory, job.inventory_id) if job.inventory_id else None),
        *(("credential", credential) for credential, _ in job_credentials(session, job.id)),
    ]
    for kind, part in parts:
        if part is not None and not has_role(session, actor, kind, "use_role", part.id, part.organization_id):
            raise Forbidden(
                f"The template of this job gives something else by now, and does not ask for it: {', '.join(unasked)}. "
                "To relaunch the job takes the use of its project, inventory and credentials."
            )


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
    return ",".join(map(host_pattern, names))
