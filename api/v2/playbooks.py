"""Which playbooks a project has, as far as this server can tell."""

import os
from pathlib import Path

from api.call import Call
from core.errors import Invalid
from core.project_content import find_playbooks
from models.jobs import Job
from models.projects import Project


def visible_folder(call: Call, project: Project) -> Path | None:
    """Of a manual project, on this host; a server that runs no jobs need not have it. Without a folder of its own a
    project has none: what is at the root belongs to the others."""
    path = call.services.settings.manual_projects_dir / project.local_path
    visible = bool(project.local_path) and os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)
    return path if visible else None


def known_playbooks(call: Call, project: Project) -> list[str] | None:
    """Those that a template may name. None where nobody can know: before the first update, where each template may
    take a branch of its own, and where the project's folder is not visible."""
    if project.scm_type:
        return project.playbook_files if project.scm_revision and not project.allow_override else None
    folder = visible_folder(call, project)
    if folder is not None:
        return find_playbooks(folder)
    return None if project.local_path else []


def refuse_missing_playbook(call: Call, job: Job) -> None:
    """For the launch of a job from a folder, which may have lost the playbook since the template was saved; of other
    projects the launch itself knows. Raises Invalid."""
    project = call.session.get_one(Project, job.project_id)
    folder = None if project.scm_type else visible_folder(call, project)
    if folder is not None and not os.path.isfile(folder / job.playbook):
        raise Invalid(fields={"playbook": [f"Playbook not found in the project: {job.playbook}."]})
