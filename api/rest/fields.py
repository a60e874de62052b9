"""What a resource consists of. A field knows how it is read (a SQL expression), checked, filtered and described.

The messages of the checks are those of AWX, which clients show to their users."""

import json
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Double, Text, and_, case, cast, func

from api.rest.source import Source
from core.errors import Invalid
from models.variables import parse_variables

MAX_INTEGER = 2**31 - 1


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()  # "no default", where None is one


class Rejected(Exception):
    """A value that a field does not take; the messages are for the caller."""

    def __init__(self, *messages: str) -> None:
        super().__init__(*messages)
        self.messages = list(messages)


def label_of(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Field:
    """`expression` replaces the column of the same name; `detail_only` keeps it out of lists. A `secret` is never
    read from the database here, and nobody can filter or order by it."""

    name: str
    _: KW_ONLY
    label: str = ""
    help_text: str = ""
    read_only: bool = False
    write_only: bool = False
    required: bool = False
    nullable: bool = False
    default: Any = MISSING
    expression: Callable[[Source], ColumnElement[Any]] | None = None
    detail_only: bool = False
    shown: bool = True  # False: for filters, links and summaries only
    filterable: bool = True
    secret: bool = False

    type: ClassVar[str] = "field"
    as_json: ClassVar[bool] = False  # the database's text goes into the answer as it is

    @property
    def attribute(self) -> str:
        """The mapped attribute that holds the value."""
        return self.name

    def raw(self, row: Source) -> ColumnElement[Any]:
        """What filters compare with and lists are ordered by."""
        return self.expression(row) if self.expression is not None else row.col(self.attribute)

    def read(self, row: Source) -> ColumnElement[Any]:
        """What a SELECT asks for."""
        return cast(self.raw(row), Text) if self.as_json else self.raw(row)

    def clean(self, value: Any) -> Any:
        """The value to store. Raises Rejected."""
        if value is None:
            if self.nullable:
                return None
            raise Rejected("This field may not be null.")
        return self.check(value)

    def check(self, value: Any) -> Any:
        return value

    def describe(self) -> dict[str, Any]:
        """What OPTIONS says of it, beyond what all fields share."""
        return {}


@dataclass(frozen=True)
class String(Field):
    """`list_limit` is how many characters lists show, unless `no_truncate` is asked for; less than 1 is all of them."""

    max_length: int | None = None
    blank: bool = True
    trim: bool = True
    list_limit: Callable[[], ColumnElement[int]] | None = None

    type = "string"

    def shortened(self, row: Source) -> ColumnElement[str]:
        assert self.list_limit is not None
        value, limit = self.raw(row), self.list_limit()
        short = func.concat(func.left(value, limit - 1), "\u2026")
        return case((and_(limit > 0, func.length(value) > limit), short), else_=value)

    def check(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Rejected("Not a valid string.")
        text = str(value)
        if self.trim:
            text = text.strip()
        if not text and not self.blank:
            raise Rejected("This field may not be blank.")
        if self.max_length is not None and len(text) > self.max_length:
            raise Rejected(f"Ensure this field has no more than {self.max_length} characters.")
        return text

    def describe(self) -> dict[str, Any]:
        return {} if self.max_length is None else {"max_length": self.max_length}


@dataclass(frozen=True)
class Integer(Field):
    min_value: int | None = None
    max_value: int = MAX_INTEGER

    type = "integer"

    def check(self, value: Any) -> int:
        return _bounded(self, _integer(value, "A valid integer is required."))

    def describe(self) -> dict[str, Any]:
        limits = {"min_value": self.min_value, "max_value": self.max_value if self.max_value < MAX_INTEGER else None}
        return {name: limit for name, limit in limits.items() if limit is not None}


def _integer(value: Any, message: str) -> int:
    if isinstance(value, bool):
        raise Rejected(message)
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        return int(value)
    try:
        if isinstance(value, int) or (isinstance(value, str) and len(value) < 20):
            return int(value)
    except ValueError:
        pass
    raise Rejected(message)


def _bounded(field: Integer, number: int) -> int:
    if field.min_value is not None and number < field.min_value:
        raise Rejected(f"Ensure this value is greater than or equal to {field.min_value}.")
    if number > field.max_value:
        raise Rejected(f"Ensure this value is less than or equal to {field.max_value}.")
    if number < -MAX_INTEGER:
        raise Rejected(f"Ensure this value is greater than or equal to {-MAX_INTEGER}.")
    return number


@dataclass(frozen=True)
class Number(Field):
    """A decimal, shown as a JSON number."""

    min_value: float | None = None
    max_value: float | None = None

    type = "decimal"

    def read(self, row: Source) -> ColumnElement[Any]:
        return cast(self.raw(row), Double)

    def check(self, value: Any) -> Decimal:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            raise Rejected("A valid number is required.") from None
        if isinstance(value, bool) or not number.is_finite():
            raise Rejected("A valid number is required.")
        if self.min_value is not None and number < Decimal(str(self.min_value)):
            raise Rejected(f"Ensure this value is greater than or equal to {self.min_value}.")
        if self.max_value is not None and number > Decimal(str(self.max_value)):
            raise Rejected(f"Ensure this value is less than or equal to {self.max_value}.")
        return number

    def describe(self) -> dict[str, Any]:
        limits = {"min_value": self.min_value, "max_value": self.max_value}
        return {name: limit for name, limit in limits.items() if limit is not None}


TRUE = (True, 1, "1", "true", "True", "TRUE", "t", "yes", "on")
FALSE = (False, 0, "0", "false", "False", "FALSE", "f", "no", "off")


@dataclass(frozen=True)
class Boolean(Field):
    type = "boolean"

    def check(self, value: Any) -> bool:
        if isinstance(value, bool | int | str):
            if value in TRUE:
                return True
            if value in FALSE:
                return False
        raise Rejected("Must be a valid boolean.")


Choices = tuple[tuple[Any, str], ...]


def choices(*values: str | int | tuple[Any, str]) -> Choices:
    """(value, label) pairs; the label of a bare value is its words with a capital."""
    return tuple(value if isinstance(value, tuple) else (value, label_of(str(value))) for value in values)


@dataclass(frozen=True)
class Choice(Field):
    choices: Choices = ()
    blank: bool = False  # takes "" although it is none of the choices

    type = "choice"

    def check(self, value: Any) -> Any:
        for known, _label in self.choices:
            if not isinstance(value, bool) and (value == known or (isinstance(known, int) and value == str(known))):
                return known
        if value == "" and self.blank:
            return ""
        raise Rejected(f'"{value}" is not a valid choice.')

    def describe(self) -> dict[str, Any]:
        blank = [["", "---------"]] if self.blank else []
        return {"choices": blank + [[value, label] for value, label in self.choices]}


@dataclass(frozen=True)
class DateTime(Field):
    type = "datetime"

    def read(self, row: Source) -> ColumnElement[Any]:
        """In UTC, whatever the time zone of the database's session."""
        return func.timezone("UTC", self.raw(row))


@dataclass(frozen=True)
class Json(Field):
    """A JSON object (or list, with `kind=list`) in a column of its own type. Takes JSON text as well."""

    kind: type[dict[str, Any]] | type[list[Any]] = dict

    type = "json"
    as_json = True

    def check(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else self.kind()
            except (ValueError, RecursionError):
                raise Rejected("Value must be valid JSON.") from None
        if not isinstance(value, self.kind):
            expected = "dictionary" if self.kind is dict else "list"
            raise Rejected(f'Expected a {expected} of items but got type "{type(value).__name__}".')
        return value


@dataclass(frozen=True)
class Variables(Field):
    """JSON or YAML text that holds a mapping; kept as written. A mapping in the body becomes JSON text."""

    type = "json"

    def check(self, value: Any) -> str:
        try:
            parse_variables(value, self.name)
        except Invalid as error:
            raise Rejected(*error.fields[self.name]) from error
        return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class ForeignKey(Field):
    """A reference to another resource, shown as its id.

    `use` names the role on the target that a caller needs to point at it ("read_role" unless said otherwise).
    `summary` gives it a place in `summary_fields`, `link` one in `related`; `column` is its attribute where that is not
    `<name>_id`."""

    target: str = ""
    column: str = ""
    use: str = "read_role"
    summary: bool = True
    link: bool = True

    type = "id"

    @property
    def attribute(self) -> str:
        return self.column or f"{self.name}_id"

    def check(self, value: Any) -> int | None:
        if self.nullable and value in ("", "null"):
            return None
        return _integer(value, f"Incorrect type. Expected pk value, received {type(value).__name__}.")


@dataclass(frozen=True)
class Computed(Field):
    """Read-only, out of an expression. `kind` is what OPTIONS calls its type."""

    read_only: bool = True
    kind: str = "field"
    json: bool = False

    @property
    def type(self) -> str:  # type: ignore[override]
        return self.kind

    @property
    def as_json(self) -> bool:  # type: ignore[override]
        return self.json


def to_python(kind: type, text: str) -> Any:
    """A query string's value as the Python type of a column. Raises ValueError."""
    if kind is bool:
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise ValueError("not a boolean")
    if kind is int:
        number = int(text)
        if abs(number) > 2**63 - 1:
            raise ValueError("out of range")
        return number
    if kind in (Decimal, float):
        decimal = Decimal(text) if _is_number(text) else None
        if decimal is None or not decimal.is_finite():
            raise ValueError("not a number")
        return decimal
    if kind is datetime:
        return _timestamp(text)
    return text


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True


def _timestamp(text: str) -> datetime:
    """ISO 8601; a bare date is its midnight, a time without a zone is UTC."""
    try:
        value = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        value = datetime.combine(date.fromisoformat(text), time())
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def read_only(field: type[Field], *names: str, **options: Any) -> tuple[Field, ...]:
    """Several read-only fields of one kind, none of them special."""
    return tuple(field(name, read_only=True, **options) for name in names)


def booleans(*names: str) -> tuple[Field, ...]:
    """Writable booleans that are off unless switched on."""
    return tuple(Boolean(name, default=False) for name in names)
