"""All runs, and all templates, whatever their kind."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from api.rest.fields import Computed, ForeignKey, choices
from api.rest.permissions import Permission, no_route_yet, role
from api.rest.resource import Relation, Resource
from api.rest.source import Source
from api.v2.runs import organization_admin, readable, startable
from api.v2.shared import (
    DESCRIPTION,
    EXECUTION_ENVIRONMENT,
    JOB_DETAILS,
    JOB_FIELDS,
    NAME,
    TEMPLATE_STATUSES,
    credentials_summary,
    labels_summary,
    resolved_environment,
    template_fields,
    unified_job_type,
)
from models.access import Actor
from models.unified import (
    UnifiedJob,
    UnifiedJobTemplate,
    unified_job_credentials,
    unified_job_labels,
    unified_job_template_credentials,
)

# A kind of template or run -> the resource it is one of.
TEMPLATES = {"job_template": "job_templates", "project": "projects"}
RUNS = {"job": "jobs", "project_update": "project_updates"}
TEMPLATE_OF = {"job": "job_templates", "project_update": "projects"}


def _template_link(item: dict[str, Any]) -> dict[str, str]:
    template = item["unified_job_template"]
    url = f"/api/v2/{TEMPLATE_OF[item['type']]}/{template}/"
    return {} if template is None else {"unified_job_template": url}


def on_kind(**roles: str) -> Permission:
    """Whoever has the role that is named for the kind of the template: `on_kind(project="update_role")`."""

    def condition(actor: Actor, row: Source) -> ColumnElement[bool]:
        kind = row.col("type")
        if actor.is_superuser:
            return kind.in_(roles)
        return or_(*(and_(kind == name, role(name, field)(actor, row)) for name, field in roles.items()))

    return condition


admin = on_kind(job_template="admin_role", project="admin_role")
start = on_kind(job_template="execute_role", project="update_role")

unified_job_templates = Resource(
    "unified_job_templates",
    "unified_job_template",
    UnifiedJobTemplate,
    (
        NAME,
        DESCRIPTION,
        *template_fields((*TEMPLATE_STATUSES, *choices("ok", "missing", "none", "updating"))),
        EXECUTION_ENVIRONMENT,
        ForeignKey("organization", target="organizations", read_only=True, shown=False),
        Computed("unified_job_type", expression=unified_job_type, shown=False),
    ),
    description="Everything that can be launched or updated.",
    read=on_kind(job_template="read_role", project="read_role"),
    capabilities={"edit": admin, "delete": admin, "start": start, "schedule": no_route_yet},
    summary=("id", "name", "description", "unified_job_type"),
    summaries={
        "credentials": credentials_summary(unified_job_template_credentials, "unified_job_template_id"),
        "resolved_environment": resolved_environment(lambda row: row.col("execution_environment_id")),
    },
    relations={kind: Relation(name) for kind, name in TEMPLATES.items()} | {"jobtemplate": Relation("job_templates")},
    search=("name", "description", "jobtemplate__playbook"),
    order=("name",),
    kinds=TEMPLATES,
)

unified_jobs = Resource(
    "unified_jobs",
    "unified_job",
    UnifiedJob,
    (
        *JOB_FIELDS,
        ForeignKey("organization", target="organizations", read_only=True, shown=False),
        ForeignKey("instance_group", target="instance_groups", read_only=True, shown=False, link=False),
        *JOB_DETAILS,
    ),
    description="All runs: jobs, project updates and whatever else is run.",
    read=readable,
    capabilities={"delete": organization_admin, "start": startable},
    summaries={
        "labels": labels_summary(unified_job_labels, "unified_job_id"),
        "credentials": credentials_summary(unified_job_credentials, "unified_job_id"),
    },
    relations={kind: Relation(name) for kind, name in RUNS.items()},
    search=("name", "description", "job__playbook"),
    links=_template_link,
    kinds=RUNS,
)
