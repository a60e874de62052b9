"""Inventories, hosts and nested groups. Variables are kept as the text that was written (JSON or YAML)."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.errors import Forbidden
from models.base import Base, Json, Named, Timestamp, cascade, nullify
from models.organizations import Organization


class Inventory(Named):
    __tablename__ = "inventories"
    __table_args__ = (UniqueConstraint("name", "organization_id"),)

    organization_id: Mapped[int] = cascade("organizations.id")
    kind: Mapped[str] = mapped_column(String(32), default="", server_default="")
    host_filter: Mapped[str | None] = mapped_column(Text)
    variables: Mapped[str] = mapped_column(Text, default="", server_default="")
    prevent_instance_group_fallback: Mapped[bool] = mapped_column(default=False, server_default="false")
    pending_deletion: Mapped[bool] = mapped_column(default=False, server_default="false")


class Host(Named):
    __tablename__ = "hosts"
    __table_args__ = (UniqueConstraint("inventory_id", "name"),)

    inventory_id: Mapped[int] = cascade("inventories.id", index=False)  # the unique constraint's index serves it
    enabled: Mapped[bool] = mapped_column(default=True, server_default="true")
    instance_id: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    variables: Mapped[str] = mapped_column(Text, default="", server_default="")
    last_job_id: Mapped[int | None] = nullify("jobs.id")
    last_job_host_summary_id: Mapped[int | None] = nullify("job_host_summaries.id")
    ansible_facts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    ansible_facts_modified: Mapped[datetime | None] = mapped_column(Timestamp)


class Group(Named):
    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("inventory_id", "name"),)

    inventory_id: Mapped[int] = cascade("inventories.id", index=False)
    variables: Mapped[str] = mapped_column(Text, default="", server_default="")


group_hosts = Table(
    "group_hosts",
    Base.metadata,
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("host_id", ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True, index=True),
)
group_children = Table(
    "group_children",
    Base.metadata,
    Column("parent_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("child_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    CheckConstraint("parent_id <> child_id", name="no_self_parent"),
)
inventory_instance_groups = Table(
    "inventory_instance_groups",
    Base.metadata,
    Column("inventory_id", ForeignKey("inventories.id", ondelete="CASCADE"), primary_key=True),
    Column("instance_group_id", ForeignKey("instance_groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False, default=0, server_default="0"),
)
inventory_labels = Table(
    "inventory_labels",
    Base.metadata,
    Column("inventory_id", ForeignKey("inventories.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True, index=True),
)


def require_room(session: Session, inventory_id: int, name: str) -> None:
    """Before a host gets this name: an organization has no more hosts, counted by their names, than its `max_hosts`.
    Raises Forbidden."""
    organization = session.scalar(
        select(Organization)
        .join(Inventory, Inventory.organization_id == Organization.id)
        .where(Inventory.id == inventory_id, Organization.max_hosts > 0)
        .with_for_update(of=Organization, key_share=True)  # two hosts must not both take the last place
    )
    if organization is None:
        return
    names = (
        select(Host.name)
        .join(Inventory, Inventory.id == Host.inventory_id)
        .where(Inventory.organization_id == organization.id)
    )
    if session.scalar(names.where(Host.name == name).limit(1)) is not None:
        return
    count = session.scalar(select(func.count()).select_from(names.distinct().subquery())) or 0
    if count >= organization.max_hosts:
        raise Forbidden(
            f"The organization {organization.name} has {count} hosts and may have {organization.max_hosts}: ask an "
            "administrator to raise its limit."
        )
