"""Users, and the caller's own entry: `me`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Response
from sqlalchemy import ColumnElement, Select, Text, and_, cast, literal, not_, null, or_, select, true

from api.call import Call, endpoint
from api.responses import json_response
from api.rest import options
from api.rest.fields import Boolean, Computed, DateTime, String
from api.rest.permissions import Permission, either, superuser, superuser_or_auditor
from api.rest.reader import Reader
from api.rest.resource import Resource, SubList
from api.rest.source import Source
from api.rest.writer import Change
from api.v2.shared import ansible_resource
from core.crypto import MASK
from core.db import Base
from core.errors import Forbidden
from models.access import Actor, Role, holders, may, resources_with, role_users
from models.credentials import Credential
from models.inventories import Inventory
from models.organizations import Team
from models.settings import get_setting
from models.unified import UnifiedJobTemplate
from models.users import User, end_sessions, hash_password

ME = "/api/v2/me/"
MEMBER = ("member_role", "admin_role")  # what makes somebody belong to an organization or a team
# What has roles and may belong to an organization.
OWNED: Mapping[str, type[Base]] = {
    "team": Team,
    "project": UnifiedJobTemplate,
    "job_template": UnifiedJobTemplate,
    "inventory": Inventory,
    "credential": Credential,
}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def add_routes(app: FastAPI) -> None:
    app.add_api_route(ME, endpoint(me), methods=["GET"], tags=["Sign-in"])
    app.add_api_route(ME, endpoint(describe_me), methods=["OPTIONS"], include_in_schema=False)


def me(call: Call) -> Response:
    """The caller, as a list of one."""
    shown = Reader(users, call.actor).one(call.session, call.actor.id)
    return json_response({"count": 1, "next": None, "previous": None, "results": [shown | {"auth": []}]})


def describe_me(_call: Call) -> Response:
    return json_response(options.describe(users, name="Me", methods={}), headers={"Allow": "GET, HEAD, OPTIONS"})


# Who may see and change whom


def _belonging_to(resource_type: str, condition: Callable[[Any], ColumnElement[bool]]) -> Select[int]:
    """Ids of those who belong to the organizations or teams whose id meets the condition."""
    role = Role.__table__.alias()
    return (
        select(role_users.c.user_id)
        .join(role, role.c.id == role_users.c.role_id)
        .where(role.c.resource_type == resource_type, role.c.role_field.in_(MEMBER), condition(role.c.resource_id))
    )


def _fellow(resource_type: str) -> Permission:
    """Both belong to the same organization or team."""

    def condition(actor: Actor, row: Source) -> ColumnElement[bool]:
        mine = resources_with(actor, resource_type, MEMBER)
        return row.id.in_(_belonging_to(resource_type, lambda id: id.in_(mine)))

    return condition


def _itself(actor: Actor, row: Source) -> ColumnElement[bool]:
    return row.id == actor.id


def _administers_an_organization(actor: Actor, _row: Source) -> ColumnElement[bool]:
    """Whoever does sees all users: they are the ones to be invited."""
    return resources_with(actor, "organization", ("admin_role",)).exists()


def _managed(actor: Actor, row: Source) -> ColumnElement[bool]:
    """Belongs to organizations that the actor administers, and has no rights anywhere else: whoever sets a password can
    sign in with it, and would have them too. So there is no taking over superusers, system auditors, or who holds a
    role, directly or through a team, on another organization, on what is in one, or on what is in none."""
    if actor.is_superuser:
        return true()
    administered = resources_with(actor, "organization", ("admin_role",))
    return and_(
        row.col("is_superuser").is_(False),
        row.col("is_system_auditor").is_(False),
        row.id.in_(_belonging_to("organization", lambda id: id.in_(administered))),
        row.id.not_in(holders(_roles_outside(administered))),
    )


def _roles_outside(organizations: Select[int]) -> Select[int]:
    """Ids of the roles on anything but these organizations and what they own."""
    role = Role.__table__.alias()
    inside = [and_(role.c.resource_type == "organization", role.c.resource_id.in_(organizations))]
    for kind, model in OWNED.items():
        row = Source(model)
        owned = select(row.id).where(row.col("organization_id").in_(organizations)).select_from(row.table())
        inside.append(and_(role.c.resource_type == kind, role.c.resource_id.in_(owned)))
    return select(role.c.id).where(not_(or_(*inside)))


def _deletable(actor: Actor, row: Source) -> ColumnElement[bool]:
    return and_(row.id != actor.id, _changeable(actor, row))


_changeable = either(superuser, _itself, _managed)


def _may_create(call: Call) -> bool:
    found = call.session.scalar(resources_with(call.actor, "organization", ("admin_role",)).limit(1))
    return call.actor.is_superuser or found is not None


# Changes


def _validate(change: Change) -> None:
    _check_flags(change)
    if change.values.get("email") and not EMAIL.fullmatch(change.values["email"]):
        change.fail("email", "Enter a valid email address.")
    _check_password(change)


def _check_flags(change: Change) -> None:
    for name in ("is_superuser", "is_system_auditor"):
        before = bool(change.before and getattr(change.before, name))
        if change.get(name) != before and not change.call.actor.is_superuser:
            raise Forbidden()
    if change.before and change.before.is_superuser and not change.get("is_superuser"):
        others = select(User.id).where(User.is_superuser, User.is_active, User.id != change.before.id)
        if change.call.session.scalar(others.limit(1)) is None:
            change.fail("is_superuser", "The last superuser must stay one.")


def _check_password(change: Change) -> None:
    """The clear password becomes its hash; none, or the mask that the API shows, leaves it as it is."""
    password = change.values.pop("password", "")
    if password in ("", MASK):
        if change.before is None:
            change.fail("password", "Password required for new User.")
        return
    shortest = get_setting(change.call.session, "LOCAL_PASSWORD_MIN_LENGTH")
    if len(password) < shortest:
        change.fail("password", f"Password must be at least {shortest} characters long.")
    elif not change.errors:
        change.values["password"] = hash_password(password)


def _saved(change: Change) -> None:
    """Whoever signed in with the old password is signed out, but for the browser that changed it."""
    if change.before is not None and "password" in change.values:
        identity = change.call.identity
        end_sessions(change.call.session, change.object.id, keep=identity.session_id if identity else None)


# Lists of what belongs to a user


def _may_read(resource_type: str) -> Callable[[Source, int], ColumnElement[bool]]:
    def condition(row: Source, user_id: int) -> ColumnElement[bool]:
        user = User.__table__.alias()
        sees_all = select(user.c.is_superuser).where(user.c.id == user_id).scalar_subquery()
        return or_(sees_all, may(Actor(user_id, ""), resource_type, "read_role", row.id, row.col("organization_id")))

    return condition


def _organizations(*roles: str) -> Callable[[Source, int], ColumnElement[bool]]:
    return lambda row, user_id: row.id.in_(resources_with(Actor(user_id, ""), "organization", roles))


def _all_tokens(row: Source, user_id: int) -> ColumnElement[bool]:
    return row.col("user_id") == user_id


def _authorized_tokens(row: Source, user_id: int) -> ColumnElement[bool]:
    return and_(_all_tokens(row, user_id), row.col("application_id").is_not(None))


def _personal_tokens(row: Source, user_id: int) -> ColumnElement[bool]:
    return and_(_all_tokens(row, user_id), row.col("application_id").is_(None))


users = Resource(
    "users",
    "user",
    User,
    (
        String("username", required=True, blank=False, max_length=150),
        String("first_name", default="", max_length=150),
        String("last_name", default="", max_length=150),
        String("email", default="", max_length=254),
        Boolean("is_superuser", default=False, help_text="Designates that this user has all permissions."),
        Boolean("is_system_auditor", default=False, help_text="Designates that this user may read everything."),
        String("password", default="", trim=False, secret=True, expression=lambda _row: literal(MASK)),
        Computed("ldap_dn", kind="string", read_only=True, expression=lambda _row: literal(""), filterable=False),
        DateTime("last_login", read_only=True),
        Computed("external_account", read_only=True, expression=lambda _row: cast(null(), Text), filterable=False),
    ),
    description="People and programs that may sign in.",
    read=either(superuser_or_auditor, _itself, _administers_an_organization, _fellow("organization"), _fellow("team")),
    change=_changeable,
    delete=_deletable,
    may_create=_may_create,
    capabilities={"edit": _changeable, "delete": _deletable},
    summary=("id", "username", "first_name", "last_name"),
    summaries={"resource": ansible_resource("user")},
    sublists=(
        SubList("organizations", "organizations", where=_organizations("member_role", "admin_role")),
        SubList("admin_of_organizations", "organizations", where=_organizations("admin_role")),
        SubList("projects", "projects", where=_may_read("project")),
        SubList("credentials", "credentials", where=_may_read("credential")),
        SubList("tokens", "tokens", where=_all_tokens),
        SubList("authorized_tokens", "tokens", where=_authorized_tokens),
        SubList("personal_tokens", "tokens", where=_personal_tokens),
    ),
    search=("username", "first_name", "last_name", "email"),
    order=("username",),
    unique=("username",),
    named_url=(("username",),),
    validate=_validate,
    saved=_saved,
)
