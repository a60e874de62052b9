"""Inventories, their hosts and nested groups."""

from typing import Any

import orjson
from fastapi import Response
from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, select

from api.call import Call
from api.responses import json_response
from api.rest.fields import Boolean, Choice, Computed, DateTime, Field, ForeignKey, String, Variables
from api.rest.permissions import Permission, no_route_yet, role, through
from api.rest.resource import Action, Attached, Children, Relation, Resource, SubList
from api.rest.source import Source
from api.rest.sqljson import counted, iso, json_list, json_pairs
from api.rest.writer import Change, delete
from api.v2.runs import refuse_while_running
from api.v2.shared import DESCRIPTION, NAME, constant, labels_summary, organization_field
from core.errors import Forbidden, NotFound
from models.access import Actor
from models.base import Base
from models.group_graph import above, below, check_child, check_host, delete_group, groups_of_host
from models.inventories import (
    Group,
    Host,
    Inventory,
    group_children,
    group_hosts,
    inventory_instance_groups,
    inventory_labels,
    require_room,
)
from models.inventory_script import inventory_script
from models.jobs import Job, JobHostSummary
from models.unified import UnifiedJob
from models.variables import parse_variables

NOT_FOR_GROUPS = ("all", "_meta")  # which mean something else in Ansible's JSON of an inventory
VARIABLES = Variables("variables", default="", help_text="Variables in JSON or YAML format.")

admin = role("inventory", "admin_role")
in_readable = through("inventory_id", Inventory, role("inventory", "read_role"))
in_administered = through("inventory_id", Inventory, admin)


# Computed of an inventory


def _hosts(row: Source, failed: bool = False) -> Any:
    host = Host.__table__.alias()
    found = select(func.count()).where(host.c.inventory_id == row.id)
    if failed:
        summary = JobHostSummary.__table__.alias()
        found = found.select_from(host.join(summary, summary.c.id == host.c.last_job_host_summary_id))
        found = found.where(summary.c.failed)
    return found.scalar_subquery()


def _groups(row: Source) -> ColumnElement[int]:
    group = Group.__table__.alias()
    return select(func.count()).where(group.c.inventory_id == row.id).scalar_subquery()


def _any_failed(row: Source) -> ColumnElement[bool]:
    host, summary = Host.__table__.alias(), JobHostSummary.__table__.alias()
    failed = host.join(summary, summary.c.id == host.c.last_job_host_summary_id)
    return exists(select(host.c.id).select_from(failed).where(host.c.inventory_id == row.id, summary.c.failed))


# What an inventory counts. No version yet fills an inventory from a source.
COUNTED: tuple[Field, ...] = (
    Computed("has_active_failures", kind="boolean", expression=_any_failed),
    Computed("total_hosts", kind="integer", expression=_hosts),
    Computed("hosts_with_active_failures", kind="integer", expression=lambda row: _hosts(row, failed=True)),
    Computed("total_groups", kind="integer", expression=_groups),
    constant("has_inventory_sources", False, "boolean"),
    constant("total_inventory_sources", 0, "integer"),
    constant("inventory_sources_with_failures", 0, "integer"),
)


# Actions


def variable_data(model: type[Base], may: Permission) -> Action:
    """The variables alone, as the mapping that they hold. PUT replaces it, PATCH adds to it."""

    def read(call: Call, object_id: int) -> Response:
        return json_response(parse_variables(_load(call, object_id).variables))

    def replace(call: Call, object_id: int) -> Response:
        _load(call, object_id).variables = orjson.dumps(call.data()).decode()
        return read(call, object_id)

    def merge(call: Call, object_id: int) -> Response:
        merged = parse_variables(_load(call, object_id).variables) | call.data()
        _load(call, object_id).variables = orjson.dumps(merged).decode()
        return read(call, object_id)

    def _load(call: Call, object_id: int) -> Any:
        return call.session.get(model, object_id)

    return Action("variable_data", {"GET": read, "PUT": replace, "PATCH": merge}, may=may)


def _script(call: Call, inventory_id: int) -> Response:
    """The inventory as Ansible's dynamic inventories print it; with `host`, the variables of that host."""
    query = dict(call.query)
    asked = {name: query.get(name, "").lower() in ("1", "true") for name in ("hostvars", "towervars", "all")}
    if "host" in query:
        asked["hostvars"] = True
    script = inventory_script(
        call.session,
        inventory_id,
        hostvars=asked["hostvars"],
        towervars=asked["towervars"],
        disabled=asked["all"],
    )
    if "host" not in query:
        return json_response(script)
    variables = script["_meta"]["hostvars"].get(query["host"])
    if variables is None:
        raise NotFound("Not found.")
    return json_response(variables)


def _facts(call: Call, host_id: int) -> Response:
    return json_response(call.session.scalar(select(Host.ansible_facts).where(Host.id == host_id)))


# Checks


def _check_inventory(change: Change) -> None:
    if change.get("host_filter"):
        change.fail("host_filter", "Only smart inventories have a host filter.")


def _stays_in_inventory(change: Change) -> None:
    if change.before is not None and change.changes("inventory"):
        raise Forbidden(f"Unable to change inventory on a {change.resource.title}.")


def _check_host(change: Change) -> None:
    _stays_in_inventory(change)
    _split_port(change)
    if change.changes("name") and not change.errors:
        require_room(change.call.session, change.get("inventory"), change.get("name"))


def _split_port(change: Change) -> None:
    """`name:port` is the name and the variable for Ansible; more colons than one are an IPv6 address."""
    name, colon, port = (change.values.get("name") or "").partition(":")
    if not colon or ":" in port:
        return
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        change.fail("name", f"Invalid port specification: {port}")
    elif not name:
        change.fail("name", "This field may not be blank.")
    else:
        change.values["name"] = name
        variables = parse_variables(change.get("variables")) | {"ansible_port": int(port)}
        change.values["variables"] = orjson.dumps(variables).decode()


def _check_group(change: Change) -> None:
    _stays_in_inventory(change)
    if change.values.get("name") in NOT_FOR_GROUPS:
        change.fail("name", "Invalid group name.")


def _remove_inventory(call: Call, inventory: Inventory) -> Response:
    """Accepted, as AWX puts it; it is gone when the answer arrives."""
    refuse_while_running(call, UnifiedJob.id.in_(select(Job.__table__.c.id).where(Job.inventory_id == inventory.id)))
    delete(call, inventories, inventory)
    return Response(status_code=202)


def _remove_group(call: Call, group: Group) -> Response:
    delete_group(call.session, group.id)
    return Response(status_code=204)


def _attach_child(call: Call, parent: int, child: int) -> None:
    check_child(call.session, parent, child)


def _attach_host(call: Call, group: int, host: int) -> None:
    check_host(call.session, group, host)


def _attach_group(call: Call, host: int, group: int) -> None:
    check_host(call.session, group, host)


# Lists


def _is_root(row: Source, _inventory: int) -> ColumnElement[bool]:
    return row.id.not_in(select(group_children.c.child_id))


def _all_groups(row: Source, host: int) -> ColumnElement[bool]:
    return row.id.in_(above(groups_of_host(host)))


def _hosts_of_group(group: int) -> Select[int]:
    return select(group_hosts.c.host_id).where(group_hosts.c.group_id.in_(below(group)))


def _all_hosts(row: Source, group: int) -> ColumnElement[bool]:
    return row.id.in_(_hosts_of_group(group))


def _on_hosts_of_group(row: Source, group: int) -> ColumnElement[bool]:
    return row.col("host_id").in_(_hosts_of_group(group))


def _potential_children(row: Source, group: int) -> ColumnElement[bool]:
    """Groups of the same inventory that are neither above nor below."""
    inventory = select(Group.inventory_id).where(Group.id == group).scalar_subquery()
    start = select(Group.id.label("id")).where(Group.id == group)
    return and_(row.col("inventory_id") == inventory, row.id.not_in(above(start)), row.id.not_in(below(group)))


def _events_of_host(row: Source, host: int) -> ColumnElement[bool]:
    return row.col("host_id") == host


# Summaries


def _groups_of_host(row: Source, _actor: Actor) -> ColumnElement[Any]:
    pair, group = group_hosts.alias(), Group.__table__.alias()
    shown = json_pairs({"id": group.c.id, "name": group.c.name})
    listed = (
        select(json_list(shown, group.c.name))
        .select_from(pair.join(group, group.c.id == pair.c.group_id))
        .where(pair.c.host_id == row.id)
        .scalar_subquery()
    )
    return counted(listed)


def _recent_jobs(row: Source, _actor: Actor) -> ColumnElement[Any]:
    """The last five jobs that touched the host."""
    summary, job = JobHostSummary.__table__.alias(), UnifiedJob.__table__.alias()
    last = (
        select(job.c.id, job.c.name, job.c.type, job.c.status, job.c.finished)
        .select_from(summary.join(job, job.c.id == summary.c.job_id))
        .where(summary.c.host_id == row.id)
        .order_by(summary.c.id.desc())
        .limit(5)
        .correlate_except(summary, job)
        .subquery()
    )
    shown = json_pairs(
        {
            "id": last.c.id,
            "name": last.c.name,
            "type": last.c.type,
            "status": last.c.status,
            "finished": iso(last.c.finished),
        }
    )
    return cast(select(json_list(shown, last.c.id.desc())).scalar_subquery(), Text)


def _host_failed(row: Source) -> ColumnElement[bool]:
    summary = JobHostSummary.__table__.alias()
    return exists(select(summary.c.id).where(summary.c.id == row.col("last_job_host_summary_id"), summary.c.failed))


# Computed of a group, with all that is below it


def _hosts_below(row: Source, failed: bool = False) -> Any:
    host, summary = Host.__table__.alias(), JobHostSummary.__table__.alias()
    inside = select(group_hosts.c.host_id).where(group_hosts.c.group_id.in_(below(row.id)))
    found = select(func.count()).where(host.c.id.in_(inside))
    if failed:
        found = found.select_from(host.join(summary, summary.c.id == host.c.last_job_host_summary_id))
        found = found.where(summary.c.failed)
    return found.scalar_subquery()


def _groups_below(row: Source) -> Any:
    found = below(row.id).subquery()
    return select(func.count() - 1).select_from(found).scalar_subquery()


ORGANIZATION_NAME = "inventory__organization__name"

inventories = Resource(
    "inventories",
    "inventory",
    Inventory,
    (
        NAME,
        DESCRIPTION,
        organization_field("inventory_admin_role", required=True),
        Choice("kind", choices=(("", "Hosts have a direct link to this inventory."),), default=""),
        String("host_filter", nullable=True, help_text="Which hosts a smart inventory has."),
        VARIABLES,
        *COUNTED,
        Boolean("pending_deletion", read_only=True),
        Boolean("prevent_instance_group_fallback", default=False),
    ),
    description="Inventories say on which hosts a job runs.",
    read=role("inventory", "read_role"),
    change=admin,
    delete=admin,
    create_in="organization",
    capabilities={"edit": admin, "delete": admin, "copy": no_route_yet, "adhoc": no_route_yet},
    summary=("id", "name", "description", *(each.name for each in COUNTED), "organization_id", "kind"),
    summaries={"labels": labels_summary(inventory_labels, "inventory_id")},
    sublists=(
        Children("hosts", "hosts", by="inventory"),
        Children("groups", "groups", by="inventory", promote=True),
        Children("root_groups", "groups", by="inventory", where=_is_root, promote=True),
        Children("job_templates", "job_templates", by="inventory", create=False),
        Attached(
            "instance_groups",
            "instance_groups",
            table=inventory_instance_groups,
            pair=("inventory_id", "instance_group_id"),
            use="use_role",
            ordered=True,
        ),
        Attached(
            "labels",
            "labels",
            table=inventory_labels,
            pair=("inventory_id", "label_id"),
            create=True,
            initial={"organization": "organization_id"},
            reuse=True,
        ),
    ),
    actions=(variable_data(Inventory, admin), Action("script", {"GET": _script})),
    order=("name",),
    unique=("name", "organization"),
    named_url=(("name",), ("organization__name",)),
    validate=_check_inventory,
    remove=_remove_inventory,
)

hosts = Resource(
    "hosts",
    "host",
    Host,
    (
        NAME,
        DESCRIPTION,
        ForeignKey("inventory", target="inventories", use="admin_role", required=True),
        Boolean("enabled", default=True, help_text="Is this host online and available for running jobs?"),
        String("instance_id", max_length=1024, default="", help_text="How a remote source identifies the host."),
        VARIABLES,
        Computed("has_active_failures", expression=_host_failed),
        constant("has_inventory_sources", False, "field"),
        ForeignKey("last_job", target="jobs", read_only=True),
        ForeignKey("last_job_host_summary", target="job_host_summaries", read_only=True),
        DateTime("ansible_facts_modified", read_only=True),
    ),
    description="Hosts are what playbooks run on.",
    read=in_readable,
    change=in_administered,
    delete=in_administered,
    create_in="inventory",
    capabilities={"edit": in_administered, "delete": in_administered},
    summaries={"groups": _groups_of_host, "recent_jobs": _recent_jobs},
    sublists=(
        Attached(
            "groups", "groups", table=group_hosts, pair=("host_id", "group_id"), check=_attach_group,
            create=True, initial={"inventory": "inventory_id"},
        ),
        SubList("all_groups", "groups", where=_all_groups),
        SubList("job_events", "job_events", where=_events_of_host, order=("id",)),
        Children("job_host_summaries", "job_host_summaries", by="host", create=False),
    ),
    actions=(variable_data(Host, in_administered), Action("ansible_facts", {"GET": _facts})),
    order=("name",),
    unique=("name", "inventory"),
    named_url=(("name",), ("inventory__name",), (ORGANIZATION_NAME,)),
    validate=_check_host,
)  # fmt: skip

groups = Resource(
    "groups",
    "group",
    Group,
    (
        NAME,
        DESCRIPTION,
        ForeignKey("inventory", target="inventories", use="admin_role", required=True),
        VARIABLES,
        Computed("has_active_failures", kind="boolean", expression=lambda row: _hosts_below(row, failed=True) > 0),
        Computed("total_hosts", kind="integer", expression=_hosts_below),
        Computed("total_groups", kind="integer", expression=_groups_below),
    ),
    description="Groups of hosts, and of groups.",
    read=in_readable,
    change=in_administered,
    delete=in_administered,
    create_in="inventory",
    capabilities={"edit": in_administered, "delete": in_administered, "copy": no_route_yet},
    relations={"parents": Relation("groups", via=group_children, pair=("child_id", "parent_id"))},
    sublists=(
        Attached(
            "hosts", "hosts", table=group_hosts, pair=("group_id", "host_id"), check=_attach_host,
            create=True, initial={"inventory": "inventory_id"},
        ),
        SubList("potential_children", "groups", where=_potential_children),
        Attached(
            "children", "groups", table=group_children, pair=("parent_id", "child_id"), check=_attach_child,
            create=True, initial={"inventory": "inventory_id"},
        ),
        SubList("all_hosts", "hosts", where=_all_hosts),
        SubList("job_events", "job_events", where=_on_hosts_of_group, order=("id",)),
        SubList("job_host_summaries", "job_host_summaries", where=_on_hosts_of_group),
    ),
    actions=(variable_data(Group, in_administered),),
    order=("name",),
    unique=("name", "inventory"),
    named_url=(("name",), ("inventory__name",), (ORGANIZATION_NAME,)),
    validate=_check_group,
    remove=_remove_group,
)  # fmt: skip
