"""The statement that reads whole objects by their ids: columns, links and `summary_fields`, however deep.

It is the same for every request but for the ids and the caller, so it is made once and kept as text. Building such a
statement takes SQLAlchemy fifty times as long as PostgreSQL takes to run it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    TableClause,
    Text,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import False_, True_

from api.rest import named_urls
from api.rest.fields import DateTime, Field, ForeignKey, String
from api.rest.permissions import Rank
from api.rest.resource import Resource
from api.rest.source import Source
from api.rest.sqljson import entry, iso, json_object, json_pairs, key
from models.access import ROLE_NAMES, Actor, Role

# The ids to read, in the order in which they are to be shown.
PAGE: TableClause = table("page", column("id", Integer), column("position", Integer))
PAGE_SQL = "page AS (SELECT * FROM unnest(%(page_ids)s::bigint[]) WITH ORDINALITY AS asked (id, position))"

DIALECT = postgresql.psycopg2.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class ObjectStatement:
    """`names` are the columns after the first four: id, type, named URL, summaries."""

    text: str
    parameters: dict[str, Any]
    hidden: tuple[str, ...]  # references that are linked, not shown
    names: tuple[str, ...]
    as_json: tuple[str, ...]

    def rows(self, session: Session, ids: Sequence[int], actor: Actor) -> Sequence[Any]:
        parameters = self.parameters | {"page_ids": list(ids), "actor_id": actor.id}
        return session.connection().exec_driver_sql(self.text, parameters).all()


@cache
def object_statement(resource: Resource, rank: Rank, *, detail: bool, whole: bool) -> ObjectStatement:
    """For callers of this rank. Long texts are `whole`, or cut as the fields say."""
    fields = resource.shown(detail=detail)
    hidden = [each for each in resource.foreign_keys() if not each.shown]
    statement = _select(resource, rank.stand_in(), [*hidden, *fields], whole=whole)
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return ObjectStatement(
        _with_page(str(compiled)),
        dict(compiled.params),
        tuple(each.name for each in hidden),
        tuple(each.name for each in (*hidden, *fields)),
        tuple(each.name for each in fields if each.as_json),
    )


def _with_page(text: str) -> str:
    """Put `page` before the statement's own common table expressions."""
    for opening in ("WITH RECURSIVE ", "WITH "):
        if text.startswith(opening):
            return f"WITH RECURSIVE {PAGE_SQL}, {text.removeprefix(opening)}"
    return f"WITH {PAGE_SQL} {text}"


def _select(resource: Resource, actor: Actor, fields: Sequence[Field], *, whole: bool) -> Select[Any]:
    row = Source(resource.model)
    columns: list[ColumnElement[Any]] = [
        row.id,
        row.col("type") if resource.kinds is not None else literal_column("NULL"),
        named_urls.read(resource, row) if resource.named_url else literal_column("NULL"),
        _summaries(resource, actor, row),
        *(_cut(each, row) if not whole else each.read(row) for each in fields),
    ]
    return select(*columns).select_from(PAGE.join(row.table(), row.id == PAGE.c.id)).order_by(PAGE.c.position)


def _cut(field: Field, row: Source) -> ColumnElement[Any]:
    return field.shortened(row) if isinstance(field, String) and field.list_limit else field.read(row)


def _summaries(resource: Resource, actor: Actor, row: Source) -> ColumnElement[Any]:
    """`summary_fields` without its braces: what is NULL is left out, as AWX leaves it out."""
    entries = [entry(each.name, _summary(resource, each, row)) for each in resource.foreign_keys() if each.summary]
    entries += [entry(name, make(row, actor)) for name, make in resource.summaries.items()]
    if resource.has_roles:
        entries.append(entry("object_roles", _object_roles(resource, row)))
    if resource.capabilities:
        entries.append(entry("user_capabilities", _capabilities(resource, actor, row)))
    return func.concat_ws(key(","), *entries) if entries else key("")


def _summary(resource: Resource, reference: ForeignKey, row: Source) -> ColumnElement[Any]:
    target = resource.api[reference.target]
    other = Source(target.model)
    shown = {name: field for name in target.summary if (field := target.find_field(name)) is not None}
    body = json_object({name: _in_json(each, other) for name, each in shown.items()})
    if all(each.expression is None for each in shown.values()):
        return select(body).where(other.id == reference.raw(row)).select_from(other.table()).scalar_subquery()
    # What has to be computed is computed once per related object, not once per row that refers to it.
    mine = Source(resource.model)
    wanted = select(reference.raw(mine)).select_from(mine.table().join(PAGE, PAGE.c.id == mine.id))
    once = (
        select(other.id.label("id"), body.label("body"))
        .where(other.id.in_(wanted))
        .select_from(other.table())
        .cte(f"summary_of_{reference.name}")
        .prefix_with("MATERIALIZED")
    )
    return select(once.c.body).where(once.c.id == reference.raw(row)).scalar_subquery()


def _in_json(field: Field, row: Source) -> ColumnElement[Any]:
    return iso(field.raw(row)) if isinstance(field, DateTime) else field.raw(row)


def _capabilities(resource: Resource, actor: Actor, row: Source) -> ColumnElement[Any]:
    found = {name: permission(actor, row) for name, permission in resource.capabilities.items()}
    if all(isinstance(each, True_ | False_) for each in found.values()):
        constant = {name: isinstance(each, True_) for name, each in found.items()}
        return key(orjson.dumps(constant).decode())
    return json_object({name: func.coalesce(each, literal_column("false")) for name, each in found.items()})


def _object_roles(resource: Resource, row: Source) -> ColumnElement[Any]:
    """The roles of an object by name."""
    role = Role.__table__.alias()
    field = role.c.role_field
    shown = json_pairs(
        {
            "description": case(
                {name: text.format(resource.title) for name, (_, text) in ROLE_NAMES.items()}, value=field
            ),
            "name": case({name: title for name, (title, _) in ROLE_NAMES.items()}, value=field),
            "id": role.c.id,
        }
    )
    return (
        select(cast(func.json_object_agg(field, shown), Text))
        .where(role.c.resource_type == key(resource.type), role.c.resource_id == row.id)
        .scalar_subquery()
    )
