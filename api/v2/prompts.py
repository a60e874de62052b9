"""Bodies of actions, checked by fields that belong to no table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from api.rest.fields import Field, ForeignKey, Rejected
from core.errors import Invalid

_ID = ForeignKey("id")


@dataclass(frozen=True)
class Ids(Field):
    """A list of ids."""

    type = "list_of_ids"

    def check(self, value: Any) -> list[int]:
        if not isinstance(value, list):
            raise Rejected(f'Expected a list of items but got type "{type(value).__name__}".')
        return [found for each in value if (found := _ID.check(each)) is not None]


@dataclass(frozen=True)
class Items(Ids):
    """The same; OPTIONS calls these "field", as AWX does for labels and instance groups."""

    type = "field"


def cleaned(fields: Iterable[Field], data: Mapping[str, Any]) -> dict[str, Any]:
    """What was sent of these fields, checked. Raises Invalid."""
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for each in fields:
        if each.name not in data:
            if each.required:
                errors[each.name] = ["This field is required."]
            continue
        try:
            values[each.name] = each.clean(data[each.name])
        except Rejected as rejected:
            errors[each.name] = rejected.messages
    if errors:
        raise Invalid(fields=errors)
    return values
