"""Instances (running worker hosts) and the groups that jobs are sent to."""

from typing import Any

from sqlalchemy import ColumnElement, Double, Text, case, cast, func, literal_column, select
from sqlalchemy import types as sqltypes

from api.call import Call
from api.rest.fields import (
    Boolean,
    Choice,
    Computed,
    DateTime,
    ForeignKey,
    Integer,
    Json,
    Number,
    String,
    choices,
    read_only,
)
from api.rest.permissions import either, role, superuser, superuser_or_auditor
from api.rest.resource import Attached, Children, Resource, SubList
from api.rest.source import Source
from api.rest.sqljson import iso
from api.rest.writer import Change
from api.v2.runs import refuse_while_running
from api.v2.shared import constant, refuse_unsupported
from core.errors import Forbidden
from models.access import Actor
from models.instances import (
    Instance,
    InstanceGroup,
    adjusted,
    capacity_now,
    in_touch,
    instance_group_instances,
    live,
)
from models.unified import UnifiedJob

NODE_TYPES = choices(
    ("control", "Control plane node"), ("execution", "Execution plane node"), ("hybrid", "Controller and execution"),
    ("hop", "Message passing node, no execution capability"),
)  # fmt: skip
NODE_STATES = choices(
    ("provisioning", "Provisioning"), ("provision-fail", "Provisioning Failure"), ("installed", "Installed"),
    ("ready", "Ready"), ("unavailable", "Unavailable"), ("deprovisioning", "De-provisioning"),
    ("deprovision-fail", "De-provisioning Failure"),
)  # fmt: skip
PROTECTED = ("default", "controlplane")  # groups that every installation has

group_reader = role("instance_group", "read_role", organization=None)
group_admin = role("instance_group", "admin_role", organization=None)


def remaining(used: ColumnElement[Any], capacity: ColumnElement[Any]) -> ColumnElement[float]:
    """Percent; 0 for what has no capacity."""
    share = 100.0 * (capacity - used) / func.nullif(capacity, 0)
    return func.coalesce(func.round(func.greatest(cast(share, sqltypes.Numeric), 0), 2), 0)


# Instances


def _runs_on(row: Source) -> tuple[Any, Any]:
    """The runs on an instance that have not ended, and the condition for them."""
    run = UnifiedJob.__table__.alias()
    return run, (run.c.execution_node == row.col("hostname")) & run.c.finished.is_(None)


def _state(row: Source) -> ColumnElement[str]:
    return case((in_touch(row.col("last_seen")), "ready"), else_="unavailable")


def _capacity(row: Source) -> ColumnElement[int]:
    return capacity_now(row.col("capacity"), row.col("last_seen"))


def _errors(row: Source) -> ColumnElement[str]:
    seen = row.col("last_seen")
    lost = func.concat("No heartbeat of this instance's worker since ", iso(seen), ".")
    return case((in_touch(seen), ""), (seen.is_(None), "This instance's worker is stopped."), else_=lost)


def _consumed(row: Source) -> Any:
    run, unfinished = _runs_on(row)
    impact = func.coalesce(func.sum(run.c.task_impact), 0)
    return cast(select(impact).where(unfinished, run.c.type != "project_update").scalar_subquery(), sqltypes.Integer)


def _jobs_running(row: Source) -> Any:
    run, unfinished = _runs_on(row)
    return select(func.count()).select_from(run).where(unfinished).scalar_subquery()


def _jobs_total(row: Source) -> Any:
    run = UnifiedJob.__table__.alias()
    return select(func.count()).select_from(run).where(run.c.execution_node == row.col("hostname")).scalar_subquery()


def _in_readable_group(actor: Actor, row: Source) -> ColumnElement[bool]:
    group, pair = Source(InstanceGroup), instance_group_instances.alias()
    readable = select(group.id).where(group_reader(actor, group)).select_from(group.table())
    return row.id.in_(select(pair.c.instance_id).where(pair.c.instance_group_id.in_(readable)))


def _jobs_of_instance(row: Source, instance_id: int) -> ColumnElement[bool]:
    hostname = select(Instance.hostname).where(Instance.id == instance_id).scalar_subquery()
    return row.col("execution_node") == hostname


def _check_policy(change: Change) -> None:
    if not change.get("managed_by_policy"):
        change.fail("managed_by_policy", "Policies of instance groups are not supported by this version.")


def _adjust_capacity(change: Change) -> None:
    """Somewhere between what memory and what processors allow."""
    if "capacity_adjustment" in change.changed:
        instance: Instance = change.object
        instance.capacity = adjusted(instance.cpu_capacity, instance.mem_capacity, instance.capacity_adjustment)


instances = Resource(
    "instances",
    "instance",
    Instance,
    (
        String("hostname", read_only=True),
        String("uuid", read_only=True),
        *read_only(DateTime, "last_seen", "health_check_started"),
        constant("health_check_pending", False, "field"),
        DateTime("last_health_check", read_only=True),
        String("errors", read_only=True, expression=_errors),
        String("version", read_only=True),
        Number(
            "capacity_adjustment",
            default=1.0,
            min_value=0,
            max_value=1,
            help_text="0 takes the smaller of what memory and processors allow, 1 the larger.",
        ),
        Integer("capacity", read_only=True, expression=_capacity),
        Computed("consumed_capacity", expression=_consumed),
        Computed(
            "percent_capacity_remaining",
            expression=lambda row: cast(remaining(_consumed(row), _capacity(row)), Double),
        ),
        Computed("jobs_running", kind="integer", expression=_jobs_running),
        Computed("jobs_total", kind="integer", expression=_jobs_total),
        Number("cpu", read_only=True),
        Integer("memory", read_only=True),
        *read_only(Integer, "cpu_capacity", "mem_capacity"),
        Boolean("enabled", default=True, help_text="Does this instance take jobs?"),
        Boolean("managed_by_policy", default=True),
        Choice("node_type", read_only=True, choices=NODE_TYPES),
        Choice("node_state", read_only=True, choices=NODE_STATES, expression=_state),
        String("ip_address", read_only=True),
        constant("managed", False, "boolean"),
        constant("peers", [], "field"),
        constant("reverse_peers", [], "field"),
        constant("listener_port", None, "integer"),
        constant("peers_from_control_nodes", False, "boolean"),
        constant("protocol", None, "field"),
    ),
    description="Instances are the hosts whose workers run jobs.",
    read=either(superuser_or_auditor, _in_readable_group),
    change=superuser,
    capabilities={"edit": superuser},
    summary=("id", "hostname"),
    summaries={"links": lambda _row, _actor: literal_column("'[]'", Text)},
    sublists=(
        SubList("jobs", "unified_jobs", where=_jobs_of_instance),
        Attached(
            "instance_groups", "instance_groups", table=instance_group_instances,
            pair=("instance_id", "instance_group_id"), may=superuser,
        ),
    ),
    search=("hostname",),
    order=("hostname",),
    named_url=(("hostname",),),
    validate=_check_policy,
    saved=_adjust_capacity,
)  # fmt: skip


# Groups


def _members(row: Source) -> Any:
    instance, pair = Instance.__table__.alias(), instance_group_instances.alias()
    return instance, pair, pair.c.instance_group_id == row.id


def _group_capacity(row: Source) -> Any:
    """What dispatch has to give."""
    instance, pair, member = _members(row)
    capacity = func.coalesce(func.sum(instance.c.capacity), 0)
    members = pair.join(instance, instance.c.id == pair.c.instance_id)
    found = select(capacity).select_from(members).where(member, live(instance.c)).scalar_subquery()
    return cast(found, sqltypes.Integer)


def _instances(row: Source) -> Any:
    _, pair, member = _members(row)
    return select(func.count()).select_from(pair).where(member).scalar_subquery()


def _granted(row: Source) -> tuple[Any, Any]:
    run = UnifiedJob.__table__.alias()
    holds = (run.c.instance_group_id == row.id) & run.c.finished.is_(None) & run.c.granted_at.is_not(None)
    return run, holds


def _group_consumed(row: Source) -> Any:
    run, holds = _granted(row)
    impact = func.coalesce(func.sum(run.c.task_impact), 0)
    return cast(select(impact).where(holds, run.c.type != "project_update").scalar_subquery(), sqltypes.Integer)


def _group_running(row: Source) -> Any:
    run, holds = _granted(row)
    return select(func.count()).select_from(run).where(holds).scalar_subquery()


def _group_total(row: Source) -> Any:
    run = UnifiedJob.__table__.alias()
    return select(func.count()).select_from(run).where(run.c.instance_group_id == row.id).scalar_subquery()


NOT_YET = dict.fromkeys(
    ("is_container_group", "credential", "pod_spec_override"),
    "Jobs run on instances here: there are no container groups.",
) | dict.fromkeys(
    ("policy_instance_percentage", "policy_instance_minimum", "policy_instance_list"),
    "Instances join the groups that their workers are started for: policies are not supported by this version.",
)


def _validate(change: Change) -> None:
    refuse_unsupported(change, NOT_YET)
    if change.before is not None and change.before.name in PROTECTED and change.changes("name"):
        change.fail("name", f"Cannot rename the {change.before.name} instance group.")


def _remove(call: Call, group: InstanceGroup) -> None:
    if group.name in PROTECTED:
        raise Forbidden(f"The {group.name} instance group cannot be deleted.")
    refuse_while_running(call, UnifiedJob.instance_group_id == group.id)


instance_groups = Resource(
    "instance_groups",
    "instance_group",
    InstanceGroup,
    (
        String("name", required=True, blank=False, max_length=250),
        Computed("capacity", expression=_group_capacity),
        Computed("consumed_capacity", expression=_group_consumed),
        Computed(
            "percent_capacity_remaining",
            expression=lambda row: cast(remaining(_group_consumed(row), _group_capacity(row)), Double),
        ),
        Computed("jobs_running", expression=_group_running),
        Integer("max_concurrent_jobs", default=0, min_value=0, help_text="Jobs at once; 0 means no limit."),
        Integer("max_forks", default=0, min_value=0, help_text="Forks at once; 0 means no limit."),
        Computed("jobs_total", kind="integer", expression=_group_total),
        Computed("instances", expression=_instances, filterable=False),
        Boolean("is_container_group"),
        ForeignKey("credential", target="credentials", use="use_role", nullable=True),
        Integer("policy_instance_percentage", default=0, min_value=0, max_value=100),
        Integer("policy_instance_minimum", default=0, min_value=0),
        Json("policy_instance_list", kind=list, filterable=False),
        String("pod_spec_override", default=""),
    ),
    description="Instance groups are what jobs are sent to.",
    read=group_reader,
    change=group_admin,
    delete=superuser,
    create_in="",
    capabilities={"edit": group_admin, "delete": superuser},
    summary=("id", "name", "is_container_group"),
    sublists=(
        Children("jobs", "unified_jobs", by="instance_group", create=False),
        Attached(
            "instances", "instances", table=instance_group_instances, pair=("instance_group_id", "instance_id"),
            may=superuser,
        ),
    ),
    search=("name",),
    unique=("name",),
    named_url=(("name",),),
    validate=_validate,
    remove=_remove,
)  # fmt: skip
