"""Projects, where playbooks come from, and their updates."""

import re

from fastapi import Response
from sqlalchemy import select

from api.call import Call
from api.responses import json_response
from api.rest.fields import Boolean, Choice, DateTime, Field, ForeignKey, Integer, String, booleans, choices, read_only
from api.rest.permissions import no_route_yet, role
from api.rest.reader import Reader
from api.rest.resource import Action, Children, Resource
from api.rest.writer import Change
from api.v2.events import events_of_run
from api.v2.playbooks import known_playbooks, visible_folder
from api.v2.runs import CANCEL, STDOUT, readable, refuse_while_running, remove_run, startable
from api.v2.shared import (
    DESCRIPTION,
    JOB_DETAILS,
    JOB_FIELDS,
    JOB_TYPES,
    NAME,
    TEMPLATE_STATUSES,
    custom_virtualenv,
    organization_field,
    resolved_environment,
    template_fields,
)
from core.errors import Forbidden
from core.project_content import find_inventory_files
from models.access import has_role
from models.credentials import Credential, CredentialType
from models.job_templates import JobTemplate
from models.jobs import Job
from models.project_updates import launch_project_update
from models.projects import SOURCE, Project, ProjectUpdate
from models.unified import UnifiedJob

SCM_TYPES = choices(
    ("", "Manual"), ("git", "Git"), ("svn", "Subversion"), ("insights", "Red Hat Insights"),
    ("archive", "Remote Archive"),
)  # fmt: skip
SCHEMES = ("http", "https", "ssh", "git", "git+ssh", "ssh+git", "file")
PASSWORD_IN_URL = re.compile(r"[^:/]+://[^/?#]*:[^/?#]*@")

admin = role("project", "admin_role")


def _validate(change: Change) -> None:
    _check_source(change)
    _check_credential(change, "credential", "scm", "Credential kind must be 'scm'.")
    _require_use(change)
    if change.get("signature_validation_credential") is not None:
        change.fail("signature_validation_credential", "Content signatures are not checked by this version.")
    if change.before is not None and change.changes("organization"):
        templates = select(JobTemplate.id).where(JobTemplate.project_id == change.before.id).limit(1)
        if change.call.session.scalar(templates) is not None:
            change.fail("organization", "Organization cannot be changed when in use by job templates.")


def _check_source(change: Change) -> None:
    kind, url = change.get("scm_type"), change.get("scm_url") or ""
    if not kind:
        _check_manual(change)
        return
    change.values.pop("local_path", None)  # Forge's own affair for what it fetches itself
    if kind != "git":
        change.fail("scm_type", f"{kind} projects are not supported by this version: use git or a manual project.")
    elif not url:
        change.fail("scm_url", "SCM URL is required.")
    elif not _is_url(url):
        change.fail("scm_url", "Unsupported git URL.")
    elif PASSWORD_IN_URL.match(url):  # it would be stored in clear and shown to everybody who may read the project
        change.fail("scm_url", "A URL must not contain a password or token: put it into a Source Control credential.")


def _is_url(url: str) -> bool:
    scheme, separator, rest = url.partition("://")
    if separator:
        return scheme.lower() in SCHEMES and bool(rest)
    return url.startswith("/") or re.fullmatch(r"([\w.-]+@)?[\w.-]+:[^:]+", url) is not None  # user@host:path


def _check_manual(change: Change) -> None:
    for name in ("scm_update_on_launch", "scm_delete_on_update", "scm_clean", "scm_track_submodules", "allow_override"):
        if change.get(name):
            change.fail(name, "Update options must be set to false for manual projects.")
    path = change.get("local_path") or ""
    if not change.changes("local_path") or not path:
        return
    if "/" in path or path.startswith((".", "_")):
        change.fail("local_path", "Must be the name of a folder directly below the projects root.")
        return
    mine = change.before.id if change.before is not None else None
    other = select(Project.id).where(Project.local_path == path, Project.id.is_distinct_from(mine)).limit(1)
    if change.call.session.scalar(other) is not None:
        change.fail("local_path", "This path is already being used by another manual project.")


def _check_credential(change: Change, name: str, kind: str, message: str) -> None:
    if change.get(name) is None or not change.changes(name):
        return
    found = (
        select(CredentialType.kind)
        .join(Credential, Credential.credential_type_id == CredentialType.id)
        .where(Credential.id == change.get(name))
    )
    if change.call.session.scalar(found) != kind:
        change.fail(name, message)


def _require_use(change: Change) -> None:
    """Whoever points the project elsewhere sends its credential there, which takes the use of it. Raises Forbidden."""
    if change.before is None or not (change.changes("scm_url") or change.changes("scm_type")):
        return
    session, actor = change.call.session, change.call.actor
    credential = session.get(Credential, change.get("credential")) if change.get("credential") else None
    if credential is not None and not has_role(
        session, actor, "credential", "use_role", credential.id, credential.organization_id
    ):
        raise Forbidden()


def _saved(change: Change) -> None:
    """A project with an SCM is updated when it is new, or when it points somewhere else; until then nothing runs from
    what was fetched before."""
    project: Project = change.object
    moved = bool(change.changed.intersection(SOURCE))
    if moved:
        project.scm_revision, project.playbook_files, project.inventory_files = "", [], []
    if not project.scm_type:
        project.status = "ok"
        return
    if not project.local_path:
        slug = re.sub(r"[^a-z0-9]+", "_", project.name.lower()).strip("_")[:100]
        project.local_path = f"_{project.id}__{slug}"
    if moved:
        run = launch_project_update(change.call.session, change.call.actor, project)
        change.call.services.runs.start(change.call, run.id)


def _remove(call: Call, project: Project) -> None:
    own = UnifiedJob.unified_job_template_id == project.id
    refuse_while_running(call, own | UnifiedJob.id.in_(select(Job.__table__.c.id).where(Job.project_id == project.id)))


def _can_update(call: Call, project_id: int) -> Response:
    project = call.session.get(Project, project_id)
    return json_response({"can_update": project is not None and bool(project.scm_type)})


def _update(call: Call, project_id: int) -> Response:
    """Fetch the project again; 405 for a manual one."""
    project = call.session.get(Project, project_id)
    assert project is not None
    run = launch_project_update(call.session, call.actor, project)
    call.services.runs.start(call, run.id)
    shown = Reader(project_updates, call.actor).one(call.session, run.id)
    return json_response(shown | {"project_update": run.id}, 202, {"Location": shown["url"]})


def _playbooks(call: Call, project_id: int) -> Response:
    """Files that hold plays: as of the last update; for a manual project, of this moment."""
    project = call.session.get_one(Project, project_id)
    return json_response(project.playbook_files if project.scm_type else known_playbooks(call, project) or [])


def _inventories(call: Call, project_id: int) -> Response:
    """Files that may be inventories: as of the last update; for a manual project, of this moment."""
    project = call.session.get_one(Project, project_id)
    if project.scm_type:
        return json_response(project.inventory_files)
    folder = visible_folder(call, project)
    return json_response([] if folder is None else find_inventory_files(folder))


SCM_FIELDS: tuple[Field, ...] = (
    String("local_path", max_length=1024, help_text="Local path of the playbooks, below the projects root."),
    Choice("scm_type", choices=SCM_TYPES, default="", help_text="Where the project comes from."),
    String("scm_url", max_length=1024, default="", label="SCM URL"),
    String("scm_branch", max_length=256, default="", help_text="Specific branch, tag or commit to checkout."),
    String("scm_refspec", max_length=1024, default="", help_text="For git projects, an additional refspec to fetch."),
    *booleans("scm_clean", "scm_track_submodules", "scm_delete_on_update"),
)

projects = Resource(
    "projects",
    "project",
    Project,
    (
        NAME,
        DESCRIPTION,
        *SCM_FIELDS,
        ForeignKey("credential", target="credentials", use="use_role", nullable=True),
        Integer("timeout", default=0, help_text="Seconds after which an update is cancelled; 0 means no limit."),
        String("scm_revision", read_only=True, help_text="The last revision fetched."),
        *template_fields((*TEMPLATE_STATUSES, *choices("ok", "missing"))),
        organization_field("project_admin_role"),
        Boolean("scm_update_on_launch", default=False, help_text="Update the project before a job runs from it."),
        Integer(
            "scm_update_cache_timeout",
            default=0,
            min_value=0,
            help_text="Seconds for which an update is fresh enough for the jobs that follow.",
        ),
        Boolean("allow_override", default=False, help_text="Let templates choose another branch or revision."),
        custom_virtualenv(),
        ForeignKey("default_environment", target="execution_environments", nullable=True, link=False),
        ForeignKey("signature_validation_credential", target="credentials", use="use_role", nullable=True),
        Boolean("last_update_failed", read_only=True),
        DateTime("last_updated", read_only=True),
        *(
            ForeignKey(name, target="project_updates", column=column, read_only=True, shown=False)
            for name, column in (
                ("current_job", "current_job_id"),
                ("current_update", "current_job_id"),
                ("last_job", "last_job_id"),
                ("last_update", "last_job_id"),
            )
        ),
    ),
    description="Projects are collections of playbooks, fetched from version control or found in a folder.",
    read=role("project", "read_role"),
    change=admin,
    delete=admin,
    create_in="organization",
    capabilities={
        "edit": admin,
        "delete": admin,
        "start": role("project", "update_role"),
        "schedule": no_route_yet,
        "copy": no_route_yet,
    },
    summary=("id", "name", "description", "status", "scm_type", "allow_override"),
    summaries={"resolved_environment": resolved_environment(lambda row: row.col("default_environment_id"))},
    sublists=(Children("project_updates", "project_updates", by="project", create=False),),
    actions=(
        Action("update", {"GET": _can_update, "POST": _update}, may=role("project", "update_role")),
        Action("playbooks", {"GET": _playbooks}),
        Action("inventories", {"GET": _inventories}, related="inventory_files"),
    ),
    order=("id",),
    unique=("name", "organization"),
    named_url=(("name",), ("organization__name",)),
    validate=_validate,
    saved=_saved,
    remove=_remove,
)

project_updates = Resource(
    "project_updates",
    "project_update",
    ProjectUpdate,
    (
        *JOB_FIELDS,
        String("local_path", read_only=True),
        Choice("scm_type", read_only=True, choices=SCM_TYPES),
        *read_only(String, "scm_url", "scm_branch", "scm_refspec"),
        *read_only(Boolean, "scm_clean", "scm_track_submodules", "scm_delete_on_update"),
        ForeignKey("credential", target="credentials", read_only=True),
        Integer("timeout", read_only=True),
        String("scm_revision", read_only=True),
        ForeignKey("project", target="projects", read_only=True),
        Choice("job_type", read_only=True, choices=JOB_TYPES),
        String("job_tags", read_only=True),
        ForeignKey("organization", target="organizations", read_only=True, shown=False, link=False),
        *JOB_DETAILS,
    ),
    description="Project updates fetch a project.",
    read=readable,
    delete=role("project", "admin_role", id="project_id"),
    capabilities={"delete": role("project", "admin_role", id="project_id"), "start": startable},
    summary=("id", "name", "description", "status", "failed"),
    sublists=(events_of_run("events", "project_update_events"),),
    actions=(STDOUT, CANCEL),
    links=lambda item: (
        {} if item["project"] is None else {"unified_job_template": f"/api/v2/projects/{item['project']}/"}
    ),
    remove=remove_run,
)
