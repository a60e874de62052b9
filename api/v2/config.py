"""`/api/v2/config/`: what clients want to know about this installation."""

from pathlib import Path

from fastapi import FastAPI, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.call import Call, endpoint
from api.responses import json_response
from core.version import VERSION
from models.access import resources_with
from models.projects import Project

# Forge knows no licence; clients read these keys all the same.
LICENSE = {"license_type": "open", "valid_key": True, "subscription_name": "OPEN", "product_name": "AWX"}
BECOME_METHODS = [
    ("sudo", "Sudo"),
    ("su", "Su"),
    ("pbrun", "Pbrun"),
    ("pfexec", "Pfexec"),
    ("dzdo", "DZDO"),
    ("pmrun", "Pmrun"),
    ("runas", "Runas"),
    ("enable", "Enable"),
    ("doas", "Doas"),
    ("ksu", "Ksu"),
    ("machinectl", "Machinectl"),
    ("sesu", "Sesu"),
]
# Roles on any organization that let somebody choose a local path for a project.
PROJECT_ROLES = ("admin_role", "auditor_role", "project_admin_role")


def add_routes(app: FastAPI) -> None:
    app.add_api_route("/api/v2/config/", endpoint(config), methods=["GET"], tags=["Server"])


def config(call: Call) -> Response:
    """The installation; the folders of manual projects only for those who may make projects."""
    body = {
        "time_zone": "UTC",
        "license_info": LICENSE,
        "version": VERSION,
        "eula": "",
        "analytics_status": "off",
        "analytics_collectors": {},
        "become_methods": BECOME_METHODS,
        "ui_next": True,
    }
    if _may_make_projects(call):
        root = call.services.settings.manual_projects_dir
        body |= {
            "project_base_dir": str(root),
            "project_local_paths": _unused_folders(call.session, root),
            "custom_virtualenvs": [],
        }
    return json_response(body)


def _may_make_projects(call: Call) -> bool:
    actor = call.actor
    if actor.is_superuser or actor.is_system_auditor:
        return True
    return call.session.scalar(resources_with(actor, "organization", PROJECT_ROLES).limit(1)) is not None


def _unused_folders(session: Session, root: Path) -> list[str]:
    """Folders below the projects root that no project uses yet; none where this host does not have the root."""
    try:
        folders = {each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith((".", "_"))}
    except OSError:
        return []
    return sorted(folders - set(session.scalars(select(Project.local_path).where(Project.local_path.in_(folders)))))
