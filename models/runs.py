"""The states of a run and the only ways between them: each a compare-and-set, so that a late or repeated activity
cannot move a run that has ended. Nothing here commits."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, NotAllowed
from models import dispatch
from models.base import now
from models.events import JobEvent, mark_parents
from models.gates import GATES, gates_for
from models.instances import Instance, InstanceGroup, instance_group_instances, live
from models.inventories import Host
from models.jobs import Job, JobHostSummary
from models.organizations import Organization
from models.project_updates import depend_on_update
from models.projects import Project
from models.unified import (
    ACTIVE,
    FINISHED,
    JobStatus,
    UnifiedJob,
    UnifiedJobTemplate,
    show_on_template,
    unified_job_dependencies,
)
from models.users import User

NEVER_RUN = "never updated"  # what a template without runs shows as its status
MAX_HOST_NAME = 1024
# That an inventory could not be read is the error, why it could not is a warning before it.
ANSIBLE_ERROR = r"(?:\[ERROR\]:|ERROR!|Failed to parse inventory with 'script' plugin:) ([^\x1b\r\n]+)"
HOSTS_NAMED = 5  # in an explanation
STATISTICS = ("changed", "dark", "failures", "ok", "processed", "skipped", "ignored", "rescued")


def take(session: Session, run: UnifiedJob, work_unit_id: str) -> None:
    """The workflow takes the row: from here on it has its place in the queue, and knows what it depends on."""
    if run.work_unit_id:
        return
    run.work_unit_id = work_unit_id
    session.flush()
    if isinstance(run, Job):
        depend_on_update(session, run)
        session.flush()


def dependencies(session: Session, run_id: int) -> list[UnifiedJob]:
    pairs = unified_job_dependencies.c
    return list(
        session.scalars(
            select(UnifiedJob)
            .join(unified_job_dependencies, pairs.depends_on_id == UnifiedJob.id)
            .where(pairs.unified_job_id == run_id)
            .order_by(UnifiedJob.id)
        )
    )


def end_for_dependency(session: Session, run_id: int, update_run: UnifiedJob) -> None:
    """What a run depends on has failed or was canceled: so is the run, in AWX's words, which clients parse."""
    canceled = update_run.status == JobStatus.CANCELED
    status, verb = (JobStatus.CANCELED, "Canceled") if canceled else (JobStatus.FAILED, "Failed")
    task = {"job_type": update_run.type, "job_name": update_run.name, "job_id": str(update_run.id)}
    end(session, run_id, status, f"Previous Task {verb}: {json.dumps(task, ensure_ascii=False)}")


def claim(session: Session, run_id: int, hostname: str) -> str:
    """Give a granted run to a host: to `hostname` if it has room, else to the live host of the run's group with most
    room. Returns the host it belongs to, also if somebody was first; "" if the run is over."""
    dispatch.lock(session)  # two claims must not both find the same room
    run = session.get(UnifiedJob, run_id, with_for_update=True, populate_existing=True)
    if run is None or run.status in FINISHED:
        return ""
    if run.execution_node:
        return run.execution_node
    rooms = _rooms(session, run.instance_group_id)
    mine = rooms.get(hostname)
    if mine is not None and mine >= run.task_impact:
        chosen = hostname
    else:
        chosen = max(rooms, key=lambda name: (rooms[name], name == hostname), default=hostname)
    run.execution_node = chosen
    session.flush()
    return chosen


def _rooms(session: Session, group_id: int | None) -> dict[str, int]:
    """Free forks per live host of the group."""
    members = instance_group_instances.c
    used = (
        select(func.coalesce(func.sum(UnifiedJob.task_impact), 0))
        .where(
            UnifiedJob.execution_node == Instance.hostname,
            UnifiedJob.finished.is_(None),
            UnifiedJob.type != "project_update",
        )
        .scalar_subquery()
    )
    rows = session.execute(
        select(Instance.hostname, Instance.capacity - used)
        .join(instance_group_instances, members.instance_id == Instance.id)
        .where(
            members.instance_group_id == group_id,
            live(),
        )
    )
    return {hostname: int(free) for hostname, free in rows}


def begin(session: Session, run_id: int, node: str) -> bool:
    """pending or waiting -> running, on `node`. False if it runs already, belongs to another host or is over."""
    template = session.scalar(
        update(UnifiedJob)
        .where(
            UnifiedJob.id == run_id,
            UnifiedJob.status.in_((JobStatus.PENDING, JobStatus.WAITING)),
            UnifiedJob.execution_node.in_(("", node)),
        )
        .values(
            status=JobStatus.RUNNING,
            started=now(),
            execution_node=node,
            controller_node=node,
            waiting_on=[],
            job_explanation="",
        )
        .returning(func.coalesce(UnifiedJob.unified_job_template_id, 0))
        .execution_options(synchronize_session=False)
    )
    if template is None:
        return False
    show_on_template(session, template, status=JobStatus.RUNNING, current_job_id=run_id)
    return True


def move(session: Session, run_id: int, node: str) -> None:
    """What runs goes on, on another host."""
    session.execute(
        update(UnifiedJob)
        .where(UnifiedJob.id == run_id, UnifiedJob.status == JobStatus.RUNNING)
        .values(execution_node=node, controller_node=node)
        .execution_options(synchronize_session=False)
    )


def release_claim(session: Session, run_id: int) -> bool:
    """Take a run back from a host that never began it. False if it did begin, or is over."""
    return (
        session.scalar(
            update(UnifiedJob)
            .where(UnifiedJob.id == run_id, UnifiedJob.status.in_((JobStatus.PENDING, JobStatus.WAITING)))
            .values(execution_node="")
            .returning(UnifiedJob.id)
            .execution_options(synchronize_session=False)
        )
        is not None
    )


def release_turn(session: Session, run_id: int) -> None:
    """Take back what was granted to a run that has not begun, also from a host that took it and could not say so: only
    the answer would have let the run begin there."""
    session.execute(
        update(UnifiedJob)
        .where(
            UnifiedJob.id == run_id,
            UnifiedJob.status.in_((JobStatus.PENDING, JobStatus.WAITING)),
        )
        .values(granted_at=None, instance_group_id=None, execution_node="")
        .execution_options(synchronize_session=False)
    )


def record_start(session: Session, run_id: int, *, args: str, cwd: str, env: Mapping[str, str]) -> None:
    """What was executed, as shown to users: the caller has masked it."""
    session.execute(
        update(UnifiedJob)
        .where(UnifiedJob.id == run_id)
        .values(job_args=args, job_cwd=cwd[:1024], job_env=dict(env))
        .execution_options(synchronize_session=False)
    )


def end(session: Session, run_id: int, status: str, explanation: str = "", traceback: str = "") -> str:
    """Move a run to its final state, once, with host summaries and what its template shows of it. Returns the state it
    is in afterwards, which is another one if it had ended before; "" if the row is gone."""
    run = session.get(UnifiedJob, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        return ""
    if run.status not in ACTIVE:
        return run.status
    if run.cancel_flag and status == JobStatus.ERROR:
        status = JobStatus.CANCELED  # somebody asked for the end; how exactly it came does not matter any more
    moment = now()
    run.status = status
    run.failed = status != JobStatus.SUCCESSFUL
    run.finished = moment
    run.elapsed = round((moment - run.started).total_seconds(), 3) if run.started else 0  # type: ignore[assignment]
    run.job_explanation = explanation
    run.result_traceback = traceback
    run.waiting_on = []
    run.start_args = ""
    run.event_processing_finished = True
    if status == JobStatus.CANCELED:
        run.canceled_on = run.canceled_on or moment
    if isinstance(run, Job):
        summarize(session, run)
        if status == JobStatus.FAILED and not explanation:
            run.job_explanation = _why_it_failed(session, run)
    _tell_template(session, run, moment)
    session.flush()
    return run.status


def discard(session: Session, run_id: int) -> None:
    """Remove a run that was not let in, as if it had never been launched."""
    run = session.get(UnifiedJob, run_id, with_for_update=True, populate_existing=True)
    if run is None or run.status in FINISHED:
        return
    template_id = run.unified_job_template_id
    session.delete(run)
    session.flush()
    template = _locked_template(session, template_id)
    if template is None or template.current_job_id not in (run_id, None):
        return
    last = session.get(UnifiedJob, template.last_job_id) if template.last_job_id else None
    show_on_template(session, template_id, status=last.status if last else NEVER_RUN, current_job_id=None)


def summarize(session: Session, job: Job) -> None:
    """Host summaries, artifacts and counts, out of the statistics that ansible prints at the end of a playbook. Done
    once; `end` does it if nobody has. It may take seconds, so it is done before the queue for deciding is entered."""
    if job.playbook_counts is not None:
        return
    mark_parents(session, job.id, job.created)
    stats: Mapping[str, Any] | None = session.scalar(_statistics(job))
    counts = dict(
        session.execute(
            select(JobEvent.event, func.count())
            .where(
                JobEvent.job_id == job.id,
                JobEvent.job_created == job.created,
                JobEvent.event.in_(("playbook_on_play_start", "playbook_on_task_start")),
            )
            .group_by(JobEvent.event)
        ).all()
    )
    job.playbook_counts = {
        "play_count": counts.get("playbook_on_play_start", 0),
        "task_count": counts.get("playbook_on_task_start", 0),
    }
    if stats is None:
        return
    artifacts = stats.get("artifact_data")
    job.artifacts = artifacts if isinstance(artifacts, dict) else {}
    counted = {key: _counts(stats.get(key)) for key in STATISTICS}
    names = sorted({name for numbers in counted.values() for name in numbers})
    # Locked in one order: jobs on the same hosts end at the same time, and each goes on to write to all of them.
    known = dict(
        session.execute(
            select(Host.name, Host.id)
            .where(Host.inventory_id == job.inventory_id, Host.name.in_(names))
            .order_by(Host.id)
            .with_for_update(key_share=True)
        ).all()
    )
    rows = []
    for name in names:
        values = {key: counted[key].get(name, 0) for key in STATISTICS}
        failed = values["failures"] > 0 or values["dark"] > 0
        rows.append({"job_id": job.id, "host_id": known.get(name), "host_name": name, **values, "failed": failed})
    if not rows:
        return
    session.execute(insert(JobHostSummary), rows)
    session.execute(
        update(Host)
        .where(Host.id == JobHostSummary.host_id, JobHostSummary.job_id == job.id)
        .values(last_job_id=job.id, last_job_host_summary_id=JobHostSummary.id, modified=Host.modified)
        .execution_options(synchronize_session=False)
    )
    job.host_status_counts = _host_status_counts(rows)


def _statistics(job: Job) -> Select[Any]:
    return select(JobEvent.event_data).where(
        JobEvent.job_id == job.id, JobEvent.job_created == job.created, JobEvent.event == "playbook_on_stats"
    )


def _why_it_failed(session: Session, job: Job) -> str:
    """The hosts that failed and those that could not be reached; or, if it did not come to playing, what ansible said
    as it gave up: it could not read the playbook or the inventory, found no hosts, and so on."""
    if session.scalar(_statistics(job).limit(1)) is not None:
        summary = JobHostSummary
        told = (("Failed on", summary.failures > 0), ("Could not reach", summary.dark > 0))
        return " ".join(
            sentence for words, wanted in told if (sentence := _hosts_sentence(session, job, words, wanted))
        )
    said = session.scalar(
        select(JobEvent.stdout)
        .where(
            JobEvent.job_id == job.id, JobEvent.job_created == job.created, JobEvent.stdout.regexp_match(ANSIBLE_ERROR)
        )
        .order_by(JobEvent.counter)
        .limit(1)
    )
    found = re.search(ANSIBLE_ERROR, said or "")
    reason = found[1].strip() if found else "its output says why."
    return f"Ansible ended before it had played the playbook: {reason}"


def _hosts_sentence(session: Session, job: Job, words: str, wanted: ColumnElement[bool]) -> str:
    """ "Failed on web1, web2 and 7 more." or "" if there are none."""
    of_job = (JobHostSummary.job_id == job.id, wanted)
    total = session.scalar(select(func.count()).select_from(JobHostSummary).where(*of_job)) or 0
    if not total:
        return ""
    names = select(JobHostSummary.host_name).where(*of_job).order_by(JobHostSummary.host_name).limit(HOSTS_NAMED)
    shown = ", ".join(session.scalars(names))
    return f"{words} {shown} and {total - HOSTS_NAMED} more." if total > HOSTS_NAMED else f"{words} {shown}."


def _counts(numbers: Any) -> dict[str, int]:
    """Host name -> number. A playbook can print what looks like statistics: what does not fit a summary is left out,
    because a run has to end whatever it printed."""
    return {
        name: number
        for name, number in (numbers.items() if isinstance(numbers, dict) else ())
        if isinstance(number, int) and 0 <= number < 2**31 and len(name) <= MAX_HOST_NAME
    }


def _host_status_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many hosts ended how; a host counts once, by the worst that happened to it."""
    worst = ("dark", "failures", "rescued", "ignored", "changed", "ok", "skipped")
    counts: dict[str, int] = {}
    for row in rows:
        status = next((key for key in worst if row[key]), None)
        if status:
            counts[status] = counts.get(status, 0) + 1
    return counts


def _locked_template(session: Session, template_id: int | None) -> UnifiedJobTemplate | None:
    if template_id is None:
        return None
    # Not against references to it: a launch, or the end of another of its runs, need not wait.
    return session.get(UnifiedJobTemplate, template_id, with_for_update={"key_share": True}, populate_existing=True)


def _tell_template(session: Session, run: UnifiedJob, moment: datetime) -> None:
    template = _locked_template(session, run.unified_job_template_id)
    if template is None:
        return
    shown: dict[str, Any] = {"last_job_id": run.id, "last_job_run": moment, "last_job_failed": run.failed}
    if template.current_job_id in (run.id, None):
        shown |= {"current_job_id": None, "status": run.status}
    show_on_template(session, template.id, **shown)
    if isinstance(template, Project):
        template.last_update_failed = run.failed
        if not run.failed:
            template.last_updated = moment


def group_name(session: Session, group_id: int | None) -> str:
    return session.scalar(select(InstanceGroup.name).where(InstanceGroup.id == group_id)) or ""


def start_facts(session: Session, ids: Any) -> list[dict[str, Any]]:
    """For each of these runs what the start of its workflow says about it; `ids` is a list or a select."""
    rows = session.execute(
        select(UnifiedJob.id, UnifiedJob.type, UnifiedJob.name, Organization.name, User.username)
        .outerjoin(Organization, Organization.id == UnifiedJob.organization_id)
        .outerjoin(User, User.id == UnifiedJob.created_by_id)
        .where(UnifiedJob.id.in_(ids))
        .order_by(UnifiedJob.id)
    ).all()
    return [
        {
            "kind": kind,
            "run_id": run_id,
            "name": name,
            "organization": organization or "",
            "username": username or "",
            "gated": kind == "job" and bool(GATES) and bool(gates_for(session, session.get_one(Job, run_id))),
        }
        for run_id, kind, name, organization, username in rows
    ]


def request_cancel(session: Session, run: UnifiedJob) -> None:
    """Remember that somebody wants it ended; the caller commits and cancels the workflow. A lost cancel is repeated
    by the sweep. Raises NotAllowed when it has ended."""
    asked = session.scalar(
        update(UnifiedJob)
        .where(UnifiedJob.id == run.id, UnifiedJob.status.in_(ACTIVE))
        .values(cancel_flag=True, canceled_on=func.coalesce(UnifiedJob.canceled_on, func.clock_timestamp()))
        .returning(UnifiedJob.id)
    )
    if asked is None:
        raise NotAllowed("The job has already finished.")


def refuse_while_active(run: UnifiedJob) -> None:
    """A run that has not ended must not be deleted."""
    if run.status not in FINISHED:
        raise Conflict("Cannot delete running job resource.")
