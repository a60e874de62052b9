"""Organizations and teams: who owns things, and who acts together."""

from sqlalchemy import Column, ForeignKey, Integer, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Named, cascade, nullify


class Organization(Named):
    __tablename__ = "organizations"
    __table_args__ = (UniqueConstraint("name"),)

    max_hosts: Mapped[int] = mapped_column(default=0, server_default="0")
    default_environment_id: Mapped[int | None] = nullify("execution_environments.id", index=False, use_alter=True)


class Team(Named):
    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("name", "organization_id"),)

    organization_id: Mapped[int] = cascade("organizations.id")


# A list whose order matters: the first credential that has the collection wins, the first group that has room runs.
organization_galaxy_credentials = Table(
    "organization_galaxy_credentials",
    Base.metadata,
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("credential_id", ForeignKey("credentials.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False, default=0, server_default="0"),
)
organization_instance_groups = Table(
    "organization_instance_groups",
    Base.metadata,
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("instance_group_id", ForeignKey("instance_groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("position", Integer, nullable=False, default=0, server_default="0"),
)
