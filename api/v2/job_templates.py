"""Job templates: what to run, on what, and what may be asked at launch."""

from typing import Any

from fastapi import Response
from sqlalchemy import ColumnElement, Text, case, cast, func, select

from api.call import Call
from api.responses import json_response
from api.rest.fields import Boolean, Choice, Field, ForeignKey, Integer, Json, String, Variables, booleans
from api.rest.permissions import no_route_yet, role
from api.rest.reader import Reader
from api.rest.resource import Action, Attached, Children, Resource
from api.rest.source import Source
from api.rest.sqljson import json_object
from api.rest.writer import Change
from api.v2.jobs import jobs
from api.v2.playbooks import known_playbooks, refuse_missing_playbook
from api.v2.prompts import Ids, Items, cleaned
from api.v2.runs import refuse_while_running
from api.v2.shared import (
    DESCRIPTION,
    JOB_TYPES,
    NAME,
    TEMPLATE_STATUSES,
    VERBOSITIES,
    WEBHOOK_SERVICES,
    credentials_summary,
    custom_virtualenv,
    labels_summary,
    organization_field,
    recent_jobs,
    refuse_unsupported,
    resolved_environment,
    template_fields,
    value_of,
)
from api.v2.survey import SURVEY
from core.errors import Forbidden, Invalid
from models.access import Actor, has_role
from models.credentials import KINDS_FOR_JOBS, Credential, CredentialType
from models.inventories import Inventory
from models.job_templates import JobTemplate, leaves_the_project
from models.launch import launch_job
from models.launch_form import ASK_FLAGS, launch_data, template_credentials
from models.projects import Project
from models.unified import (
    UnifiedJob,
    unified_job_template_credentials,
    unified_job_template_instance_groups,
    unified_job_template_labels,
)

# What the wire takes, numbers as text too, and OPTIONS describes. What a job may hold is for `models.prompts` to say,
# to whoever launches: most of them do not come this way.
LAUNCH_FIELDS: tuple[Field, ...] = (
    Variables("extra_vars"),
    ForeignKey("inventory", target="inventories", nullable=True),
    String("scm_branch", max_length=1024),
    String("limit"),
    String("job_tags"),
    String("skip_tags", max_length=1024),
    Choice("job_type", choices=JOB_TYPES),
    Choice("verbosity", choices=VERBOSITIES),
    Boolean("diff_mode"),
    Ids("credentials"),
    Json("credential_passwords"),
    ForeignKey("execution_environment", target="execution_environments", nullable=True),
    Items("labels"),
    Integer("forks", min_value=0),
    Integer("job_slice_count", min_value=1),
    Integer("timeout"),
    Items("instance_groups"),
)

admin = role("job_template", "admin_role")
execute = role("job_template", "execute_role")


# What decides what runs, where it comes from and on what.
SENSITIVE = ("project", "inventory", "playbook", "scm_branch", "job_type", "become_enabled")


def _validate(change: Change) -> None:
    project = change.call.session.get(Project, change.get("project")) if change.get("project") else None
    if project is None:
        change.fail("project", "This field is required.")
    else:
        change.values["organization"] = project.organization_id
        _check_playbook(change, project)
        _require_use(change, project)
    if change.get("inventory") is None and not change.get("ask_inventory_on_launch"):
        change.fail("inventory", "Must either set a default value or ask to prompt on launch.")
    if change.get("job_slice_count") not in (None, 1):
        change.fail("job_slice_count", "Ensure this value is less than or equal to 1.")
    refuse_unsupported(change, NOT_YET)


def _require_use(change: Change, project: Project) -> None:
    """To administer the template is not enough to run something else from its project or on its inventory: that takes
    the use of both, as making a template does. Raises Forbidden."""
    if change.before is None or not any(change.changes(name) for name in SENSITIVE):
        return
    session, actor = change.call.session, change.call.actor
    inventory = session.get(Inventory, change.get("inventory")) if change.get("inventory") else None
    for kind, used in (("project", project), ("inventory", inventory)):
        if used is not None and not has_role(session, actor, kind, "use_role", used.id, used.organization_id):
            raise Forbidden()


def _check_playbook(change: Change, project: Project) -> None:
    playbook = change.get("playbook")
    if not playbook:
        change.fail("playbook", "Must select playbook for project.")
    elif leaves_the_project(playbook):
        change.fail("playbook", "A playbook is a path inside its project.")
    elif (known := known_playbooks(change.call, project)) is not None and playbook not in known:
        change.fail("playbook", "Playbook not found for project.")
    if not project.allow_override:
        if change.get("scm_branch"):
            change.fail("scm_branch", "Project does not allow overriding branch.")
        if change.get("ask_scm_branch_on_launch"):
            change.fail("ask_scm_branch_on_launch", "Project does not allow overriding branch.")


NOT_YET = {
    "use_fact_cache": "Fact caching is not supported by this version.",
    "host_config_key": "Provisioning callbacks are not supported by this version.",
    "webhook_service": "Webhooks are not supported by this version.",
    "webhook_credential": "Webhooks are not supported by this version.",
}


def _remove(call: Call, template: JobTemplate) -> None:
    refuse_while_running(call, UnifiedJob.unified_job_template_id == template.id)


def _check_credential(call: Call, template_id: int, credential_id: int) -> None:
    """One credential of a kind, but for vaults: one of each vault id. Raises Invalid."""
    added, kind = call.session.execute(
        select(Credential, CredentialType)
        .join(CredentialType, CredentialType.id == Credential.credential_type_id)
        .where(Credential.id == credential_id)
    ).one()
    if kind.kind not in KINDS_FOR_JOBS:
        raise Invalid(fields={"error": [f"Cannot assign a Credential of kind `{kind.kind}`."]})
    for other, other_kind in template_credentials(call.session, template_id):
        if other_kind.id != kind.id:
            continue
        if kind.kind != "vault":
            raise Invalid(fields={"error": [f"Cannot assign multiple {kind.name} credentials."]})
        vault_id = added.inputs.get("vault_id", "")
        if other.inputs.get("vault_id", "") == vault_id:
            raise Invalid(fields={"error": [f"Cannot assign multiple {kind.name} credentials with id `{vault_id}`."]})


def _survey(row: Source, _actor: Actor) -> ColumnElement[Any]:
    """Title and description of the survey, if there is one."""
    spec = row.col("survey_spec")
    shown = json_object(
        {
            "title": spec.op("->>", return_type=Text())("name"),
            "description": spec.op("->>", return_type=Text())("description"),
        }
    )
    return case((func.jsonb_typeof(spec.op("->")("spec")) == "array", shown), else_=cast(None, Text))


def _launch_data(call: Call, template_id: int) -> Response:
    """What may be asked, what must be brought, and the defaults."""
    return json_response(launch_data(call.session, _load(call, template_id)))


def _launch(call: Call, template_id: int) -> Response:
    """A new job. What the template does not ask for is ignored, and said to be."""
    prompts = cleaned(LAUNCH_FIELDS, call.data())
    launched = launch_job(call.session, call.services.secrets, call.actor, _load(call, template_id), prompts)
    refuse_missing_playbook(call, launched.job)
    job_id = launched.job.id
    call.services.runs.start(call, job_id)
    shown = Reader(jobs, call.actor).one(call.session, job_id)
    answer = {"job": job_id, "ignored_fields": launched.ignored_fields} | shown
    return json_response(answer, 201, {"Location": shown["url"]})


def _load(call: Call, template_id: int) -> JobTemplate:
    template = call.session.get(JobTemplate, template_id)
    assert template is not None
    return template


job_templates = Resource(
    "job_templates",
    "job_template",
    JobTemplate,
    (
        NAME,
        DESCRIPTION,
        Choice("job_type", choices=JOB_TYPES, default="run"),
        ForeignKey("inventory", target="inventories", use="use_role", nullable=True),
        ForeignKey("project", target="projects", use="use_role", nullable=True),
        String("playbook", max_length=1024, default=""),
        String("scm_branch", max_length=1024, default="", help_text="Branch to use, if the project allows it."),
        Integer("forks", default=0, min_value=0),
        String("limit", default=""),
        Choice("verbosity", choices=VERBOSITIES, default=0),
        Variables("extra_vars", default=""),
        String("job_tags", default=""),
        Boolean("force_handlers", default=False),
        String("skip_tags", max_length=1024, default=""),
        String("start_at_task", max_length=1024, default=""),
        Integer("timeout", default=0, help_text="Seconds after which a job is cancelled; 0 means no limit."),
        Boolean("use_fact_cache", default=False),
        organization_field("read_role", read_only=True),
        *template_fields(TEMPLATE_STATUSES),
        ForeignKey("execution_environment", target="execution_environments", nullable=True),
        String("host_config_key", max_length=1024, default=""),
        *booleans(*ASK_FLAGS),
        *booleans("survey_enabled", "become_enabled", "diff_mode", "allow_simultaneous"),
        custom_virtualenv(),
        Integer("job_slice_count", default=1, min_value=1),
        Choice("webhook_service", choices=WEBHOOK_SERVICES, blank=True),
        ForeignKey("webhook_credential", target="credentials", use="use_role", nullable=True),
        Boolean("prevent_instance_group_fallback", default=False),
        *(
            ForeignKey(name, target="jobs", column=f"{name}_id", read_only=True, shown=False)
            for name in ("current_job", "last_job")
        ),
    ),
    description="Job templates say what to run, on what, and what may be asked at launch.",
    read=role("job_template", "read_role"),
    change=admin,
    delete=admin,
    create_in="project",
    capabilities={"edit": admin, "delete": admin, "start": execute, "schedule": no_route_yet, "copy": no_route_yet},
    summaries={
        "labels": labels_summary(unified_job_template_labels, "unified_job_template_id"),
        "survey": _survey,
        "recent_jobs": recent_jobs,
        "credentials": credentials_summary(unified_job_template_credentials, "unified_job_template_id"),
        "resolved_environment": resolved_environment(
            lambda row: row.col("execution_environment_id"),
            lambda row: value_of(Project, "default_environment_id", row.col("project_id")),
        ),
    },
    sublists=(
        Attached(
            "labels", "labels", table=unified_job_template_labels, pair=("unified_job_template_id", "label_id"),
            create=True, initial={"organization": "organization_id"}, reuse=True,
        ),
        Attached(
            "credentials", "credentials", table=unified_job_template_credentials,
            pair=("unified_job_template_id", "credential_id"), use="use_role", check=_check_credential,
        ),
        Attached(
            "instance_groups", "instance_groups", table=unified_job_template_instance_groups,
            pair=("unified_job_template_id", "instance_group_id"), use="use_role", ordered=True,
        ),
        Children("jobs", "jobs", by="job_template", create=False),
    ),
    actions=(
        Action("launch", {"GET": _launch_data, "POST": _launch}, may=execute, fields=LAUNCH_FIELDS),
        SURVEY,
    ),
    order=("name",),
    unique=("name", "organization"),
    named_url=(("name",), ("organization__name",)),
    validate=_validate,
    remove=_remove,
)  # fmt: skip
