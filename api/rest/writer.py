"""Writing: a body becomes checked values, the values a row. Nothing is committed here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from sqlalchemy import delete as sql_delete
from sqlalchemy import func, literal, select, true
from sqlalchemy.dialects.postgresql import insert as upsert

from api.call import Call
from api.rest.fields import MISSING, Field, ForeignKey, Rejected
from api.rest.permissions import Permission
from api.rest.reader import Reader
from api.rest.resource import Attached, Resource
from api.rest.source import Source
from core.errors import Forbidden, Invalid
from models.access import IMPLIED, Role, create_roles, grant, has_role, may
from models.base import now


@dataclass
class Change:
    """One create (`before` is None) or update on its way to the database.

    `values` holds what was sent and is valid, and on create the defaults, by field name (a reference as its id); a
    check may add to it, also what callers cannot write, and calls `fail`. `object` is there once the row is saved."""

    call: Call
    resource: Resource
    before: Any | None
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()  # once it is saved: what it changed
    object: Any = None

    def get(self, name: str) -> Any:
        """The value after the change."""
        if name in self.values:
            return self.values[name]
        attribute = self.resource.all_fields[name].attribute
        return None if self.before is None else getattr(self.before, attribute)

    def changes(self, name: str) -> bool:
        """Whether the value becomes another one."""
        return name in self.values and (self.before is None or self.values[name] != self._before(name))

    def _before(self, name: str) -> Any:
        field_ = self.resource.all_fields[name]
        return None if field_.write_only else getattr(self.before, field_.attribute)

    def fail(self, name: str, message: str) -> None:
        self.errors.setdefault(name, []).append(message)

    def stop_if_invalid(self) -> None:
        if self.errors:
            raise Invalid(fields=self.errors)


def load(call: Call, resource: Resource, key: str, permission: Permission) -> Any:
    """The object that an id or a named URL stands for, to be changed. Raises NotFound, or Forbidden when the caller
    may read it and lacks the permission."""
    object_id = Reader(resource, call.actor).visible_id(call.session, key)
    require(call, resource, object_id, permission)
    return call.session.get(resource.model, object_id)


def require(call: Call, resource: Resource, object_id: int, permission: Permission) -> None:
    """Raises Forbidden."""
    row = Source(resource.model)
    condition = permission(call.actor, row)
    if not call.session.scalar(select(row.id).where(row.id == object_id, condition).select_from(row.table())):
        raise Forbidden()


def may_create(call: Call, resource: Resource) -> bool:
    """Whether there is anything the caller may create here: what OPTIONS shows."""
    if call.actor.is_superuser:
        return resource.creatable
    if resource.may_create is not None:
        return resource.may_create(call)
    if not resource.create_in:
        return False
    key = resource.all_fields[resource.create_in]
    assert isinstance(key, ForeignKey)
    row = Source(resource.api[key.target].model)
    usable = usable_target(key, resource)(call.actor, row)
    return call.session.scalar(select(row.id).where(usable).select_from(row.table()).limit(1)) is not None


def create(call: Call, resource: Resource, data: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> Any:
    """A new object from a body; `fixed` values stand whatever the body says. Raises Invalid, Forbidden."""
    if not may_create(call, resource):
        raise Forbidden()
    change = Change(call, resource, None)
    body = {**data, **(fixed or {})}
    for each in resource.writable():
        if each.name in body:
            _clean(change, each, body[each.name])
        elif each.required:
            change.fail(each.name, "This field is required.")
        elif each.default is not MISSING:
            change.values[each.name] = each.default() if callable(each.default) else each.default
    _check(change)
    return _save(change)


def update(call: Call, resource: Resource, before: Any, data: Mapping[str, Any], *, partial: bool) -> Any:
    """PATCH, or PUT if not partial. Raises Invalid, Forbidden."""
    change = Change(call, resource, before)
    for each in resource.writable():
        if each.name in data:
            _clean(change, each, data[each.name])
        elif each.required and not partial:
            change.fail(each.name, "This field is required.")
    _check(change)
    return _save(change)


def _check_parent(change: Change) -> None:
    """What belongs nowhere is for superusers: others neither make it nor take it out of where it is."""
    parent = change.resource.create_in
    if not parent or change.resource.may_create is not None or change.call.actor.is_superuser:
        return
    if change.get(parent) is None and (change.before is None or change.changes(parent)):
        raise Forbidden()


def _clean(change: Change, each: Field, value: Any) -> None:
    try:
        change.values[each.name] = each.clean(value)
    except Rejected as rejected:
        change.errors[each.name] = rejected.messages


def _check(change: Change) -> None:
    _check_references(change)
    if change.resource.validate is not None and not change.errors:
        change.resource.validate(change)
    change.stop_if_invalid()
    _check_unique(change)
    _check_parent(change)


def _check_references(change: Change) -> None:
    """What is referred to exists and the caller may use it. A reference that stays as it was is not looked at."""
    for each in change.resource.writable():
        if not isinstance(each, ForeignKey) or change.values.get(each.name) is None:
            continue
        if each.write_only or change.changes(each.name):
            _check_reference(change, each, change.values[each.name])


def _check_reference(change: Change, key: ForeignKey, target_id: int) -> None:
    row = Source(change.resource.api[key.target].model)
    usable = usable_target(key, change.resource)(change.call.actor, row)
    found = change.call.session.execute(
        select(row.id, usable.label("usable")).where(row.id == target_id).select_from(row.table())
    ).one_or_none()
    if found is None:
        change.fail(key.name, f'Invalid pk "{target_id}" - object does not exist.')
    elif not found.usable:
        raise Forbidden()


def usable_target(key: ForeignKey, resource: Resource) -> Permission:
    """Who may point this reference at a row of its target."""
    return usable_role(resource.api[key.target], key.use)


def usable_role(target: Resource, role_field: str) -> Permission:
    """Who has this role on an object of the target; for one that has no roles: who may read it."""
    if not target.has_roles or role_field not in IMPLIED[target.type]:
        return target.read
    organization = "organization_id" if "organization" in target.all_fields else None

    def condition(actor: Any, row: Source) -> Any:
        if actor.is_superuser:
            return true()
        return may(actor, target.type, role_field, row.id, row.col(organization) if organization else None)

    return condition


def _check_unique(change: Change) -> None:
    names = change.resource.unique
    if not names or not any(change.changes(name) for name in names):
        return
    session, row = change.call.session, Source(change.resource.model)
    wanted = {name: change.get(name) for name in names}
    # Two callers with the same name come here one after the other: not all of these scopes have a constraint, which
    # could not speak of a missing organization anyway.
    lock = f"{change.resource.name}:{sorted(wanted.items())}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, literal(0)))))
    conditions = [
        change.resource.all_fields[name].raw(row).is_not_distinct_from(value) for name, value in wanted.items()
    ]
    if change.before is not None:
        conditions.append(row.id != change.before.id)
    if session.scalar(select(row.id).where(*conditions).select_from(row.table()).limit(1)) is None:
        return
    labels = [name.replace("_", " ").capitalize() for name in names]
    listed = labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
    message = f"{change.resource.title.capitalize()} with this {listed} already exists."
    raise Invalid(fields={names[0] if len(names) == 1 else "__all__": [message]})


def find_same(call: Call, resource: Resource, data: Mapping[str, Any]) -> int | None:
    """The id of the object that has what a body says in all unique fields of the resource."""
    row, wanted = Source(resource.model), []
    for each in (resource.all_fields[name] for name in resource.unique):
        try:
            wanted.append(each.raw(row) == each.clean(data.get(each.name)))
        except Rejected:
            return None  # what is wrong with the body, a create says
    return call.session.scalar(select(row.id).where(*wanted).select_from(row.table()))


def _save(change: Change) -> Any:
    resource, session, actor = change.resource, change.call.session, change.call.actor
    change.changed = frozenset(name for name in change.values if change.changes(name))
    fields = ((resource.all_fields[name], value) for name, value in change.values.items())
    stored = {each.attribute: value for each, value in fields if not each.write_only}
    if change.before is None:
        if "created_by" in resource.all_fields:
            stored["created_by_id"] = actor.id
        change.object = resource.model(**stored)
        session.add(change.object)
        session.flush()
        if resource.has_roles:
            _create_roles(change)
    else:
        change.object = change.before
        if "modified_by" in resource.all_fields:
            stored["modified_by_id"] = actor.id
        if "modified" in resource.all_fields:
            stored["modified"] = now()
        for name, value in stored.items():
            setattr(change.object, name, value)
    if resource.saved is not None:
        resource.saved(change)
    session.flush()
    return change.object


def _create_roles(change: Change) -> None:
    """The roles of the new object; whoever made it administers it, unless they do so anyway."""
    session, actor, made = change.call.session, change.call.actor, change.object
    create_roles(session, change.resource.type, made.id)
    organization = getattr(made, "organization_id", None)
    if not has_role(session, actor, change.resource.type, "admin_role", made.id, organization):
        grant(session, actor.id, change.resource.type, made.id, "admin_role")


def remove(call: Call, resource: Resource, found: Any) -> Response | None:
    """Delete an object the way its resource wants it, whichever route asks. Returns the resource's own answer if it has
    one. Raises what the resource refuses it with."""
    answer = resource.remove(call, found) if resource.remove is not None else None
    if answer is None:
        delete(call, resource, found)
    return answer


def delete(call: Call, resource: Resource, found: Any) -> None:
    """The row, its roles and what the database takes along."""
    if resource.has_roles:
        call.session.execute(sql_delete(Role).where(Role.resource_type == resource.type, Role.resource_id == found.id))
    call.session.delete(found)
    call.session.flush()


def attach(call: Call, sublist: Attached, target: Resource, parent: int, target_id: int) -> None:
    """Pair the two; nothing happens when they are. Raises Invalid, Forbidden."""
    assert sublist.table is not None
    row = Source(target.model)
    usable = usable_role(target, sublist.use)(call.actor, row)
    found = call.session.execute(
        select(row.id, usable.label("usable")).where(row.id == target_id).select_from(row.table())
    ).one_or_none()
    if found is None:
        raise Invalid(fields={"id": [f'Invalid pk "{target_id}" - object does not exist.']})
    if not found.usable:
        raise Forbidden()
    left, right = sublist.pair
    pair: dict[str, Any] = {left: parent, right: target_id}
    table = sublist.table
    if (
        call.session.scalar(select(table.c[left]).where(table.c[left] == parent, table.c[right] == target_id))
        is not None
    ):
        return
    if sublist.check is not None:
        sublist.check(call, parent, target_id)
    if sublist.ordered:
        pair["position"] = (
            select(func.coalesce(func.max(table.c.position) + 1, 0)).where(table.c[left] == parent).scalar_subquery()
        )
    call.session.execute(upsert(table).values(pair).on_conflict_do_nothing())


def detach(call: Call, sublist: Attached, target: Resource, parent: int, target_id: int) -> None:
    """Nothing happens when they are no pair."""
    assert sublist.table is not None
    left, right = sublist.pair
    table = sublist.table
    call.session.execute(sql_delete(table).where(table.c[left] == parent, table.c[right] == target_id))
