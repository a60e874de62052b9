"""Named URLs: `Deploy++Default` in place of an id. Parts are joined by ++, the parts of a part by +, as in AWX."""

from urllib.parse import quote

from sqlalchemy import ColumnElement, String, and_, cast, false, func, literal, true

from api.rest.filters import Conjunction, column_at, compare, resolve
from api.rest.resource import Resource
from api.rest.source import Source
from models.access import Actor

SEPARATOR = "\x1f"  # between the values in SQL's answer; no name contains it
RESERVED = ";/?:@=&[]%"
PLUS = "[+]"


def encode(resource: Resource, values: str) -> str:
    """The named URL of an object, from the text that `read` asks the database for."""
    found = iter(values.split(SEPARATOR))
    parts = ("+".join(_quote(next(found)) for _path in part) for part in resource.named_url)
    return f"{resource.url}{'++'.join(parts)}/"


def read(resource: Resource, row: Source) -> ColumnElement[str]:
    """All values that the name consists of, in one text."""
    paths = [path for part in resource.named_url for path in part]
    columns = (column_at(resource, row, resolve(resource, path)[0], None) for path in paths)
    values = [func.coalesce(cast(each, String), "") for each in columns]
    return func.concat_ws(SEPARATOR, *values)


def matches(resource: Resource, row: Source, actor: Actor, key: str) -> ColumnElement[bool]:
    """The condition that the row is the one that `key` (an id or a name) stands for."""
    if key.isascii() and key.isdigit():
        return row.id == int(key) if len(key) < 11 else false()
    parts = [part.split("+") for part in key.replace(PLUS, "\0").split("++")]
    if not resource.named_url or [len(part) for part in parts] != [len(part) for part in resource.named_url]:
        return false()
    conditions: list[ColumnElement[bool]] = []
    for paths, values in zip(resource.named_url, parts, strict=True):
        for path, value in zip(paths, values, strict=True):
            target, _ = resolve(resource, path)
            one = Conjunction(resource, row, actor)
            if value:
                one.add(target, "exact", value.replace("\0", "+"))
            elif target.relations:  # an empty part: the object has no such relation
                conditions.append(compare(resource, row, target.relations[0], "isnull", "true"))
            else:
                conditions.append(column_at(resource, row, target, actor) == literal(""))
            conditions.append(one.clause())
    return and_(true(), *conditions)


def _quote(value: str) -> str:
    for character in "%" + RESERVED.replace("%", ""):
        value = value.replace(character, quote(character, safe=""))
    return value.replace("+", PLUS)
