"""Who may: a permission is a function from the caller and a row's source to a SQL condition on the row.

So one and the same rule filters a list, guards a write and fills `user_capabilities`."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, false, or_, select, true
from sqlalchemy.sql.elements import True_

from api.rest.source import Source
from core.db import Base
from models.access import Actor, may

Permission = Callable[[Actor, Source], ColumnElement[bool]]

# Nobody, unless the statement is executed with a value: who is forgotten has no rights.
ACTOR_ID: Any = bindparam("actor_id", None, Integer())


class Rank(Enum):
    """What of a caller decides how a condition looks; who exactly it is, is a parameter of the statement."""

    SUPERUSER = (True, False)
    AUDITOR = (False, True)
    ORDINARY = (False, False)

    @classmethod
    def of(cls, actor: Actor) -> "Rank":
        return cls((actor.is_superuser, actor.is_system_auditor and not actor.is_superuser))

    def stand_in(self) -> Actor:
        """Anybody of this rank, for a condition that is made once; `actor_id` is given when it is executed."""
        return Actor(ACTOR_ID, "", *self.value)


def role(
    resource_type: str, role_field: str, id: str = "id", organization: str | None = "organization_id"
) -> Permission:
    """Whoever has the role on the object that column `id` names, or one on its organization that implies it."""

    def condition(actor: Actor, row: Source) -> ColumnElement[bool]:
        if actor.is_superuser:
            return true()
        return may(actor, resource_type, role_field, row.col(id), row.col(organization) if organization else None)

    return condition


def through(column: str, model: type[Base], permission: Permission) -> Permission:
    """Whoever has the permission on the row of `model` that the column refers to."""

    def condition(actor: Actor, row: Source) -> ColumnElement[bool]:
        owner = Source(model)
        allowed = permission(actor, owner)
        if isinstance(allowed, True_):
            return true()
        return row.col(column).in_(select(owner.id).where(allowed).select_from(owner.table()))

    return condition


def superuser(actor: Actor, row: Source) -> ColumnElement[bool]:
    return true() if actor.is_superuser else false()


def superuser_or_auditor(actor: Actor, row: Source) -> ColumnElement[bool]:
    return true() if actor.is_superuser or actor.is_system_auditor else false()


def anyone(actor: Actor, row: Source) -> ColumnElement[bool]:
    return true()


def no_route_yet(actor: Actor, row: Source) -> ColumnElement[bool]:
    """For a capability that clients look for, of a route that this version does not have."""
    return false()


def nobody(actor: Actor, row: Source) -> ColumnElement[bool]:
    return false()


def either(*permissions: Permission) -> Permission:
    return lambda actor, row: or_(false(), *(permission(actor, row) for permission in permissions))


def both(*permissions: Permission) -> Permission:
    return lambda actor, row: and_(true(), *(permission(actor, row) for permission in permissions))


def where(condition: Callable[[Source], ColumnElement[bool]]) -> Permission:
    """A condition on the row alone, whoever asks."""
    return lambda actor, row: condition(row)
