"""Instances: what a host counts for, and how it comes, stays and goes."""

from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access import Role
from models.base import now
from models.instances import (
    Instance,
    InstanceGroup,
    beat,
    capacity_of,
    instance_group_instances,
    leave,
    register,
)

GB = 1024**3


@pytest.mark.parametrize(
    ("cpus", "memory", "adjustment", "capacity"),
    [
        (2, 8 * GB, "1", (8, 61, 61)),
        (2, 8 * GB, "0", (8, 61, 8)),
        (2, 8 * GB, "0.5", (8, 61, 34)),
        (64, 4 * GB, "1", (256, 20, 256)),
        (0.5, GB, "1", (2, 1, 2)),
        (0.1, 0, "1", (1, 1, 1)),
    ],
)
def test_capacity_counts_cpus_and_memory(
    cpus: float, memory: int, adjustment: str, capacity: tuple[int, int, int]
) -> None:
    assert capacity_of(cpus, memory, Decimal(adjustment)) == capacity


def come(session: Session, *groups: str, capacity: int = 0) -> Instance:
    id = register(session, "n1", groups, version="1", ip_address="::1", cpus=2, memory=8 * GB, capacity=capacity)
    session.expire_all()
    return session.get_one(Instance, id)


def served(session: Session, instance: Instance) -> list[str]:
    members = instance_group_instances.c
    return list(
        session.scalars(
            select(InstanceGroup.name)
            .join(instance_group_instances, members.instance_group_id == InstanceGroup.id)
            .where(members.instance_id == instance.id)
            .order_by(InstanceGroup.name)
        )
    )


def test_registers_with_its_groups_which_are_made_with_their_roles(session: Session) -> None:
    instance = come(session, "default", "edge")

    assert (instance.capacity, instance.version) == (61, "1")
    assert instance.last_seen is not None
    assert served(session, instance) == ["default", "edge"]
    group = session.scalars(select(InstanceGroup).where(InstanceGroup.name == "edge")).one()
    roles = select(Role.role_field).where(Role.resource_type == "instance_group", Role.resource_id == group.id)
    assert set(session.scalars(roles)) == {"admin_role", "use_role", "read_role"}


def test_comes_again_as_itself_and_keeps_what_was_set(session: Session) -> None:
    first = come(session, "default")
    first.enabled, first.capacity_adjustment = False, Decimal(0)
    uuid = first.uuid
    session.flush()

    again = come(session, "default")

    assert (again.id, again.uuid, again.enabled, again.capacity) == (first.id, uuid, False, 8)
    assert served(session, again) == ["default"]


def test_capacity_can_be_set(session: Session) -> None:
    assert come(session, "default", capacity=4).capacity == 4


def test_beats_until_it_leaves(session: Session) -> None:
    instance = come(session, "default")
    instance.last_seen = None
    instance.capacity_adjustment = Decimal(0)
    before = now()

    assert beat(session, instance.id, 2, 8 * GB)
    assert instance.last_seen is not None
    assert instance.last_seen >= before
    assert instance.capacity == 8

    leave(session, instance.id)
    session.refresh(instance)
    assert instance.last_seen is None


def test_beat_of_a_deleted_one_is_noticed(session: Session) -> None:
    assert not beat(session, 2**30, 1, GB)
