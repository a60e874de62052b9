"""Projects and their updates: where playbooks come from, and at which revision."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Json, Timestamp, nullify
from models.unified import JobStatus, UnifiedJob, UnifiedJobTemplate

# A change of one of these makes what was fetched before stale.
SOURCE = ("scm_type", "scm_url", "scm_branch", "scm_refspec")


class _Scm:
    """The columns that an update copies from its project, so that it runs what was asked when it was asked."""

    local_path: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    scm_type: Mapped[str] = mapped_column(String(8), default="", server_default="")
    scm_url: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    scm_branch: Mapped[str] = mapped_column(String(256), default="", server_default="")
    scm_refspec: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    scm_clean: Mapped[bool] = mapped_column(default=False, server_default="false")
    scm_track_submodules: Mapped[bool] = mapped_column(default=False, server_default="false")
    scm_delete_on_update: Mapped[bool] = mapped_column(default=False, server_default="false")
    timeout: Mapped[int] = mapped_column(default=0, server_default="0")
    scm_revision: Mapped[str] = mapped_column(String(1024), default="", server_default="")


class Project(_Scm, UnifiedJobTemplate):
    __tablename__ = "projects"
    __mapper_args__ = {"polymorphic_identity": "project"}

    id: Mapped[int] = mapped_column(ForeignKey("unified_job_templates.id", ondelete="CASCADE"), primary_key=True)
    credential_id: Mapped[int | None] = nullify("credentials.id")
    scm_update_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    scm_update_cache_timeout: Mapped[int] = mapped_column(default=0, server_default="0")
    allow_override: Mapped[bool] = mapped_column(default=False, server_default="false")
    default_environment_id: Mapped[int | None] = nullify("execution_environments.id", index=False)
    signature_validation_credential_id: Mapped[int | None] = nullify("credentials.id", index=False)
    last_updated: Mapped[datetime | None] = mapped_column(Timestamp)
    last_update_failed: Mapped[bool] = mapped_column(default=False, server_default="false")
    playbook_files: Mapped[list[str]] = mapped_column(Json, default=list, server_default="[]")
    inventory_files: Mapped[list[str]] = mapped_column(Json, default=list, server_default="[]")

    @property
    def update_failed(self) -> bool:
        """Whether its revision is not to be trusted: there may be a newer one. A cancelled update is no reason for
        that, as in AWX, though `last_update_failed` counts it too."""
        return bool(self.scm_type) and self.status in (JobStatus.FAILED, JobStatus.ERROR)


class ProjectUpdate(_Scm, UnifiedJob):
    __tablename__ = "project_updates"
    __mapper_args__ = {"polymorphic_identity": "project_update"}

    id: Mapped[int] = mapped_column(ForeignKey("unified_jobs.id", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[int | None] = nullify("projects.id")
    credential_id: Mapped[int | None] = nullify("credentials.id", index=False)
    job_type: Mapped[str] = mapped_column(String(8), default="check", server_default="check")
    job_tags: Mapped[str] = mapped_column(Text, default="", server_default="")
