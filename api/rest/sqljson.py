"""JSON that the database puts together, as text that goes into the answer as it is."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal_column
from sqlalchemy.dialects.postgresql import JSON, aggregate_order_by

ISO = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


def key(name: str) -> ColumnElement[str]:
    """A constant text, a key of `json_build_object` most of the time."""
    return literal_column("'" + name.replace("'", "''") + "'", Text)


def iso(column: ColumnElement[Any]) -> ColumnElement[str]:
    """A timestamp as the API shows it."""
    return func.to_char(func.timezone("UTC", column), ISO)


def json_object(pairs: Mapping[str, ColumnElement[Any]]) -> ColumnElement[str]:
    """An object as text."""
    return cast(json_pairs(pairs), Text)


def json_pairs(pairs: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    """An object as JSON."""
    arguments = [argument for name, value in pairs.items() for argument in (key(name), value)]
    return func.json_build_object(*arguments)


def json_list(item: ColumnElement[Any], *order: ColumnElement[Any]) -> ColumnElement[Any]:
    """A list of the items of a group, in order; [] for none."""
    return func.coalesce(func.json_agg(aggregate_order_by(item, *order)), literal_column("'[]'::json", JSON))


def counted(results: ColumnElement[Any]) -> ColumnElement[str]:
    """`{"count", "results"}` around a list, as text."""
    return json_object({"count": func.json_array_length(results), "results": results})


def entry(name: str, value: ColumnElement[Any]) -> ColumnElement[str]:
    """One key of an object that is being put together as text; NULL when the value is."""
    return key(f'"{name}":').op("||", return_type=Text())(value)
