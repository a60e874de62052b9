"""What happened in a run: its events, and what it did to each host."""

from sqlalchemy import ColumnElement, and_, case, cast, func, select, types

from api.rest.fields import Boolean, Computed, DateTime, Field, ForeignKey, Integer, Json, String, read_only
from api.rest.permissions import both, through, where
from api.rest.resource import Resource, SubList
from api.rest.source import Source
from api.v2.runs import readable
from api.v2.shared import constant
from models.events import EVENTS, JobEvent
from models.jobs import JobHostSummary
from models.settings import setting_text
from models.unified import UnifiedJob


def _shown_of_output() -> ColumnElement[int]:
    return cast(setting_text("EVENT_STDOUT_MAX_BYTES_DISPLAY"), types.Integer())


def _display(row: Source) -> ColumnElement[str]:
    return case({name: text for name, (_, text, _) in EVENTS.items()}, value=row.col("event"), else_=row.col("event"))


def _level(row: Source) -> ColumnElement[int]:
    return case({name: level for name, (level, _, _) in EVENTS.items()}, value=row.col("event"), else_=0)


def _event_fields(run: str, target: str) -> tuple[Field, ...]:
    return (
        DateTime("modified", read_only=True, expression=lambda row: row.col("created")),
        ForeignKey(run, target=target, column="job_id", read_only=True),
        *read_only(String, "event"),
        Integer("counter", read_only=True),
        Computed("event_display", kind="string", expression=_display),
        Json("event_data", read_only=True, filterable=False),
        Computed("event_level", kind="integer", expression=_level),
        *read_only(Boolean, "failed", "changed"),
        *read_only(String, "uuid", "parent_uuid"),
        ForeignKey("host", target="hosts", read_only=True),
        *read_only(String, "host_name", "playbook", "play", "task", "role"),
        String("stdout", read_only=True, list_limit=_shown_of_output),
        *read_only(Integer, "start_line", "end_line", "verbosity"),
    )


def events_of_run(path: str, target: str) -> SubList:
    """The events of a run. Its day is asked for too: that leads to the one partition that holds them."""

    def condition(row: Source, run_id: int) -> ColumnElement[bool]:
        created = select(UnifiedJob.created).where(UnifiedJob.id == run_id).scalar_subquery()
        return and_(row.col("job_id") == run_id, row.col("job_created") == created)

    return SubList(path, target, where=condition, order=("counter",))


def _children(row: Source, event_id: int) -> ColumnElement[bool]:
    parent = Source(JobEvent)
    found = select(parent.col("job_id"), parent.col("job_created"), parent.col("uuid")).where(parent.id == event_id)
    mine = func.row(row.col("job_id"), row.col("job_created"), row.col("parent_uuid"))
    return mine.in_(found.select_from(parent.table()))


def _events(name: str, event_type: str, run: str, target: str) -> Resource:
    """All events are in one table: these are those of runs of type `run`."""
    return Resource(
        name,
        event_type,
        JobEvent,
        _event_fields(run, target),
        listed=False,
        read=through("job_id", UnifiedJob, both(readable, where(lambda row: row.col("type") == run))),
        summary=("id",),
        sublists=(SubList("children", name, where=_children, order=("counter",)),),
        search=("stdout", "host_name", "task", "play"),
        order=("counter",),
    )


job_events = _events("job_events", "job_event", "job", "jobs")
project_update_events = _events("project_update_events", "project_update_event", "project_update", "project_updates")

job_host_summaries = Resource(
    "job_host_summaries",
    "job_host_summary",
    JobHostSummary,
    (
        ForeignKey("job", target="jobs", read_only=True),
        ForeignKey("host", target="hosts", read_only=True),
        constant("constructed_host", None, "id"),
        String("host_name", read_only=True),
        *read_only(Integer, "changed", "dark", "failures", "ok", "processed", "skipped"),
        Boolean("failed", read_only=True),
        *read_only(Integer, "ignored", "rescued"),
    ),
    listed=False,
    read=through("job_id", UnifiedJob, readable),
    summary=("id", "failed"),
    search=("host_name",),
    order=("host_name",),
)
