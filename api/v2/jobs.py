"""Jobs: the runs of job templates."""

from typing import Any

from fastapi import Response
from sqlalchemy import ColumnElement, Text, case, func, literal_column, select, true

from api.call import Call
from api.responses import json_response
from api.rest.fields import Boolean, Choice, Computed, ForeignKey, Integer, Json, String, choices, read_only
from api.rest.reader import Reader
from api.rest.resource import Action, Attached, Children, Resource
from api.rest.source import Source
from api.v2.events import events_of_run
from api.v2.playbooks import refuse_missing_playbook
from api.v2.prompts import cleaned
from api.v2.runs import CANCEL, STDOUT, organization_admin, readable, remove_run, startable
from api.v2.shared import (
    JOB_DETAILS,
    JOB_FIELDS,
    JOB_TYPES,
    VERBOSITIES,
    WEBHOOK_SERVICES,
    credentials_summary,
    custom_virtualenv,
    labels_summary,
)
from models.credential_inputs import ASK
from models.credentials import Credential, CredentialType
from models.jobs import Job, JobHostSummary
from models.launch_form import job_credentials, passwords_needed
from models.relaunch import relaunch_job
from models.unified import unified_job_credentials, unified_job_labels

RELAUNCH_FIELDS = (
    Choice("hosts", choices=choices("all", "failed"), default="all", help_text="Which hosts to run on again."),
    Json("credential_passwords", default=dict),
)


def passwords_needed_to_start(row: Source) -> ColumnElement[Any]:
    """The names of the passwords that the run's credentials ask for at launch, as a JSON list: `passwords_needed` of
    `models.launch_form`, in SQL."""
    pair, credential = unified_job_credentials.alias(), Credential.__table__.alias()
    kind = CredentialType.__table__.alias()
    entry = func.jsonb_each_text(credential.c.inputs).table_valued("key", "value").lateral()
    may_be_asked = func.jsonb_build_array(func.jsonb_build_object("id", entry.c.key, "ask_at_runtime", true()))
    vault_id = func.nullif(credential.c.inputs.op("->>", return_type=Text())("vault_id"), "")
    vault = func.concat_ws(".", "vault_password", vault_id)
    name = case((kind.c.kind == "vault", vault), (entry.c.key == "password", "ssh_password"), else_=entry.c.key)
    return (
        select(func.coalesce(func.json_agg(name), literal_column("'[]'::json")))
        .select_from(
            pair.join(credential, credential.c.id == pair.c.credential_id)
            .join(kind, kind.c.id == credential.c.credential_type_id)
            .join(entry, entry.c.value == ASK)
        )
        .where(
            pair.c.unified_job_id == row.id,
            kind.c.kind.in_(("ssh", "vault")),
            kind.c.inputs["fields"].contains(may_be_asked),
        )
        .scalar_subquery()
    )


def _template_link(item: dict[str, Any]) -> dict[str, str]:
    template = item["job_template"]
    return {} if template is None else {"unified_job_template": f"/api/v2/job_templates/{template}/"}


def _relaunch_data(call: Call, job_id: int) -> Response:
    needed = {name for pair in job_credentials(call.session, job_id) for name in passwords_needed(*pair)}
    hosts = select(func.count(), func.count().filter(JobHostSummary.failed)).where(JobHostSummary.job_id == job_id)
    total, failed = call.session.execute(hosts).one()
    return json_response(
        {"passwords_needed_to_start": sorted(needed), "retry_counts": {"all": total, "failed": failed}}
    )


def _relaunch(call: Call, job_id: int) -> Response:
    """The same again, on all hosts or on those that failed."""
    job = call.session.get(Job, job_id)
    assert job is not None
    asked = cleaned(RELAUNCH_FIELDS, call.data())
    again = relaunch_job(
        call.session,
        call.services.secrets,
        call.actor,
        job,
        hosts=asked.get("hosts", "all"),
        passwords=asked.get("credential_passwords"),
    )
    refuse_missing_playbook(call, again)
    call.services.runs.start(call, again.id)
    shown = Reader(jobs, call.actor).one(call.session, again.id)
    return json_response(shown | {"job": again.id}, 201, {"Location": shown["url"]})


jobs = Resource(
    "jobs",
    "job",
    Job,
    (
        *JOB_FIELDS,
        Choice("job_type", read_only=True, choices=(*JOB_TYPES, ("scan", "Scan"))),
        ForeignKey("inventory", target="inventories", read_only=True),
        ForeignKey("project", target="projects", read_only=True),
        *read_only(String, "playbook", "scm_branch"),
        Integer("forks", read_only=True),
        String("limit", read_only=True),
        Choice("verbosity", read_only=True, choices=VERBOSITIES),
        Computed("extra_vars", kind="json", expression=lambda row: row.col("extra_vars")),
        String("job_tags", read_only=True),
        Boolean("force_handlers", read_only=True),
        *read_only(String, "skip_tags", "start_at_task"),
        Integer("timeout", read_only=True),
        Boolean("use_fact_cache", read_only=True),
        ForeignKey("organization", target="organizations", read_only=True),
        ForeignKey("job_template", target="job_templates", read_only=True),
        Computed("passwords_needed_to_start", json=True, expression=passwords_needed_to_start, filterable=False),
        Boolean("allow_simultaneous", read_only=True),
        Json("artifacts", read_only=True, filterable=False),
        String("scm_revision", read_only=True),
        ForeignKey("instance_group", target="instance_groups", read_only=True, link=False),
        Boolean("diff_mode", read_only=True),
        *read_only(Integer, "job_slice_number", "job_slice_count"),
        Choice("webhook_service", read_only=True, choices=WEBHOOK_SERVICES, blank=True),
        ForeignKey("webhook_credential", target="credentials", read_only=True),
        String("webhook_guid", read_only=True),
        *JOB_DETAILS,
        custom_virtualenv(detail_only=True),
    ),
    description="Jobs are the runs of job templates.",
    read=readable,
    delete=organization_admin,
    capabilities={"delete": organization_admin, "start": startable},
    summary=("id", "name", "description", "status", "failed", "elapsed", "canceled_on"),
    summaries={
        "labels": labels_summary(unified_job_labels, "unified_job_id"),
        "credentials": credentials_summary(unified_job_credentials, "unified_job_id"),
    },
    sublists=(
        events_of_run("job_events", "job_events"),
        Children("job_host_summaries", "job_host_summaries", by="job", create=False),
        Attached("labels", "labels", table=unified_job_labels, pair=("unified_job_id", "label_id"), read_only=True),
        Attached(
            "credentials",
            "credentials",
            table=unified_job_credentials,
            pair=("unified_job_id", "credential_id"),
            read_only=True,
        ),
    ),
    actions=(
        STDOUT,
        CANCEL,
        Action("relaunch", {"GET": _relaunch_data, "POST": _relaunch}, fields=RELAUNCH_FIELDS),
    ),
    links=_template_link,
    remove=remove_run,
)
