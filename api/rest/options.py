"""What OPTIONS answers. awxkit builds its whole command line from it, browsers their forms."""

from collections.abc import Iterable, Mapping
from typing import Any

from api.rest.fields import MISSING, Choice, Field, Integer, String
from api.rest.resource import Attached, Resource
from models.access import IMPLIED

MAX_PAGE_SIZE = 200

Description = dict[str, Any]


def describe(
    resource: Resource,
    *,
    name: str,
    methods: Mapping[str, Iterable[Field]],
    description: str = "",
    detail: bool = False,
) -> Description:
    """`methods` maps POST or PUT to the fields of their bodies; what the caller may not do is not in it."""
    actions: Description = {"GET": {each.name: _read(resource, each) for each in _shown(resource, detail=detail)}}
    for method, fields in methods.items():
        actions[method] = {each.name: _written(resource, each) for each in fields}
    answer = _head(name, description or resource.description) | {"actions": actions}
    answer["types"] = sorted(resource.kinds) if resource.kinds is not None else [resource.type]
    answer["search_fields"] = list(resource.search)
    answer["related_search_fields"] = [f"{relation}__search" for relation in resource.all_relations]
    if resource.has_roles:
        answer["object_roles"] = list(IMPLIED[resource.type])
    return answer | {"max_page_size": MAX_PAGE_SIZE}


def describe_action(
    resource: Resource, name: str, description: str, methods: Mapping[str, Iterable[Field]]
) -> Description:
    answer = _head(name, description)
    if methods:
        answer["actions"] = {
            method: {each.name: _written(resource, each) for each in fields} for method, fields in methods.items()
        }
    answer["types"] = [resource.type]
    if resource.has_roles:
        answer["object_roles"] = list(IMPLIED[resource.type])
    return answer


def _head(name: str, description: str) -> Description:
    return {
        "name": name,
        "description": description,
        "renders": ["application/json"],
        "parses": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
    }


def attach_field() -> Field:
    """An `id` in a body says: this is a list to attach to."""
    return Integer("id", help_text="ID of the object to attach, or to detach with `disassociate`.")


def written_fields(resource: Resource, sublist: object = None) -> list[Field]:
    """What a POST takes: to a list, or to a sub-list."""
    fields = resource.writable()
    if not isinstance(sublist, Attached):
        return fields
    return [attach_field(), *fields] if sublist.create else [attach_field()]


def _shown(resource: Resource, *, detail: bool) -> list[Field]:
    kinds = tuple((kind, kind.replace("_", " ").title()) for kind in (resource.kinds or (resource.type,)))
    title = resource.title
    first: list[Field] = [
        resource.all_fields["id"],
        Choice("type", read_only=True, choices=kinds, help_text=f"Data type for this {title}."),
        String("url", read_only=True, label="URL", help_text=f"URL for this {title}."),
        _Structure("related", read_only=True, help_text="Data structure with URLs of related resources."),
        _Structure(
            "summary_fields",
            read_only=True,
            help_text="Data structure with name/description for related resources.  "
            "The output for some objects may be limited for performance reasons.",
        ),
    ]
    return first + resource.shown(detail=detail)


class _Structure(Field):
    type = "object"


def _read(resource: Resource, each: Field) -> Description:
    found = _common(resource, each)
    found["filterable"] = each.filterable and not each.secret and each.name not in ("url", "related", "summary_fields")
    return found


def _written(resource: Resource, each: Field) -> Description:
    found = {"type": each.type, "required": each.required} | _common(resource, each)
    if each.default is not MISSING:
        found["default"] = each.default() if callable(each.default) else each.default
    if each.write_only:
        found["write_only"] = True
    found["filterable"] = each.filterable and not each.secret and not each.write_only
    return found


def _common(resource: Resource, each: Field) -> Description:
    found: Description = {"type": each.type, "label": each.label or each.name.replace("_", " ").capitalize()}
    help_text = each.help_text or _help(resource, each)
    if help_text:
        found["help_text"] = help_text
    return found | each.describe()


def _help(resource: Resource, each: Field) -> str:
    known = {
        "name": f"Name of this {resource.title}.",
        "description": f"Optional description of this {resource.title}.",
    }
    return known.get(each.name, "")
