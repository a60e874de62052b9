"""Variables as users write them: JSON or YAML text that is kept as written and must hold a mapping."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import yaml

from core.errors import Invalid

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

MAX_DEPTH = 100  # of lists and mappings inside each other
MAX_VALUES = 1_000_000  # aliases counted as often as they are used: a few lines of YAML can mean billions


def parse_variables(value: str | Mapping[str, Any] | None, field: str = "variables") -> dict[str, Any]:
    """The mapping behind `value`, of nothing but what JSON knows. Raises Invalid with both parsers' words, line and
    column, under `field`."""
    if value is None or value == "":
        return {}
    if isinstance(value, Mapping):
        parsed: Any = dict(value)
    elif isinstance(value, str):
        parsed = _parse(value, field)
    else:
        raise Invalid(fields={field: ["Variables must be a JSON or YAML mapping."]})
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise Invalid(fields={field: [f"Input type `{type(parsed).__name__}` is not a dictionary"]})
    if not all(isinstance(key, str) for key in parsed):
        raise Invalid(fields={field: ["Variable names must be text."]})
    try:
        plain: dict[str, Any] = _Plain().of(parsed)
    except ValueError as error:
        raise Invalid(fields={field: [str(error)]}) from error
    return plain


def _parse(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise Invalid(fields={field: [TOO_DEEP]}) from error
    except ValueError as json_error:
        try:
            _check_depth(text)
            return yaml.load(text, Loader)
        # Beyond YAMLError: what the constructors of `!!timestamp`, `!!bool`, `!!int` make of a wrong value.
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError) as yaml_error:
            message = f"Cannot parse as JSON (error: {json_error}) or YAML (error: {yaml_error})."
            raise Invalid(fields={field: [message]}) from yaml_error


TOO_DEEP = "Variables are nested too deeply."


def _check_depth(text: str) -> None:
    """PyYAML composes nested nodes recursively in C, and ends the whole process where the stack ends. Its parser does
    not: so the nesting is counted first, in any text that is long enough to hold it."""
    if len(text) <= MAX_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Plain:
    """Reduces what YAML can mean to what JSON can hold, which is how it is stored and handed to ansible."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of(self, value: Any, depth: int = 0) -> Any:
        """Raises ValueError."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise ValueError(TOO_DEEP if depth > MAX_DEPTH else "Variables hold too many values.")
        match value:
            case None | bool() | float():
                return value
            case str():
                if not value.isascii():
                    self._check_text(value)
                return value
            case int():
                if not -(2**63) <= value < 2**64:
                    raise ValueError(f"Numbers beyond 64 bits have to be written as text: {str(value)[:40]}.")
                return value
            case dict():
                return {self._key(key): self.of(item, depth + 1) for key, item in value.items()}
            case list() | tuple():
                return [self.of(item, depth + 1) for item in value]
            case datetime() | date():
                return value.isoformat()
        raise ValueError(f"Values of type `{type(value).__name__}` are not supported.")

    def _key(self, key: Any) -> str:
        """As JSON would have it."""
        match key:
            case str():
                self._check_text(key)
                return key
            case None | bool():
                return json.dumps(key)
            case int() | float() | date():
                return str(key)
        raise ValueError(f"Keys of type `{type(key).__name__}` are not supported.")

    def _check_text(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("Variables hold half of a surrogate pair.") from None
