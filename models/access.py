"""Who may do what: roles on objects, what each implies, and the one filter that makes visibility part of a query.

A role row exists for every role of every object; users and teams are granted role rows. What a role implies is not
stored: it is the static table below, compiled into SQL, so that a grant or a new implication never has to be
propagated. The roles and their inheritance are AWX's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    String,
    Table,
    UniqueConstraint,
    and_,
    false,
    insert,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.selectable import ScalarSelect, Select

from core.errors import Forbidden, NotFound
from models.base import Base
from models.organizations import Team
from models.users import User


class Role(Base):
    """`resource_type` "" with `role_field` system_administrator or system_auditor are the singletons."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("resource_type", "resource_id", "role_field"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_type: Mapped[str] = mapped_column(String(32))
    resource_id: Mapped[int] = mapped_column()
    role_field: Mapped[str] = mapped_column(String(64))


role_users = Table(
    "role_users",
    Base.metadata,
    Column("role_id", ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True),
)
role_teams = Table(
    "role_teams",
    Base.metadata,
    Column("role_id", ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
    Column("team_id", ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True, index=True),
)


@dataclass(frozen=True)
class Actor:
    """Whoever acts: a user, as far as permissions are concerned."""

    id: int
    username: str
    is_superuser: bool = False
    is_system_auditor: bool = False

    @classmethod
    def of(cls, user: User) -> "Actor":
        return cls(user.id, user.username, user.is_superuser, user.is_system_auditor)


ROLE_NAMES: Mapping[str, tuple[str, str]] = {
    "admin_role": ("Admin", "Can manage all aspects of the {0}"),
    "approval_role": ("Approve", "Can approve or deny a workflow approval node"),
    "auditor_role": ("Auditor", "Can view all aspects of the {0}"),
    "adhoc_role": ("Ad Hoc", "May run ad hoc commands on the {0}"),
    "credential_admin_role": ("Credential Admin", "Can manage all credentials of the {0}"),
    "execute_role": ("Execute", "May run the {0}"),
    "execution_environment_admin_role": (
        "Execution Environment Admin",
        "Can manage all execution environments of the {0}",
    ),
    "inventory_admin_role": ("Inventory Admin", "Can manage all inventories of the {0}"),
    "job_template_admin_role": ("Job Template Admin", "Can manage all job templates of the {0}"),
    "member_role": ("Member", "User is a member of the {0}"),
    "notification_admin_role": ("Notification Admin", "Can manage all notifications of the {0}"),
    "project_admin_role": ("Project Admin", "Can manage all projects of the {0}"),
    "read_role": ("Read", "May view settings for the {0}"),
    "update_role": ("Update", "May update the {0}"),
    "use_role": ("Use", "Can use the {0} in a job template"),
    "workflow_admin_role": ("Workflow Admin", "Can manage all workflows of the {0}"),
}

# resource type -> role -> (roles on the object itself that imply it, roles on its organization that imply it)
_Implied = Mapping[str, tuple[frozenset[str], frozenset[str]]]


def _implied(
    organization_admins: Iterable[str], implied_by: Mapping[str, str] | None = None, /, **roles: Iterable[str]
) -> _Implied:
    """The table of one type: admin stands above `roles` (role -> organization roles that imply it), all read.

    `implied_by`: role -> another role of the same object that brings it too."""
    admins = frozenset({"admin_role", *organization_admins})
    table: dict[str, tuple[frozenset[str], frozenset[str]]] = {"admin_role": (frozenset({"admin_role"}), admins)}
    for role, organization_roles in roles.items():
        own = {role, "admin_role", (implied_by or {}).get(role, role)}
        table[role] = (frozenset(own), admins | frozenset(organization_roles))
    own_readers = frozenset(table) | {"read_role"}
    organization_readers = frozenset().union(*(org for _, org in table.values())) | {"auditor_role"}
    table["read_role"] = (own_readers, organization_readers)
    return table


_ORGANIZATION_ROLES = (
    "admin_role",
    "execute_role",
    "project_admin_role",
    "inventory_admin_role",
    "credential_admin_role",
    "workflow_admin_role",
    "notification_admin_role",
    "job_template_admin_role",
    "execution_environment_admin_role",
    "auditor_role",
    "member_role",
    "read_role",
    "approval_role",
)

IMPLIED: Mapping[str, _Implied] = {
    "organization": {
        role: (
            frozenset(_ORGANIZATION_ROLES) if role == "read_role" else frozenset({role, "admin_role"}),
            frozenset(),
        )
        for role in _ORGANIZATION_ROLES
    },
    "team": _implied((), member_role=()),
    "project": _implied(("project_admin_role",), use_role=(), update_role=()),
    "inventory": _implied(
        ("inventory_admin_role",), {"use_role": "adhoc_role"}, use_role=(), update_role=(), adhoc_role=()
    ),
    "credential": _implied(("credential_admin_role",), use_role=()),
    "job_template": _implied(("job_template_admin_role",), execute_role=("execute_role",)),
    "instance_group": _implied((), use_role=()),
}


def create_roles(session: Session, resource_type: str, resource_id: int) -> None:
    """The role rows of a new object, in the same transaction as the object."""
    session.execute(
        insert(Role),
        [
            {"resource_type": resource_type, "resource_id": resource_id, "role_field": field}
            for field in IMPLIED[resource_type]
        ],
    )


def grant(session: Session, user_id: int, resource_type: str, resource_id: int, role_field: str) -> None:
    """Give a user a role; nothing happens when they hold it already."""
    role = (
        select(Role.id, select(User.id).where(User.id == user_id).scalar_subquery())
        .where(Role.resource_type == resource_type, Role.resource_id == resource_id, Role.role_field == role_field)
    )  # fmt: skip
    session.execute(upsert(role_users).from_select(["role_id", "user_id"], role).on_conflict_do_nothing())


_PUTS_INTO_TEAM = or_(
    and_(Role.resource_type == "team", Role.role_field.in_(("member_role", "admin_role")), Team.id == Role.resource_id),
    and_(
        Role.resource_type == "organization",
        Role.role_field == "admin_role",
        Team.organization_id == Role.resource_id,
    ),
)


@lru_cache(maxsize=64)
def _held_roles(actor: Actor) -> Select[int]:
    """Role ids held by the actor: directly, or through a team (a team may itself be a member of a team). The admins of
    an organization are in all of its teams.

    One and the same object for one actor, so that a statement that asks several times holds the recursion once."""
    teams = (
        select(Team.id.label("team_id"))
        .select_from(role_users)
        .join(Role, Role.id == role_users.c.role_id)
        .join(Team, _PUTS_INTO_TEAM)
        .where(role_users.c.user_id == actor.id)
        .cte(recursive=True)  # without a name of its own: a statement may speak of two actors
    )
    teams = teams.union(
        select(Team.id)
        .select_from(role_teams)
        .join(teams, teams.c.team_id == role_teams.c.team_id)
        .join(Role, Role.id == role_teams.c.role_id)
        .join(Team, _PUTS_INTO_TEAM)
    )
    direct = select(role_users.c.role_id).where(role_users.c.user_id == actor.id)
    through_teams = select(role_teams.c.role_id).join(teams, teams.c.team_id == role_teams.c.team_id)
    held = direct.union_all(through_teams).subquery()
    return select(held.c.role_id)


def holders(role_ids: Select[int]) -> Select[int]:
    """Ids of the users who hold one of these roles: directly, or through teams as in `_held_roles`."""
    teams = select(role_teams.c.team_id).where(role_teams.c.role_id.in_(role_ids)).cte(recursive=True)
    teams = teams.union(
        select(role_teams.c.team_id)
        .join(Role, Role.id == role_teams.c.role_id)
        .join(Team, _PUTS_INTO_TEAM)
        .join(teams, teams.c.team_id == Team.id)
    )
    direct = select(role_users.c.user_id).where(role_users.c.role_id.in_(role_ids))
    through_teams = (
        select(role_users.c.user_id)
        .join(Role, Role.id == role_users.c.role_id)
        .join(Team, _PUTS_INTO_TEAM)
        .join(teams, teams.c.team_id == Team.id)
    )
    found = direct.union_all(through_teams).subquery()
    return select(found.c.user_id)


def resources_with(actor: Actor, resource_type: str, role_fields: Iterable[str]) -> Select[int]:
    """Ids of the objects of one type on which the actor holds one of these very roles (implications not applied)."""
    return select(Role.resource_id).where(
        Role.resource_type == resource_type,
        Role.role_field.in_(sorted(role_fields)),
        Role.id.in_(_held_roles(actor)),
    )


def may(
    actor: Actor,
    resource_type: str,
    role_field: str,
    id_column: ColumnElement[int] | Mapped[int] | ScalarSelect[int],
    organization_column: ColumnElement[int | None] | Mapped[int | None] | Mapped[int] | None = None,
) -> ColumnElement[bool]:
    """SQL condition: the actor has this role, or one that implies it, on the row that the columns come from."""
    if actor.is_superuser or (actor.is_system_auditor and role_field == "read_role"):
        return true()
    own, through_organization = IMPLIED[resource_type][role_field]
    conditions: list[ColumnElement[bool]] = [id_column.in_(resources_with(actor, resource_type, own))]
    if organization_column is not None and through_organization:
        conditions.append(organization_column.in_(resources_with(actor, "organization", through_organization)))
    return or_(false(), *conditions)


def has_role(
    session: Session,
    actor: Actor,
    resource_type: str,
    role_field: str,
    resource_id: int,
    organization_id: int | None = None,
) -> bool:
    condition = may(
        actor,
        resource_type,
        role_field,
        literal(resource_id),
        None if organization_id is None else literal(organization_id),
    )
    return bool(session.scalar(select(condition)))


def require(
    session: Session,
    actor: Actor,
    resource_type: str,
    role_field: str,
    resource_id: int,
    organization_id: int | None = None,
) -> None:
    """404 when the actor may not even read the object, 403 when they may read it but not do this."""
    if has_role(session, actor, resource_type, role_field, resource_id, organization_id):
        return
    if role_field != "read_role" and has_role(session, actor, resource_type, "read_role", resource_id, organization_id):
        raise Forbidden()
    raise NotFound("Not found.")
