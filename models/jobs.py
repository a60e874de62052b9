"""Jobs: one run of a job template, with everything the run needs copied from the template at launch."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Json, Record, nullify
from models.job_templates import PlaybookOptions
from models.unified import UnifiedJob


class Job(PlaybookOptions, UnifiedJob):
    __tablename__ = "jobs"
    __mapper_args__ = {"polymorphic_identity": "job"}

    id: Mapped[int] = mapped_column(ForeignKey("unified_jobs.id", ondelete="CASCADE"), primary_key=True)
    job_template_id: Mapped[int | None] = nullify("job_templates.id")
    inventory_id: Mapped[int | None] = nullify("inventories.id")
    project_id: Mapped[int | None] = nullify("projects.id")
    scm_revision: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    # Survey answers of type password: variable -> ciphertext. `extra_vars` holds `$encrypted$` in their place.
    survey_passwords: Mapped[dict[str, str]] = mapped_column(Json, default=dict, server_default="{}")
    artifacts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    job_slice_number: Mapped[int] = mapped_column(default=0, server_default="0")
    webhook_credential_id: Mapped[int | None] = nullify("credentials.id", index=False)
    webhook_guid: Mapped[str] = mapped_column(String(128), default="", server_default="")


class JobHostSummary(Record):
    """What one run did to one host; `host_id` is null for a host that is not (or no longer) in the inventory."""

    __tablename__ = "job_host_summaries"
    __table_args__ = (Index("uq_job_host_summaries_job_id_host_name", "job_id", "host_name", unique=True),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    host_id: Mapped[int | None] = nullify("hosts.id", use_alter=True)
    host_name: Mapped[str] = mapped_column(String(1024))
    changed: Mapped[int] = mapped_column(default=0)
    dark: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    ok: Mapped[int] = mapped_column(default=0)
    processed: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    ignored: Mapped[int] = mapped_column(default=0)
    rescued: Mapped[int] = mapped_column(default=0)
    failed: Mapped[bool] = mapped_column(default=False)
