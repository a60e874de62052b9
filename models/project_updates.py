"""Updates of projects: launched by a user, by a change of the project, or for a job that depends on one."""

from datetime import timedelta

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.errors import NotAllowed
from models.access import Actor, require
from models.base import now
from models.jobs import Job
from models.projects import Project, ProjectUpdate
from models.settings import get_setting
from models.unified import ACTIVE, JobStatus, LaunchType, show_on_template, unified_job_dependencies

_SCM_OPTIONS = (
    "local_path",
    "scm_type",
    "scm_url",
    "scm_branch",
    "scm_refspec",
    "scm_clean",
    "scm_track_submodules",
    "scm_delete_on_update",
    "timeout",
    "credential_id",
)


def launch_project_update(
    session: Session, actor: Actor | None, project: Project, *, launch_type: LaunchType = LaunchType.MANUAL
) -> ProjectUpdate:
    """A `pending` update of a project that has an SCM. `actor` is None when a job depends on it."""
    if actor is not None:
        require(session, actor, "project", "update_role", project.id, project.organization_id)
    if not project.scm_type:
        raise NotAllowed("A manual project has nothing to update from.")
    values = {name: getattr(project, name) for name in _SCM_OPTIONS}
    values["timeout"] = project.timeout or get_setting(session, "DEFAULT_PROJECT_UPDATE_TIMEOUT")
    run = ProjectUpdate(
        **values,
        name=project.name,
        description=project.description,
        project_id=project.id,
        unified_job_template_id=project.id,
        organization_id=project.organization_id,
        launch_type=launch_type,
        status=JobStatus.PENDING,
        created_by_id=actor.id if actor else None,
        modified_by_id=actor.id if actor else None,
    )
    session.add(run)
    session.flush()
    show_on_template(session, project.id, status=JobStatus.PENDING, current_job_id=run.id)
    return run


def active_update(session: Session, project_id: int) -> int | None:
    """Id of the newest update of the project that has not ended."""
    return session.scalar(
        select(func.max(ProjectUpdate.id)).where(
            ProjectUpdate.project_id == project_id, ProjectUpdate.status.in_(ACTIVE)
        )
    )


def depend_on_update(session: Session, job: Job) -> int | None:
    """Make sure that the project of a job that updates on launch is fresh enough: the id of the update that the job
    has to wait for, or None. One update serves every job that waits for it."""
    project = session.get(Project, job.project_id) if job.project_id else None
    if project is None or not project.scm_type or not project.scm_update_on_launch:
        return None
    update_id = active_update(session, project.id)
    if update_id is None:
        fresh_until = project.last_updated and project.last_updated + timedelta(
            seconds=project.scm_update_cache_timeout
        )
        if fresh_until and not project.last_update_failed and project.scm_update_cache_timeout and fresh_until > now():
            return None
        update_id = launch_project_update(session, None, project, launch_type=LaunchType.DEPENDENCY).id
    session.execute(insert(unified_job_dependencies).values(unified_job_id=job.id, depends_on_id=update_id))
    return update_id
