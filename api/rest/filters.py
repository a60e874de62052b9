"""From the query string to WHERE and ORDER BY, whatever the depth: every relation on a path is one IN over a subselect.

Conditions that are all to hold together are gathered in a tree, so that `groups__name=a&groups__id=3` speaks of one
group, as in AWX; each `or__`, `not__` and `chain__` condition stands for itself.

A filter or an order sees no more than its caller: what is reached over a relation must be readable for them, unless all
that is asked of it stands in `summary_fields` anyway. Else everybody could guess at everybody's names and variables,
by way of what all have in common (`credential_types/?credentials__name__startswith=a`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, false, func, literal, not_, or_, select, true
from sqlalchemy.types import JSON, NullType

from api.rest.fields import ForeignKey, to_python
from api.rest.resource import Relation, Resource
from api.rest.source import Source
from core.errors import Forbidden, Invalid
from models.access import IMPLIED, Actor, may

RESERVED = frozenset(
    {"page", "page_size", "format", "order", "order_by", "count_disabled", "no_truncate", "host_filter", "validate"}
)
NONE = ("none", "null", "None", "")
MAX_DEPTH = 8  # relations on one path; more is no question anybody asks
MAX_CONDITIONS = 100  # of one query

Pairs = Sequence[tuple[str, str]]


def _like(make: Callable[[ColumnElement[str], str], ColumnElement[bool]]) -> Callable[[Any, str], ColumnElement[bool]]:
    def compare(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
        return make(column if isinstance(column.type, String) else cast(column, String), value)

    return compare


# Lookups that compare text, whatever the column is.
TEXT_LOOKUPS: dict[str, Callable[[Any, str], ColumnElement[bool]]] = {
    "iexact": _like(lambda column, value: func.lower(column) == func.lower(value)),
    "contains": _like(lambda column, value: column.contains(value, autoescape=True)),
    "icontains": _like(lambda column, value: column.icontains(value, autoescape=True)),
    "startswith": _like(lambda column, value: column.startswith(value, autoescape=True)),
    "istartswith": _like(lambda column, value: column.istartswith(value, autoescape=True)),
    "endswith": _like(lambda column, value: column.endswith(value, autoescape=True)),
    "iendswith": _like(lambda column, value: column.iendswith(value, autoescape=True)),
    "regex": _like(lambda column, value: column.op("~")(value)),
    "iregex": _like(lambda column, value: column.op("~*")(value)),
}
# The value as a parameter: SQLAlchemy takes a bare True for SQL's keyword, and compares that for equality only.
ORDER_LOOKUPS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "gt": lambda column, value: column > literal(value),
    "gte": lambda column, value: column >= literal(value),
    "lt": lambda column, value: column < literal(value),
    "lte": lambda column, value: column <= literal(value),
}
LOOKUPS = frozenset({"exact", "in", "isnull", "search", *TEXT_LOOKUPS, *ORDER_LOOKUPS})


@dataclass(frozen=True)
class Path:
    """Where a key leads: over relations to a field of the last resource (`field` "" when only the relation matters)."""

    relations: tuple[str, ...]
    target: Resource
    field: str


def resolve(resource: Resource, key: str) -> tuple[Path, str]:
    """A key without its prefixes -> the path and the lookup. Raises Invalid for a field that does not exist, Forbidden
    for a secret one."""
    parts = key.split("__")
    lookup = "exact"
    if len(parts) > 1 and parts[-1] in LOOKUPS:
        lookup = parts.pop()
    if len(parts) > MAX_DEPTH:
        raise Invalid(f"The filter {key} spans too many relations.")
    relations: list[str] = []
    node = resource
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if last and lookup != "search" and (name := _field(node, part)):
            return Path(tuple(relations), node, name), lookup
        relation = node.all_relations.get(part)
        if relation is None:
            if not last and part in node.all_fields:
                raise Invalid(f"{node.model.__name__}.{part} has no lookup '{parts[position + 1]}'")
            raise Invalid(f"{node.model.__name__} has no field named '{part}'")
        relations.append(part)
        node = node.api[relation.target]
    return Path(tuple(relations), node, "" if lookup == "search" else "id"), lookup


def _field(resource: Resource, name: str) -> str | None:
    if name == "pk":
        return "id"
    if name == "type":
        return "type"
    field = resource.find_field(name)
    if field is None or field.write_only:
        return None
    if field.secret or not field.filterable:
        raise Forbidden(f"Filtering on {name} is not allowed.")
    return field.name


def compare(resource: Resource, row: Source, name: str, lookup: str, text: str) -> ColumnElement[bool]:
    """One condition on one row. Raises Invalid for a value that does not fit."""
    if name == "type":
        return _compare_type(resource, row, lookup, text)
    column = resource.all_fields[name].raw(row)
    if lookup == "isnull":
        return column.is_(None) if _value(bool, name, text) else column.is_not(None)
    if lookup in TEXT_LOOKUPS:
        return TEXT_LOOKUPS[lookup](column, text)
    kind = _python_type(column)
    if lookup == "in":
        wanted = [_value(kind, name, each) for each in text.split(",")]
        return (cast(column, String) if kind is dict else column).in_(wanted)
    if lookup == "exact" and text in NONE and kind is not str:
        return column.is_(None)
    if kind is dict:
        column = cast(column, String)
    value = _value(kind, name, text)
    return ORDER_LOOKUPS[lookup](column, value) if lookup in ORDER_LOOKUPS else column == value


def _compare_type(resource: Resource, row: Source, lookup: str, text: str) -> ColumnElement[bool]:
    if lookup not in ("exact", "in"):
        raise Invalid(f"type cannot be filtered by {lookup}.")
    wanted = text.split(",")
    if resource.kinds is not None:
        return row.col("type").in_(wanted)
    return true() if resource.type in wanted else false()


def _python_type(column: ColumnElement[Any]) -> type:
    if isinstance(column.type, JSON):
        return dict
    if isinstance(column.type, NullType):
        return str
    return column.type.python_type


def _value(kind: type, name: str, text: str) -> Any:
    try:
        return to_python(kind, text)
    except (ValueError, OverflowError) as error:
        noun = {bool: "boolean", int: "integer"}.get(kind, "date" if kind.__name__ == "datetime" else "number")
        raise Invalid(f"'{text}' is not a valid {noun} for {name}.") from error


def is_summarized(resource: Resource, relation: str, names: Sequence[str]) -> bool:
    """Whether objects of the resource show these fields of what the relation leads to in their `summary_fields`."""
    reference = resource.all_fields.get(relation)
    if not isinstance(reference, ForeignKey) or not reference.summary:
        return False
    return set(names) <= {"id", *resource.api[reference.target].summary}


class Conjunction:
    """Conditions that one row, and one row of each relation on the way, must meet together."""

    def __init__(self, resource: Resource, row: Source, actor: Actor) -> None:
        self.resource = resource
        self.row = row
        self.actor = actor
        self.guarded = False  # the row must be readable
        self.conditions: list[ColumnElement[bool]] = []
        self.related: dict[str, tuple[Relation, Conjunction]] = {}

    def add(self, path: Path, lookup: str, text: str) -> None:
        if lookup == "isnull" and path.relations and _value(bool, path.field, text):
            # "Nothing there" is also true when there is no row at all on the way.
            present = Conjunction(self.resource, self.row, self.actor)
            present.add(path, "isnull", "false")
            self.conditions.append(negated(present.clause()))
            return
        names = path.target.search if lookup == "search" else (path.field,)
        node = self
        for position, name in enumerate(path.relations, 1):
            shown = position == len(path.relations) and is_summarized(node.resource, name, names)
            node = node.child(name)
            node.guarded |= not shown
        if lookup == "search":
            node.conditions.append(search_condition(node.resource, node.row, self.actor, text))
        else:
            node.conditions.append(compare(node.resource, node.row, path.field, lookup, text))

    def child(self, name: str) -> "Conjunction":
        if name not in self.related:
            relation = self.resource.all_relations[name]
            target = self.resource.api[relation.target]
            self.related[name] = relation, Conjunction(target, Source(target.model), self.actor)
        return self.related[name][1]

    def clause(self) -> ColumnElement[bool]:
        nested = [relation.matches(self.row, node.row, node.clause()) for relation, node in self.related.values()]
        readable = self.resource.read(self.actor, self.row) if self.guarded else true()
        return and_(readable, *self.conditions, *nested)


def negated(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """What is unknown (NULL) does not meet the condition, so it meets its opposite."""
    return not_(func.coalesce(condition, false()))


def search_condition(resource: Resource, row: Source, actor: Actor, text: str) -> ColumnElement[bool]:
    """Some search field contains the text, whatever the case."""
    found = []
    for key in resource.search:
        path, _ = resolve(resource, key)
        one = Conjunction(resource, row, actor)
        one.add(path, "icontains", text)
        found.append(one.clause())
    return or_(false(), *found)


def where(resource: Resource, row: Source, actor: Actor, query: Pairs) -> list[ColumnElement[bool]]:
    """The conditions of a query string. Raises Invalid, Forbidden."""
    asked = [(key, text) for key, text in query if key not in RESERVED]
    words = (len(text.replace(",", " ").split()) if key.endswith("search") else 1 for key, text in asked)
    _refuse_too_many(sum(words), "conditions")
    together = Conjunction(resource, row, actor)
    alone: list[ColumnElement[bool]] = []
    any_of: list[ColumnElement[bool]] = []
    for key, text in asked:
        if key == "search":
            alone += [search_condition(resource, row, actor, term) for term in text.replace(",", " ").split()]
            continue
        if key == "role_level" and resource.has_roles:
            alone.append(_role_level(resource, row, actor, text))
            continue
        name, is_or, is_not, is_chain = _prefixes(key)
        path, lookup = resolve(resource, name)
        if not (is_or or is_not or is_chain):
            for term in _terms(lookup, text):
                together.add(path, lookup, term)
            continue
        single = Conjunction(resource, row, actor)
        for term in _terms(lookup, text):
            single.add(path, lookup, term)
        condition = negated(single.clause()) if is_not else single.clause()
        (any_of if is_or else alone).append(condition)
    if any_of:
        alone.append(or_(*any_of))
    return [together.clause(), *alone]


def _terms(lookup: str, text: str) -> list[str]:
    return text.split(",") if lookup == "search" else [text]


def _prefixes(key: str) -> tuple[str, bool, bool, bool]:
    """The key without its prefixes, and which there were: or__, not__, chain__."""
    found = dict.fromkeys(("or__", "not__", "chain__"), False)
    while prefix := next((each for each, seen in found.items() if key.startswith(each) and not seen), None):
        found[prefix] = True
        key = key.removeprefix(prefix)
    return key, found["or__"], found["not__"], found["chain__"]


def _role_level(resource: Resource, row: Source, actor: Actor, level: str) -> ColumnElement[bool]:
    if level not in IMPLIED[resource.type]:
        raise Invalid(f"{resource.model.__name__} has no role named '{level}'")
    organization = row.col("organization_id") if "organization" in resource.all_fields else None
    return may(actor, resource.type, level, row.id, organization)


def _refuse_too_many(count: int, noun: str) -> None:
    """Each may be a subselect, which takes long to put together alone. Raises Invalid."""
    if count > MAX_CONDITIONS:
        raise Invalid(f"The query has {count} {noun}: no more than {MAX_CONDITIONS} are allowed.")


def asked_order(query: Pairs) -> list[str]:
    return [name for key, text in query if key in ("order_by", "order") for name in text.split(",") if name]


def order_by(resource: Resource, row: Source, actor: Actor, names: Sequence[str]) -> list[ColumnElement[Any]]:
    """Always ending in the id, so that pages do not overlap. Raises Invalid."""
    _refuse_too_many(len(names), "fields to order by")
    clauses: list[ColumnElement[Any]] = []
    for name in names:
        column = _sort_column(resource, row, actor, name.lstrip("-"))
        clauses.append(column.desc() if name.startswith("-") else column.asc())
    if not any(name.lstrip("-") in ("id", "pk") for name in names):
        clauses.append(row.id.asc())
    return clauses


def _sort_column(resource: Resource, row: Source, actor: Actor, key: str) -> ColumnElement[Any]:
    path, lookup = resolve(resource, key)
    if lookup != "exact":
        raise Invalid(f"Cannot order by {key}.")
    return column_at(resource, row, path, actor)


def column_at(resource: Resource, row: Source, path: Path, actor: Actor | None) -> ColumnElement[Any]:
    """The value at the end of a path over foreign keys, NULL where the actor may not see it (None: whoever looks).
    Raises Invalid when the path leads to many rows."""
    if not path.relations:
        if path.field == "type":
            return row.col("type") if resource.kinds is not None else row.id
        return resource.all_fields[path.field].raw(row)
    name, *rest = path.relations
    relation = resource.all_relations[name]
    if relation.via is not None or relation.remote != "id":
        raise Invalid(f"Cannot order by {name}: it is a list.")
    target = resource.api[relation.target]
    other = Source(target.model)
    value = column_at(target, other, Path(tuple(rest), path.target, path.field), actor)
    found = select(value).where(other.id == row.col(relation.local))
    if actor is not None and (rest or not is_summarized(resource, name, (path.field,))):
        found = found.where(target.read(actor, other))
    return found.select_from(other.table()).scalar_subquery()
