"""Instances (running worker hosts) and the groups that jobs are sent to."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    Numeric,
    String,
    Table,
    Text,
    case,
    false,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.access import create_roles
from models.base import Base, Json, Record, Timestamp, now, nullify


class Instance(Record):
    __tablename__ = "instances"

    hostname: Mapped[str] = mapped_column(String(250), unique=True)
    uuid: Mapped[str] = mapped_column(String(40))
    node_type: Mapped[str] = mapped_column(String(16), default="hybrid", server_default="hybrid")
    ip_address: Mapped[str] = mapped_column(String(50), default="", server_default="")
    version: Mapped[str] = mapped_column(String(120), default="", server_default="")
    enabled: Mapped[bool] = mapped_column(default=True, server_default="true")
    managed_by_policy: Mapped[bool] = mapped_column(default=True, server_default="true")
    cpu: Mapped[Decimal] = mapped_column(Numeric(6, 1), default=Decimal(0), server_default="0")
    memory: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # bytes
    cpu_capacity: Mapped[int] = mapped_column(default=0, server_default="0")
    mem_capacity: Mapped[int] = mapped_column(default=0, server_default="0")
    capacity: Mapped[int] = mapped_column(default=0, server_default="0")  # forks, while it is `in_touch`
    capacity_adjustment: Mapped[Decimal] = mapped_column(Numeric(3, 2), default=Decimal(1), server_default="1.0")
    last_seen: Mapped[datetime | None] = mapped_column(Timestamp)
    health_check_started: Mapped[datetime | None] = mapped_column(Timestamp)
    last_health_check: Mapped[datetime | None] = mapped_column(Timestamp)


INSTANCE_LOST_AFTER = timedelta(seconds=30)  # without a heartbeat


def in_touch(last_seen: Any) -> ColumnElement[bool]:
    """SQL: the instance is neither stopped nor lost. By the database's clock on both sides: those of the hosts may
    differ."""
    return func.coalesce(last_seen > func.now() - INSTANCE_LOST_AFTER, false())


def capacity_now(capacity: Any, last_seen: Any) -> ColumnElement[int]:
    """SQL: what an instance can take, in forks; nothing when it is stopped or lost."""
    return case((in_touch(last_seen), capacity), else_=0)


def live(instance: Any = Instance) -> ColumnElement[bool]:
    """SQL: the instance, or the row of its table, may be given runs."""
    may: ColumnElement[bool] = instance.enabled.is_(True)
    return may & in_touch(instance.last_seen)


class InstanceGroup(Record):
    __tablename__ = "instance_groups"

    name: Mapped[str] = mapped_column(String(250), unique=True)
    max_concurrent_jobs: Mapped[int] = mapped_column(default=0, server_default="0")
    max_forks: Mapped[int] = mapped_column(default=0, server_default="0")
    is_container_group: Mapped[bool] = mapped_column(default=False, server_default="false")
    credential_id: Mapped[int | None] = nullify("credentials.id")
    policy_instance_percentage: Mapped[int] = mapped_column(default=0, server_default="0")
    policy_instance_minimum: Mapped[int] = mapped_column(default=0, server_default="0")
    policy_instance_list: Mapped[list[str]] = mapped_column(Json, default=list, server_default="[]")
    pod_spec_override: Mapped[str] = mapped_column(Text, default="", server_default="")


instance_group_instances = Table(
    "instance_group_instances",
    Base.metadata,
    Column("instance_group_id", ForeignKey("instance_groups.id", ondelete="CASCADE"), primary_key=True),
    Column("instance_id", ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True, index=True),
)


def adjusted(by_cpu: int, by_memory: int, adjustment: Decimal) -> int:
    """From the smaller of the two capacities (0) to the larger (1)."""
    low, high = sorted((by_cpu, by_memory))
    return low + int((high - low) * adjustment)


def capacity_of(cpus: float, memory: int, adjustment: Decimal = Decimal(1)) -> tuple[int, int, int]:
    """(by CPU, by memory, effective) in forks, as AWX counts: four forks a CPU; a fork per 100 MB above the first
    2 GB. `memory` in bytes."""
    by_cpu = max(1, int(cpus * 4))
    by_memory = max(1, (memory // 1024**2 - 2048) // 100)
    return by_cpu, by_memory, adjusted(by_cpu, by_memory, adjustment)


def register(
    session: Session,
    hostname: str,
    groups: Sequence[str],
    *,
    version: str,
    ip_address: str,
    cpus: float,
    memory: int,
    capacity: int = 0,
) -> int:
    """This host is here and serves these groups, which are created if need be. Returns the instance's id.

    `capacity` 0 computes it. What an administrator set (enabled, adjustment) is kept."""
    moment = now()
    session.execute(
        upsert(Instance)
        .values(hostname=hostname, uuid=str(uuid.uuid4()), created=moment, modified=moment)
        .on_conflict_do_nothing(index_elements=["hostname"])
    )
    instance = session.scalars(select(Instance).where(Instance.hostname == hostname).with_for_update()).one()
    by_cpu, by_memory, effective = capacity_of(cpus, memory, instance.capacity_adjustment)
    instance.cpu, instance.memory = Decimal(str(round(cpus, 1))), memory
    instance.cpu_capacity, instance.mem_capacity = by_cpu, by_memory
    instance.capacity = capacity or effective
    instance.version, instance.ip_address = version, ip_address
    instance.last_seen = instance.last_health_check = func.clock_timestamp()
    for name in groups:
        created = session.scalar(
            upsert(InstanceGroup)
            .values(name=name, created=moment, modified=moment)
            .on_conflict_do_nothing(index_elements=["name"])
            .returning(InstanceGroup.id)
        )
        if created is not None:
            create_roles(session, "instance_group", created)
    session.flush()
    group_ids = session.scalars(select(InstanceGroup.id).where(InstanceGroup.name.in_(groups))).all()
    session.execute(
        upsert(instance_group_instances)
        .values([{"instance_group_id": group_id, "instance_id": instance.id} for group_id in group_ids])
        .on_conflict_do_nothing()
    )
    return instance.id


def beat(session: Session, instance_id: int, cpus: float, memory: int, capacity: int = 0) -> bool:
    """The host is still there; its capacity follows the administrator's adjustment. False if its row is gone."""
    instance = session.get(Instance, instance_id)
    if instance is None:
        return False
    instance.last_seen = func.clock_timestamp()
    instance.capacity = capacity or capacity_of(cpus, memory, instance.capacity_adjustment)[2]
    session.flush()
    return True


def group_names(session: Session, instance_id: int) -> list[str]:
    """The groups that an instance is in, by now: administrators may change that."""
    members = instance_group_instances.c
    return list(
        session.scalars(
            select(InstanceGroup.name)
            .join(instance_group_instances, members.instance_group_id == InstanceGroup.id)
            .where(members.instance_id == instance_id)
            .order_by(InstanceGroup.name)
        )
    )


def leave(session: Session, instance_id: int) -> None:
    """The worker stops by itself: nothing is given to it from now on."""
    session.execute(update(Instance).where(Instance.id == instance_id).values(last_seen=None))
