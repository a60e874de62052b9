"""What the declarations of several resources have in common: fields of every template and run, and summaries."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Numeric, Table, Text, and_, case, cast, func, literal_column, select, types

from api.rest.fields import Boolean, Choice, Computed, DateTime, Field, ForeignKey, Json, Number, String, choices
from api.rest.resource import Summary
from api.rest.source import Source
from api.rest.sqljson import counted, iso, json_list, json_object, json_pairs, key
from api.rest.writer import Change
from core.db import Base
from models.access import Actor
from models.credentials import Credential, CredentialType
from models.environments import ExecutionEnvironment
from models.labels import Label
from models.organizations import Organization
from models.settings import setting_text
from models.unified import JobStatus, LaunchType, UnifiedJob
from models.users import User

NAME = String("name", required=True, blank=False, max_length=512)
DESCRIPTION = String("description", default="", trim=False)
JOB_STATUSES = choices(*(status.value for status in JobStatus))
TEMPLATE_STATUSES = (*JOB_STATUSES, *choices("never updated"))
LAUNCH_TYPES = choices(*(kind.value for kind in LaunchType))
VERBOSITIES = choices(
    (0, "0 (Normal)"), (1, "1 (Verbose)"), (2, "2 (More Verbose)"), (3, "3 (Debug)"), (4, "4 (Connection Debug)"),
    (5, "5 (WinRM Debug)"),
)  # fmt: skip
JOB_TYPES = choices("run", "check")
WEBHOOK_SERVICES = choices(("github", "GitHub"), ("gitlab", "GitLab"), ("bitbucket_dc", "BitBucket DataCenter"))
KIND_OF_TEMPLATE = {
    "job_template": "job",
    "project": "project_update",
    "inventory_source": "inventory_update",
    "system_job_template": "system_job",
    "workflow_job_template": "workflow_job",
}


def constant(name: str, value: Any, kind: str, *, detail_only: bool = False) -> Field:
    """What this API family says of things that Forge does not have. Lists filter by a flag and by a number, as by any
    other."""
    text = orjson.dumps(value).decode()
    if isinstance(value, bool | int):
        # With a cast: ORDER BY refuses a bare constant, and takes a bare number for the number of a column.
        typed = cast(literal_column(text), types.Boolean() if isinstance(value, bool) else types.Integer())
        return Computed(name, kind=kind, detail_only=detail_only, expression=lambda _row: typed)
    shown = literal_column(f"'{text}'", Text)
    return Computed(
        name, kind=kind, json=True, filterable=False, detail_only=detail_only, expression=lambda _row: shown
    )


def organization_field(use: str, *, required: bool = False, read_only: bool = False) -> ForeignKey:
    return ForeignKey(
        "organization",
        target="organizations",
        use=use,
        required=required,
        nullable=not required,
        read_only=read_only,
        help_text="The organization used to determine access to this object.",
    )


def custom_virtualenv(*, detail_only: bool = False) -> Field:
    return constant("custom_virtualenv", None, "string", detail_only=detail_only)


EXECUTION_ENVIRONMENT = ForeignKey("execution_environment", target="execution_environments", nullable=True)


def template_fields(statuses: tuple[tuple[str, str], ...]) -> tuple[Field, ...]:
    """What every kind of template says of its runs."""
    return (
        DateTime("last_job_run", read_only=True),
        Boolean("last_job_failed", read_only=True),
        DateTime("next_job_run", read_only=True),
        Choice("status", read_only=True, choices=statuses),
    )


def _elapsed(row: Source) -> ColumnElement[float]:
    """Seconds; of a run that goes on, until now."""
    so_far = func.extract("epoch", func.now() - row.col("started"))
    running = and_(row.col("started").is_not(None), row.col("finished").is_(None))
    return case((running, func.round(cast(so_far, Numeric), 3)), else_=row.col("elapsed"))


def _launched_by(row: Source) -> ColumnElement[str]:
    """The user, as a small object; {} for what Forge started by itself."""
    user = Source(User)
    shown = json_pairs(
        {
            "id": user.id,
            "name": user.col("username"),
            "type": key("user"),
            "url": func.concat(key("/api/v2/users/"), user.id, key("/")),
        }
    )
    found = select(shown).where(user.id == row.col("created_by_id")).select_from(user.table()).scalar_subquery()
    return func.coalesce(found, literal_column("'{}'::json"))


# What every kind of run shows; `JOB_FIELDS` in lists too, `JOB_DETAILS` alone in the detail.
JOB_FIELDS: tuple[Field, ...] = (
    String("name", read_only=True),
    String("description", read_only=True),
    ForeignKey("unified_job_template", target="unified_job_templates", read_only=True, link=False),
    Choice("launch_type", read_only=True, choices=LAUNCH_TYPES),
    Choice("status", read_only=True, choices=JOB_STATUSES),
    ForeignKey("execution_environment", target="execution_environments", read_only=True),
    Boolean("failed", read_only=True),
    DateTime("started", read_only=True),
    DateTime("finished", read_only=True),
    DateTime("canceled_on", read_only=True),
    Number("elapsed", read_only=True, expression=_elapsed, help_text="Elapsed time in seconds that the job ran."),
    String("job_explanation", read_only=True, help_text="Why the job is in its state, where that is not obvious."),
    Json("waiting_on", read_only=True, kind=list, filterable=False, help_text="What a waiting job waits for."),
    String("execution_node", read_only=True, help_text="The node the job executed on."),
    String("controller_node", read_only=True),
    Computed("launched_by", json=True, expression=_launched_by, filterable=False),
    String("work_unit_id", read_only=True, help_text="The id of the workflow that runs this job."),
)
JOB_DETAILS: tuple[Field, ...] = (
    String("job_args", read_only=True, detail_only=True),
    String("job_cwd", read_only=True, detail_only=True),
    Json("job_env", read_only=True, detail_only=True, filterable=False),
    String("result_traceback", read_only=True, detail_only=True),
    Boolean("event_processing_finished", read_only=True, detail_only=True),
    Json("host_status_counts", read_only=True, detail_only=True, filterable=False),
    Json("playbook_counts", read_only=True, detail_only=True, filterable=False),
)


def unified_job_type(row: Source) -> ColumnElement[str]:
    return case(KIND_OF_TEMPLATE, value=row.col("type"))


def ansible_resource(kind: str) -> Summary:
    """How other programs of the family know an object: by a UUID that no object of another installation has."""

    def summary(row: Source, _actor: Actor) -> ColumnElement[Any]:
        text = func.concat(setting_text("INSTALL_UUID"), key(f":{kind}:"), row.id)
        return json_object({"ansible_id": cast(func.md5(text), types.Uuid()), "resource_type": key(f"shared.{kind}")})

    return summary


def refuse_unsupported(change: Change, messages: Mapping[str, str]) -> None:
    """What this version does not do is refused where it is switched on: a setting that nothing honours would be a
    lie."""
    for name, message in messages.items():
        if change.get(name):
            change.fail(name, message)


def labels_summary(pairs: Table, parent: str) -> Summary:
    """The labels of an object through their table of pairs, all counted and shown."""

    def summary(row: Source, _actor: Actor) -> ColumnElement[Any]:
        pair, label = pairs.alias(), Label.__table__.alias()
        shown = json_pairs({"id": label.c.id, "name": label.c.name})
        listed = (
            select(json_list(shown, label.c.name))
            .select_from(pair.join(label, label.c.id == pair.c.label_id))
            .where(pair.c[parent] == row.id)
            .scalar_subquery()
        )
        return counted(listed)

    return summary


def credentials_summary(pairs: Table, parent: str) -> Summary:
    """The credentials of a template or a run, without anything that is in them."""

    def summary(row: Source, _actor: Actor) -> ColumnElement[Any]:
        pair, credential, kind = pairs.alias(), Credential.__table__.alias(), CredentialType.__table__.alias()
        shown = json_pairs(
            {
                "id": credential.c.id,
                "name": credential.c.name,
                "description": credential.c.description,
                "kind": kind.c.namespace,
                "cloud": kind.c.kind == "cloud",
            }
        )
        listed = (
            select(json_list(shown, credential.c.id))
            .select_from(
                pair.join(credential, credential.c.id == pair.c.credential_id).join(
                    kind, kind.c.id == credential.c.credential_type_id
                )
            )
            .where(pair.c[parent] == row.id)
            .scalar_subquery()
        )
        return cast(listed, Text)

    return summary


def recent_jobs(row: Source, _actor: Actor) -> ColumnElement[Any]:
    """The last ten runs of a template."""
    job = UnifiedJob.__table__.alias()
    last = (
        select(job.c.id, job.c.status, job.c.finished, job.c.canceled_on, job.c.type)
        .where(job.c.unified_job_template_id == row.id)
        .order_by(job.c.id.desc())
        .limit(10)
        .correlate_except(job)
        .subquery()
    )
    shown = json_pairs(
        {
            "id": last.c.id,
            "status": last.c.status,
            "finished": iso(last.c.finished),
            "canceled_on": iso(last.c.canceled_on),
            "type": last.c.type,
        }
    )
    return cast(select(json_list(shown, last.c.id.desc())).scalar_subquery(), Text)


def resolved_environment(*candidates: Callable[[Source], ColumnElement[Any]]) -> Summary:
    """The execution environment that a run would get: the first of these, the organization's, the one that comes with
    Forge."""

    def summary(row: Source, _actor: Actor) -> ColumnElement[Any]:
        environment, built_in = ExecutionEnvironment.__table__.alias(), ExecutionEnvironment.__table__.alias()
        of_organization = value_of(Organization, "default_environment_id", row.col("organization_id"))
        default = select(func.min(built_in.c.id)).where(built_in.c.managed).scalar_subquery()
        chosen = func.coalesce(*(each(row) for each in candidates), of_organization, default)
        shown = json_object({name: environment.c[name] for name in ("id", "name", "description", "image")})
        return select(shown).where(environment.c.id == chosen).scalar_subquery()

    return summary


def value_of(model: type[Base], column: str, id: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of the row with this id, which is a column of an enclosing statement, however far out."""
    other = Source(model)
    value = select(other.col(column)).where(other.id == id)
    return value.select_from(other.table()).correlate_except(other.table()).scalar_subquery()
