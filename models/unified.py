"""What every kind of template and every kind of run share, and the one id space of each.

`UnifiedJobTemplate` and `UnifiedJob` are joined by their kinds' own tables (`projects`, `job_templates`, ...;
`jobs`, `project_updates`, ...) on the same id, so that a schedule, a node or a client can name any of them by id."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, Integer, Numeric, String, Table, Text, func, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Json, Named, Timestamp, nullify


class JobStatus(StrEnum):
    NEW = "new"
    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    ERROR = "error"
    CANCELED = "canceled"


ACTIVE = (JobStatus.NEW, JobStatus.PENDING, JobStatus.WAITING, JobStatus.RUNNING)
FINISHED = (JobStatus.SUCCESSFUL, JobStatus.FAILED, JobStatus.ERROR, JobStatus.CANCELED)


class LaunchType(StrEnum):
    MANUAL = "manual"
    RELAUNCH = "relaunch"
    CALLBACK = "callback"
    SCHEDULED = "scheduled"
    DEPENDENCY = "dependency"
    WORKFLOW = "workflow"
    WEBHOOK = "webhook"
    SYNC = "sync"
    SCM = "scm"


class UnifiedJobTemplate(Named):
    __tablename__ = "unified_job_templates"
    __table_args__ = (Index("ix_unified_job_templates_type_name", "type", "name"),)
    __mapper_args__ = {"polymorphic_on": "type"}

    type: Mapped[str] = mapped_column(String(32))
    organization_id: Mapped[int | None] = nullify("organizations.id")
    execution_environment_id: Mapped[int | None] = nullify("execution_environments.id", index=False)
    status: Mapped[str] = mapped_column(String(32), default="never updated", server_default="never updated")
    current_job_id: Mapped[int | None] = nullify("unified_jobs.id", use_alter=True)
    last_job_id: Mapped[int | None] = nullify("unified_jobs.id", use_alter=True)
    last_job_run: Mapped[datetime | None] = mapped_column(Timestamp)
    last_job_failed: Mapped[bool] = mapped_column(default=False, server_default="false")
    next_job_run: Mapped[datetime | None] = mapped_column(Timestamp)


class UnifiedJob(Named):
    __tablename__ = "unified_jobs"
    __table_args__ = (
        Index("ix_unified_jobs_created", "created"),
        Index("ix_unified_jobs_finished", "finished"),
        Index("ix_unified_jobs_active", "id", postgresql_where="finished IS NULL"),
        Index("ix_unified_jobs_active_on", "execution_node", postgresql_where="finished IS NULL"),
    )
    __mapper_args__ = {"polymorphic_on": "type"}

    # By the database's clock, as everything that decides by age: those of the hosts may differ.
    created: Mapped[datetime] = mapped_column(Timestamp, default=func.clock_timestamp(), server_default=func.now())
    type: Mapped[str] = mapped_column(String(32))
    unified_job_template_id: Mapped[int | None] = nullify("unified_job_templates.id")
    organization_id: Mapped[int | None] = nullify("organizations.id")
    launch_type: Mapped[str] = mapped_column(String(16), default=LaunchType.MANUAL)
    status: Mapped[str] = mapped_column(String(16), default=JobStatus.NEW)
    failed: Mapped[bool] = mapped_column(default=False, server_default="false")
    started: Mapped[datetime | None] = mapped_column(Timestamp)
    finished: Mapped[datetime | None] = mapped_column(Timestamp)
    canceled_on: Mapped[datetime | None] = mapped_column(Timestamp)
    elapsed: Mapped[Decimal] = mapped_column(Numeric(12, 3), default=Decimal(0), server_default="0")
    job_explanation: Mapped[str] = mapped_column(Text, default="", server_default="")
    # Why it does not run yet, for programs: [{"type": "capacity", "instance_group": "default"}, ...]; [] = nothing.
    waiting_on: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list, server_default="[]")
    cancel_flag: Mapped[bool] = mapped_column(default=False, server_default="false")

    execution_environment_id: Mapped[int | None] = nullify("execution_environments.id", index=False)
    instance_group_id: Mapped[int | None] = nullify("instance_groups.id")
    execution_node: Mapped[str] = mapped_column(Text, default="", server_default="")
    controller_node: Mapped[str] = mapped_column(Text, default="", server_default="")
    # The Temporal workflow id once a workflow has taken the row; "" is what the sweep looks for.
    work_unit_id: Mapped[str] = mapped_column(String(255), default="", server_default="")
    # Since when it holds its locks and its share of the group's capacity; freed by `finished`.
    granted_at: Mapped[datetime | None] = mapped_column(Timestamp)
    task_impact: Mapped[int] = mapped_column(default=1, server_default="1")  # forks of capacity it takes

    start_args: Mapped[str] = mapped_column(Text, default="", server_default="")  # encrypted JSON: asked passwords
    job_args: Mapped[str] = mapped_column(Text, default="", server_default="")
    job_cwd: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    job_env: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    result_traceback: Mapped[str] = mapped_column(Text, default="", server_default="")

    # Counter of the last event and number of the last output line in `job_events`: moved in the same transaction.
    events_stored: Mapped[int] = mapped_column(default=0, server_default="0")
    lines_stored: Mapped[int] = mapped_column(default=0, server_default="0")
    event_processing_finished: Mapped[bool] = mapped_column(default=False, server_default="false")
    host_status_counts: Mapped[dict[str, int] | None] = mapped_column(Json)
    playbook_counts: Mapped[dict[str, int] | None] = mapped_column(Json)


def show_on_template(session: Session, template_id: int | None, **values: Any) -> None:
    """Write what a template shows of its runs. That is no modification of the template."""
    session.execute(
        update(UnifiedJobTemplate)
        .where(UnifiedJobTemplate.id == template_id)
        .values(modified=UnifiedJobTemplate.modified, **values)
        .execution_options(synchronize_session="fetch")
    )


def _pairs(name: str, left: str, right: str, *, ordered: bool = False) -> Table:
    left_table, right_table = left.split("."), right.split(".")
    columns: list[Column[Any]] = [
        Column(left_table[1], ForeignKey(f"{left_table[0]}.id", ondelete="CASCADE"), primary_key=True),
        Column(right_table[1], ForeignKey(f"{right_table[0]}.id", ondelete="CASCADE"), primary_key=True, index=True),
    ]
    if ordered:
        columns.append(Column("position", Integer, nullable=False, default=0, server_default="0"))
    return Table(name, Base.metadata, *columns)


_TEMPLATE, _JOB = "unified_job_templates.unified_job_template_id", "unified_jobs.unified_job_id"

unified_job_template_credentials = _pairs("unified_job_template_credentials", _TEMPLATE, "credentials.credential_id")
unified_job_template_labels = _pairs("unified_job_template_labels", _TEMPLATE, "labels.label_id")
unified_job_template_instance_groups = _pairs(
    "unified_job_template_instance_groups", _TEMPLATE, "instance_groups.instance_group_id", ordered=True
)
unified_job_credentials = _pairs("unified_job_credentials", _JOB, "credentials.credential_id")
unified_job_labels = _pairs("unified_job_labels", _JOB, "labels.label_id")
unified_job_instance_groups = _pairs(  # asked for at launch: takes the place of the template's own
    "unified_job_instance_groups", _JOB, "instance_groups.instance_group_id", ordered=True
)
unified_job_dependencies = _pairs(  # a job and the updates it waits for
    "unified_job_dependencies", _JOB, "unified_jobs.depends_on_id"
)
