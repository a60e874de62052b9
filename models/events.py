"""Events of every kind of run, partitioned by the day their run was created.

There is no foreign key to the run: it would cost a check per row on the busiest table; a run's events are deleted by
`delete_events`, or with their whole day."""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import psycopg2
from sqlalchemy import (
    BigInteger,
    Engine,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Text,
    UniqueConstraint,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from core.errors import Conflict
from models.base import Base, Json, Timestamp
from models.unified import UnifiedJob


class JobEvent(Base):
    __tablename__ = "job_events"
    __table_args__ = (
        PrimaryKeyConstraint("id", "job_created"),
        UniqueConstraint("job_id", "counter", "job_created"),
        Index("ix_job_events_job_id_start_line", "job_id", "start_line"),
        Index("ix_job_events_host_id", "host_id", postgresql_where="host_id IS NOT NULL"),
        {"postgresql_partition_by": "RANGE (job_created)"},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity())
    job_id: Mapped[int] = mapped_column(Integer)  # any unified job
    job_created: Mapped[datetime] = mapped_column(Timestamp)
    counter: Mapped[int] = mapped_column(Integer)  # contiguous from 1 within a run
    created: Mapped[datetime] = mapped_column(Timestamp)
    event: Mapped[str] = mapped_column(String(100))
    uuid: Mapped[str] = mapped_column(Text, default="")
    parent_uuid: Mapped[str] = mapped_column(Text, default="")
    event_data: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    failed: Mapped[bool] = mapped_column(default=False)
    changed: Mapped[bool] = mapped_column(default=False)
    host_id: Mapped[int | None] = mapped_column(Integer)
    host_name: Mapped[str] = mapped_column(Text, default="")
    playbook: Mapped[str] = mapped_column(Text, default="")
    play: Mapped[str] = mapped_column(Text, default="")
    task: Mapped[str] = mapped_column(Text, default="")
    role: Mapped[str] = mapped_column(Text, default="")
    stdout: Mapped[str] = mapped_column(Text, default="")
    start_line: Mapped[int] = mapped_column(Integer, default=0)
    end_line: Mapped[int] = mapped_column(Integer, default=0)
    verbosity: Mapped[int] = mapped_column(Integer, default=0)


# event -> (level in the tree of a playbook's output, what a person reads, whether it is a failure)
EVENTS: Mapping[str, tuple[int, str, bool]] = {
    "runner_on_failed": (3, "Host Failed", True),
    "runner_on_start": (3, "Host Started", False),
    "runner_on_ok": (3, "Host OK", False),
    "runner_on_error": (3, "Host Failure", True),
    "runner_on_skipped": (3, "Host Skipped", False),
    "runner_on_unreachable": (3, "Host Unreachable", True),
    "runner_on_no_hosts": (3, "No Hosts Remaining", False),
    "runner_on_async_poll": (3, "Host Polling", False),
    "runner_on_async_ok": (3, "Host Async OK", False),
    "runner_on_async_failed": (3, "Host Async Failure", True),
    "runner_item_on_ok": (3, "Item OK", False),
    "runner_item_on_failed": (3, "Item Failed", True),
    "runner_item_on_skipped": (3, "Item Skipped", False),
    "runner_retry": (3, "Host Retry", False),
    "runner_on_file_diff": (3, "File Difference", False),
    "playbook_on_start": (0, "Playbook Started", False),
    "playbook_on_notify": (2, "Running Handlers", False),
    "playbook_on_include": (2, "Including File", False),
    "playbook_on_no_hosts_matched": (2, "No Hosts Matched", False),
    "playbook_on_no_hosts_remaining": (2, "No Hosts Remaining", False),
    "playbook_on_task_start": (2, "Task Started", False),
    "playbook_on_vars_prompt": (1, "Variables Prompted", False),
    "playbook_on_setup": (2, "Gathering Facts", False),
    "playbook_on_import_for_host": (2, "internal: on Import for Host", False),
    "playbook_on_not_import_for_host": (2, "internal: on Not Import for Host", False),
    "playbook_on_play_start": (1, "Play Started", False),
    "playbook_on_stats": (1, "Playbook Complete", False),
    "debug": (0, "Debug", False),
    "verbose": (0, "Verbose", False),
    "deprecated": (0, "Deprecated", False),
    "warning": (0, "Warning", False),
    "system_warning": (0, "System Warning", False),
    "error": (0, "Error", True),
}

# What `store_events` writes, in the order of COPY. `id` comes from the table.
COLUMNS = (
    "job_id",
    "job_created",
    "counter",
    "created",
    "event",
    "uuid",
    "parent_uuid",
    "event_data",
    "failed",
    "changed",
    "host_id",
    "host_name",
    "playbook",
    "play",
    "task",
    "role",
    "stdout",
    "start_line",
    "end_line",
    "verbosity",
)
_COPY = f"COPY job_events ({', '.join(COLUMNS)}) FROM STDIN"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x00": None})
_known_days: WeakKeyDictionary[Engine, set[date]] = WeakKeyDictionary()


def ensure_partition(session: Session, created: datetime) -> None:
    """The partition of a run's day. Remembered per process: one look per day and database, not per run.

    A table is made and then attached: that lets readers and writers of the other days go on."""
    day = created.astimezone(UTC).date()
    known = _known_days.setdefault(session.get_bind().engine, set())
    if day in known:
        return
    name = f"job_events_{day:%Y%m%d}"
    if not _exists(session, name):
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('job_events_partition'))"))
        if not _exists(session, name):
            session.execute(text(f"CREATE TABLE {name} (LIKE job_events INCLUDING DEFAULTS)"))
            session.execute(
                text(
                    f"ALTER TABLE job_events ATTACH PARTITION {name} "
                    f"FOR VALUES FROM ('{day} 00:00:00+00') TO ('{day + timedelta(days=1)} 00:00:00+00')"
                )
            )
            session.info["partition"] = name  # not remembered before it is committed
    if session.info.get("partition") != name:
        known.add(day)


def _exists(session: Session, table: str) -> bool:
    """Asks the table of tables: `to_regclass` goes on saying no after somebody else has made and committed it."""
    found = text("SELECT 1 FROM pg_class WHERE relname = :table AND relnamespace = current_schema()::regnamespace")
    return session.scalar(found, {"table": table}) is not None


def store_events(session: Session, job_id: int, events: Iterable[Mapping[str, Any]]) -> int:
    """Store the events that are not stored yet, in order, and move the run's counters with them.

    Safe to repeat and safe against a second, late writer: the run's row is locked and whatever it counts as stored is
    passed over. Returns the counter of the last event stored. Raises Conflict when the run has ended or is gone: what
    was said to be all of its output stays all of it."""
    run = session.execute(
        select(UnifiedJob.events_stored, UnifiedJob.lines_stored, UnifiedJob.created, UnifiedJob.finished)
        .where(UnifiedJob.id == job_id)
        .with_for_update()
    ).one_or_none()
    if run is None or run.finished is not None:
        raise Conflict(f"Run {job_id} has ended: its output is not added to.")
    stored, lines, created = run.events_stored, run.lines_stored, run.created
    rows: list[str] = []
    for event in events:
        if event["counter"] <= stored:
            continue
        stored = event["counter"]
        lines = max(lines, event["end_line"])
        rows.append("\t".join([str(job_id), created.isoformat(), *(_field(event[name]) for name in COLUMNS[2:])]))
    if rows:
        ensure_partition(session, created)
        _copy(session, "\n".join(rows) + "\n")
        session.execute(
            update(UnifiedJob).where(UnifiedJob.id == job_id).values(events_stored=stored, lines_stored=lines)
        )
    return int(stored)


def _copy(session: Session, data: str) -> None:
    """Raises DBAPIError, as SQLAlchemy would for a statement of its own."""
    connection = session.connection()
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(_COPY, io.StringIO(data))
    except psycopg2.Error as error:
        raise DBAPIError(_COPY, None, error, hide_parameters=True) from error
    finally:
        cursor.close()


def _field(value: Any) -> str:
    """One field of COPY's text format."""
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    if isinstance(value, int):
        return str(value)
    return str(value).translate(_ESCAPES)


def delete_events(session: Session, job_id: int, created: datetime) -> None:
    session.execute(delete(JobEvent).where(JobEvent.job_id == job_id, JobEvent.job_created == created))


def mark_parents(session: Session, job_id: int, created: datetime) -> None:
    """Let a task, its play and its playbook show that something below them failed or changed: one level at a time,
    from the bottom, since each level reads what the one below has just been given."""
    child, parent = aliased(JobEvent), aliased(JobEvent)
    for level in ("runner", "playbook_on_task_start", "playbook_on_play_start"):
        below = child.event.startswith(level) & (child.job_id == job_id) & (child.job_created == created)
        for flag in ("failed", "changed"):
            marked = select(child.parent_uuid).where(below, getattr(child, flag))
            session.execute(
                update(parent)
                .where(
                    parent.job_id == job_id,
                    parent.job_created == created,
                    parent.event.startswith("playbook_on_"),
                    getattr(parent, flag).is_(False),
                    parent.uuid.in_(marked),
                )
                .values({flag: True})
                .execution_options(synchronize_session=False)
            )
