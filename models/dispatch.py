"""Who may start now: locks between runs and the capacity of instance groups, first come first served.

`plan` is the rule, a pure function. `grant_waiting` applies it in one transaction, under one advisory lock, to
everything that waits; it runs whenever something could have changed - a run begins or ends - so nobody polls. What
a grant holds is given back by the run's end (`unified_jobs.finished`), whatever happened in between.

Project updates hold no capacity: a job that waits for one must not be kept from it by jobs that wait behind it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, literal, select, union_all, update
from sqlalchemy.orm import Session

from models.instances import Instance, InstanceGroup, instance_group_instances, live
from models.inventories import Inventory, inventory_instance_groups
from models.job_templates import JobTemplate
from models.jobs import Job
from models.organizations import organization_instance_groups
from models.projects import ProjectUpdate
from models.unified import (
    ACTIVE,
    FINISHED,
    JobStatus,
    UnifiedJob,
    unified_job_dependencies,
    unified_job_instance_groups,
    unified_job_template_instance_groups,
)

DISPATCH_LOCK = 0x64697370  # "disp"
# A row that was committed a moment ago keeps its place in the queue until its workflow asks; after that it has not
# been started (the sweep will see to it) and must not hold up the others.
KEEP_PLACE = timedelta(seconds=5)
DEFAULT_GROUP = "default"


@dataclass(frozen=True)
class Candidate:
    """A run that has not ended. `groups` are the ids it may run in, best first; () for a run that needs no capacity."""

    id: int
    kind: str
    template_id: int | None = None
    project_id: int | None = None
    allow_simultaneous: bool = False
    impact: int = 1
    groups: tuple[int, ...] = ()
    granted_group: int | None = None
    granted: bool = False
    begun: bool = True  # its workflow has asked; else it only keeps its place
    waits_for: tuple[int, ...] = ()  # unfinished updates it depends on
    doomed: bool = False  # one of them failed: its turn is to be told so, which takes no room


@dataclass(frozen=True)
class Group:
    """`capacity` in forks over the live, enabled instances; 0 in the two limits means no limit."""

    id: int
    name: str
    capacity: int
    max_concurrent_jobs: int = 0
    max_forks: int = 0


@dataclass
class Plan:
    granted: dict[int, int | None] = field(default_factory=dict)  # run id -> group id (None: needs no group)
    waiting: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # run id -> reasons


@dataclass
class _Room:
    group: Group
    forks: int = 0
    jobs: int = 0
    closed: bool = False  # somebody who came earlier waits for it

    def refusal(self, impact: int) -> dict[str, Any]:
        """Why a run of so many forks has to wait; {} when it fits."""
        most_jobs, most_forks = self.group.max_concurrent_jobs, self.group.max_forks
        forks = min(self.group.capacity, most_forks or self.group.capacity)
        if self.group.capacity <= 0:
            return {"type": "instance"}
        if self.closed:
            return {"type": "queue"}
        if self.jobs == 0:  # a run larger than the whole group runs alone in it, rather than never
            return {}
        if most_jobs and self.jobs >= most_jobs:
            return {"type": "concurrency", "limit": most_jobs}
        if self.forks + impact > forks:
            return {"type": "capacity", "capacity": forks, "used": self.forks, "needed": impact}
        return {}

    def take(self, impact: int) -> None:
        self.forks += impact
        self.jobs += 1


def plan(candidates: Sequence[Candidate], groups: Iterable[Group]) -> Plan:
    """Decide for all that wait, in the order in which they came (`candidates` ascending by id)."""
    rooms = {group.id: _Room(group) for group in groups}
    template_holders: dict[int, int] = {}  # template -> the run that later ones of it wait for
    project_holders: dict[int, int] = {}  # project -> the update that later updates of it wait for
    updates: dict[int, list[int]] = defaultdict(list)  # project -> its updates that have not ended
    result = Plan()

    def hold(run: Candidate) -> None:
        if run.kind == "project_update":
            if run.project_id is not None:
                project_holders.setdefault(run.project_id, run.id)
                updates[run.project_id].append(run.id)
        elif run.template_id is not None:
            template_holders.setdefault(run.template_id, run.id)

    for run in candidates:
        if run.granted:
            hold(run)
            if run.granted_group in rooms:
                rooms[run.granted_group].take(run.impact)

    for run in candidates:
        if run.kind != "project_update" or run.granted:
            continue
        holder = None if run.project_id is None else project_holders.get(run.project_id)
        hold(run)
        if run.begun and holder is None:
            result.granted[run.id] = None
        elif run.begun:
            result.waiting[run.id] = [_on("project_update", holder)]

    for run in candidates:
        if run.granted or run.kind == "project_update":
            continue
        if run.doomed:
            result.granted[run.id] = None
            continue
        # What a job runs from is settled before it starts: by its own dependencies, and by the updates that came
        # before it. Those that came later do not hold it up, else frequent updates could do so for ever.
        earlier = (update_id for update_id in updates[run.project_id or 0] if update_id < run.id)
        reasons = [_on("project_update", update_id) for update_id in sorted({*run.waits_for, *earlier})]
        if not run.allow_simultaneous and run.template_id in template_holders:
            reasons.append(_on("job", template_holders[run.template_id]))
        if not reasons:
            room = next((rooms[g] for g in run.groups if g in rooms and not rooms[g].refusal(run.impact)), None)
            if room is not None:
                room.take(run.impact)
                if run.begun:
                    result.granted[run.id] = room.group.id
            else:
                reasons = _no_room(run, rooms)
        hold(run)
        if reasons and run.begun:
            result.waiting[run.id] = reasons
    return result


def _on(kind: str, run_id: int | None) -> dict[str, Any]:
    return {"type": kind, "id": run_id}


def _no_room(run: Candidate, rooms: Mapping[int, _Room]) -> list[dict[str, Any]]:
    wanted = [rooms[g] for g in run.groups if g in rooms]
    reasons = [{"instance_group": room.group.name} | room.refusal(run.impact) for room in wanted]
    for room in wanted:
        room.closed = True
    return reasons or [{"type": "instance_group"}]


def explain(reasons: Sequence[Mapping[str, Any]]) -> str:
    """The `job_explanation` of a waiting run."""
    sentences = []
    for reason in reasons:
        match reason["type"]:
            case "job":
                sentences.append(f"Waiting for job {reason['id']} of the same template to finish.")
            case "project_update":
                sentences.append(f"Waiting for project update {reason['id']} to finish.")
            case "capacity":
                sentences.append(
                    f"Waiting for capacity in instance group {reason['instance_group']}: "
                    f"{reason['used']} of {reason['capacity']} forks in use, {reason['needed']} needed."
                )
            case "concurrency":
                sentences.append(
                    f"Waiting for instance group {reason['instance_group']}: it runs the {reason['limit']} jobs that "
                    "it may run at once."
                )
            case "queue":
                sentences.append(f"Waiting in instance group {reason['instance_group']} behind jobs that came earlier.")
            case "instance":
                sentences.append(f"Waiting for a live instance in instance group {reason['instance_group']}.")
            case "start" if "instance_group" in reason:
                sentences.append(f"Waiting for an instance of instance group {reason['instance_group']} to start it.")
            case "start":
                sentences.append("Waiting for an instance to start it.")
            case _:
                sentences.append("Waiting for an instance group: none that this job may use exists.")
    return " ".join(sentences)


def lock(session: Session) -> None:
    """Queue up for deciding, until the end of the transaction. To be taken before any row of `unified_jobs` is locked,
    by every transaction that goes on to decide: one order for all is what keeps them from deadlocks."""
    session.execute(select(func.pg_advisory_xact_lock(DISPATCH_LOCK)))


def grant_waiting(session: Session) -> list[tuple[str, int]]:
    """Grant whoever may start and write what everybody waits for. Returns (kind, id) of the runs granted by this call,
    to be woken after the commit; a wake-up that gets lost is repeated by the sweep (`granted_before`)."""
    lock(session)
    rows = session.execute(_unfinished()).all()
    if all(row.granted_at is not None for row in rows):
        return []
    groups = {group.id: group for group in live_groups(session)}
    decision = plan(_candidates(session, rows), groups.values())
    by_id = {row.id: row for row in rows}
    for run_id, group_id in decision.granted.items():
        # Its beginning clears this. An instance that has just gone is believed to be alive for a while.
        start = [{"type": "start"} | ({} if group_id is None else {"instance_group": groups[group_id].name})]
        session.execute(
            update(UnifiedJob)
            .where(UnifiedJob.id == run_id)
            .values(
                granted_at=func.clock_timestamp(),
                instance_group_id=group_id,
                waiting_on=start,
                job_explanation=explain(start),
            )
        )
    for run_id, reasons in decision.waiting.items():
        if by_id[run_id].waiting_on != reasons or by_id[run_id].status != JobStatus.WAITING:
            session.execute(
                update(UnifiedJob)
                .where(UnifiedJob.id == run_id, UnifiedJob.status.in_((JobStatus.PENDING, JobStatus.WAITING)))
                .values(status=JobStatus.WAITING, waiting_on=reasons, job_explanation=explain(reasons))
            )
    return [(row.type, row.id) for row in rows if row.id in decision.granted]


def granted_before(session: Session, age: timedelta) -> list[tuple[str, int]]:
    """(kind, id) of runs that were granted so long ago, or longer, and do not run yet."""
    rows = session.execute(
        select(UnifiedJob.type, UnifiedJob.id)
        .where(
            UnifiedJob.finished.is_(None),
            UnifiedJob.status.in_((JobStatus.PENDING, JobStatus.WAITING)),
            UnifiedJob.granted_at < func.clock_timestamp() - age,
        )
        .order_by(UnifiedJob.id)
    )
    return list(rows)


def _unfinished() -> Select[Any]:
    return (
        select(
            UnifiedJob.id,
            UnifiedJob.type,
            UnifiedJob.status,
            UnifiedJob.work_unit_id,
            (UnifiedJob.created > func.clock_timestamp() - KEEP_PLACE).label("keeps_place"),
            UnifiedJob.granted_at,
            UnifiedJob.instance_group_id,
            UnifiedJob.task_impact,
            UnifiedJob.organization_id,
            UnifiedJob.waiting_on,
            func.coalesce(Job.project_id, ProjectUpdate.project_id).label("project_id"),
            Job.inventory_id,
            Job.job_template_id,
            func.coalesce(Job.allow_simultaneous, False).label("allow_simultaneous"),
        )
        .select_from(UnifiedJob.__table__)
        .outerjoin(Job.__table__, Job.__table__.c.id == UnifiedJob.__table__.c.id)
        .outerjoin(ProjectUpdate.__table__, ProjectUpdate.__table__.c.id == UnifiedJob.__table__.c.id)
        .where(UnifiedJob.__table__.c.finished.is_(None), UnifiedJob.__table__.c.status.in_(ACTIVE))
        .order_by(UnifiedJob.__table__.c.id)
    )


def _candidates(session: Session, rows: Sequence[Any]) -> list[Candidate]:
    waiting = [row.id for row in rows if row.granted_at is None and row.type == "job"]
    preferred = preferred_groups(session, waiting)
    dependencies: dict[int, list[int]] = defaultdict(list)
    doomed: set[int] = set()
    pairs = unified_job_dependencies.c
    for job_id, update_id, status in session.execute(
        select(pairs.unified_job_id, pairs.depends_on_id, UnifiedJob.status)
        .join(UnifiedJob, UnifiedJob.id == pairs.depends_on_id)
        .where(pairs.unified_job_id.in_(waiting), UnifiedJob.status != JobStatus.SUCCESSFUL)
        .order_by(pairs.depends_on_id)
    ):
        if status in FINISHED:
            doomed.add(job_id)
        else:
            dependencies[job_id].append(update_id)
    return [
        Candidate(
            id=row.id,
            kind=row.type,
            template_id=row.job_template_id,
            project_id=row.project_id,
            allow_simultaneous=row.allow_simultaneous,
            impact=row.task_impact,
            groups=preferred.get(row.id, ()),
            granted=row.granted_at is not None,
            granted_group=row.instance_group_id,
            begun=bool(row.work_unit_id),
            waits_for=tuple(dependencies[row.id]),
            doomed=row.id in doomed,
        )
        for row in rows
        if row.work_unit_id or row.granted_at is not None or row.keeps_place
    ]


def preferred_groups(session: Session, job_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Group ids per job, best first: those asked for at launch or else the template's, then the inventory's, the
    organization's and the default group, unless the template or the inventory prevents falling back."""
    if not job_ids:
        return {}
    asked, template = unified_job_instance_groups.c, unified_job_template_instance_groups.c
    inventory, organization = inventory_instance_groups.c, organization_instance_groups.c
    sources = union_all(
        select(asked.unified_job_id, literal(0).label("rank"), asked.position, asked.instance_group_id).where(
            asked.unified_job_id.in_(job_ids)
        ),
        select(Job.id, literal(1), template.position, template.instance_group_id)
        .join(unified_job_template_instance_groups, template.unified_job_template_id == Job.job_template_id)
        .where(Job.id.in_(job_ids)),
        select(Job.id, literal(2), inventory.position, inventory.instance_group_id)
        .join(inventory_instance_groups, inventory.inventory_id == Job.inventory_id)
        .where(Job.id.in_(job_ids)),
        select(Job.id, literal(3), organization.position, organization.instance_group_id)
        .join(organization_instance_groups, organization.organization_id == Job.organization_id)
        .where(Job.id.in_(job_ids)),
        select(Job.id, literal(4), literal(0), InstanceGroup.id)
        .join(InstanceGroup, InstanceGroup.name == DEFAULT_GROUP)
        .where(Job.id.in_(job_ids)),
    ).subquery()
    stops: dict[int, tuple[bool, bool]] = {
        row.id: (row.template_stops, row.inventory_stops)
        for row in session.execute(
            select(
                Job.id,
                func.coalesce(JobTemplate.prevent_instance_group_fallback, False).label("template_stops"),
                func.coalesce(Inventory.prevent_instance_group_fallback, False).label("inventory_stops"),
            )
            .outerjoin(JobTemplate, JobTemplate.id == Job.job_template_id)
            .outerjoin(Inventory, Inventory.id == Job.inventory_id)
            .where(Job.id.in_(job_ids))
        )
    }
    by_rank: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for job_id, rank, _, group_id in session.execute(select(sources).order_by(*sources.c)):
        by_rank[job_id][rank].append(group_id)
    return {job_id: _chain(by_rank[job_id], *stops.get(job_id, (False, False))) for job_id in job_ids}


def _chain(by_rank: Mapping[int, Sequence[int]], template_stops: bool, inventory_stops: bool) -> tuple[int, ...]:
    own = by_rank.get(0) or by_rank.get(1) or ()
    chain = list(own)
    if own and template_stops:
        return tuple(chain)
    chain += by_rank.get(2, ())
    if by_rank.get(2) and inventory_stops:
        return tuple(dict.fromkeys(chain))
    return tuple(dict.fromkeys([*chain, *by_rank.get(3, ()), *by_rank.get(4, ())]))


def live_groups(session: Session) -> list[Group]:
    """Every group with the capacity of its live instances."""
    members = instance_group_instances.c
    rows = session.execute(
        select(
            InstanceGroup.id,
            InstanceGroup.name,
            InstanceGroup.max_concurrent_jobs,
            InstanceGroup.max_forks,
            func.coalesce(func.sum(Instance.capacity).filter(live()), 0),
        )
        .outerjoin(instance_group_instances, members.instance_group_id == InstanceGroup.id)
        .outerjoin(Instance, Instance.id == members.instance_id)
        .group_by(InstanceGroup.id)
    )
    return [Group(id_, name, int(capacity), jobs, forks) for id_, name, jobs, forks, capacity in rows]
