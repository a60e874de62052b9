"""The graph of an inventory's groups: what is below what, and what goes with a group when it is deleted."""

from sqlalchemy import ColumnElement, Select, delete, func, literal, select
from sqlalchemy.orm import Session

from core.errors import Invalid
from models.inventories import Group, Host, group_children, group_hosts


def below(group_id: int | ColumnElement[int]) -> Select[int]:
    """Ids of the group and of all groups below it. A column is one of the enclosing statement."""
    start = select(literal(group_id) if isinstance(group_id, int) else group_id.label("id"))
    if not isinstance(group_id, int):
        start = start.correlate(group_id.table)
    found = start.cte(recursive=True, nesting=True)
    start_column = found.c[0]
    step = select(group_children.c.child_id).join(found, start_column == group_children.c.parent_id)
    return select(found.union(step).c[0])


def above(group_ids: Select[int]) -> Select[int]:
    """`group_ids` selects a column `id`: those groups and all groups above them."""
    found = group_ids.cte(recursive=True, nesting=True)
    step = select(group_children.c.parent_id).join(found, found.c.id == group_children.c.child_id)
    return select(found.union(step).c.id)


def groups_of_host(host_id: int) -> Select[int]:
    return select(group_hosts.c.group_id.label("id")).where(group_hosts.c.host_id == host_id)


def check_child(session: Session, parent_id: int, child_id: int) -> None:
    """Refuse what would make a circle, or reach into another inventory. Raises Invalid."""
    both = select(Group.id, Group.inventory_id).where(Group.id.in_((parent_id, child_id)))
    inventories = {row.id: row.inventory_id for row in session.execute(both)}
    if inventories.get(parent_id) != inventories.get(child_id):
        raise Invalid("Cannot associate two items from different inventories.")
    # Two edges that are fine by themselves may close a circle together: one at a time in each inventory.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("groups"), inventories[parent_id])))
    if session.scalar(select(Group.id).where(Group.id == parent_id, Group.id.in_(below(child_id)))) is not None:
        raise Invalid(fields={"error": ["Cyclical Group association."]})


def check_host(session: Session, group_id: int, host_id: int) -> None:
    """Raises Invalid for a host of another inventory."""
    inventory = select(Group.inventory_id).where(Group.id == group_id).scalar_subquery()
    if session.scalar(select(Host.id).where(Host.id == host_id, Host.inventory_id == inventory)) is None:
        raise Invalid("Cannot associate two items from different inventories.")


def delete_group(session: Session, group_id: int) -> None:
    """The group with all that is reached through it alone: groups and hosts with another way to them stay."""
    gone = {group_id}
    edges = session.execute(
        select(group_children.c.parent_id, group_children.c.child_id).where(
            group_children.c.child_id.in_(below(group_id))
        )
    )
    parents: dict[int, set[int]] = {}
    for parent, child in edges:
        parents.setdefault(child, set()).add(parent)
    while more := {child for child, holders in parents.items() if child not in gone and holders <= gone}:
        gone |= more
    inside = select(group_hosts.c.host_id).where(group_hosts.c.group_id.in_(gone))
    outside = select(group_hosts.c.host_id).where(group_hosts.c.group_id.not_in(gone))
    for table, condition in (
        (Host, Host.id.in_(inside) & Host.id.not_in(outside)),
        (Group, Group.id.in_(gone)),
    ):
        session.execute(delete(table).where(condition).execution_options(synchronize_session=False))
