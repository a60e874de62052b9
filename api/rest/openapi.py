"""OpenAPI from the declarations: every path, parameter, body and answer of the resources."""

from collections.abc import Iterable
from typing import Any

from api.rest.fields import MISSING, Choice, Field
from api.rest.options import attach_field
from api.rest.resource import Action, Api, Attached, Children, Resource, SubList

Document = dict[str, Any]

TYPES: dict[str, Document] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "id": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "datetime": {"type": "string", "format": "date-time"},
    "list_of_ids": {"type": "array", "items": {"type": "integer"}},
}
LIST_PARAMETERS: list[Document] = [
    {"name": name, "in": "query", "description": text, "schema": schema}
    for name, text, schema in (
        ("page", "Which page, from 1.", {"type": "integer", "minimum": 1}),
        ("page_size", "Objects per page.", {"type": "integer", "minimum": 1, "maximum": 200}),
        ("order_by", "Fields to order by, comma-separated; `-` turns one around.", {"type": "string"}),
        ("search", "Words that the object's texts hold.", {"type": "string"}),
        ("count_disabled", "1 saves counting: `count` is null then.", {"type": "string"}),
    )
]
FILTERS = (
    "Any field filters, also across relations: `name__icontains=web`, `organization__name=Default`, "
    "`or__id=1&or__id=2`, `not__status=failed`, `finished__isnull=true`."
)
KEY: Document = {
    "name": "pk",
    "in": "path",
    "required": True,
    "description": "The id, or the named URL's `name++organization`.",
    "schema": {"type": "string"},
}
NO_CONTENT: Document = {"204": {"description": "Done."}}


def paths(api: Api) -> Document:
    """`paths` of the document; `{path: {method: operation}}`."""
    found: Document = {}
    for resource in api.resources.values():
        if resource.routed:
            found |= _of_resource(resource)
    return found


def schemas(api: Api) -> Document:
    """`components.schemas` that the paths refer to."""
    return {resource.type: _object(resource) for resource in api.resources.values()}


def _of_resource(resource: Resource) -> Document:
    one = f"{resource.url}{{pk}}/"
    body = _body(resource.writable())
    found: Document = {}
    if resource.listed:
        found[resource.url] = {"get": _list(resource, resource, f"List {resource.title}s")}
        if resource.creatable:
            found[resource.url]["post"] = _operation(
                resource, f"Create a {resource.title}", _one(resource, "201"), body
            )
    found[one] = {"get": _operation(resource, f"Show a {resource.title}", _one(resource), keyed=True)}
    if resource.changeable:
        for method in ("put", "patch"):
            sent = body if method == "put" else _body(resource.writable(), partial=True)
            found[one][method] = _operation(resource, f"Change a {resource.title}", _one(resource), sent, keyed=True)
    if resource.deletable:
        found[one]["delete"] = _operation(resource, f"Delete a {resource.title}", NO_CONTENT, keyed=True)
    for sublist in resource.sublists:
        if sublist.target in resource.api.resources:
            found[f"{one}{sublist.path}/"] = _of_sublist(resource, sublist)
    for action in resource.actions:
        found[f"{one}{action.path}/"] = _of_action(resource, action)
    return found


def _of_sublist(resource: Resource, sublist: SubList) -> Document:
    target = resource.api[sublist.target]
    words = sublist.path.replace("_", " ")
    found = {"get": _list(resource, target, f"List the {words} of a {resource.title}", keyed=True)}
    match sublist:
        case Children(create=True) if target.creatable:
            body = _body(each for each in target.writable() if each.name != sublist.by)
            found["post"] = _operation(resource, f"Create one of the {words}", _one(target, "201"), body, keyed=True)
        case Attached(read_only=False):
            body = _body((attach_field(), *(target.writable() if sublist.create else ())), partial=True)
            answers = NO_CONTENT | (_one(target, "201") if sublist.create else {})
            found["post"] = _operation(resource, f"Attach to or detach from the {words}", answers, body, keyed=True)
    return found


def _of_action(resource: Resource, action: Action) -> Document:
    words = action.path.replace("_", " ").capitalize()
    return {
        method.lower(): _operation(
            resource,
            (handler.__doc__ or f"{words} of a {resource.title}").partition("\n")[0],
            {"2XX": {"description": "Done."}},
            _body(action.fields) if method in ("POST", "PUT") and action.fields else None,
            keyed=True,
        )
        for method, handler in action.methods.items()
    }


def _operation(
    resource: Resource, summary: str, responses: Document, body: Document | None = None, *, keyed: bool = False
) -> Document:
    made: Document = {
        "tags": [resource.name.replace("_", " ").capitalize()],
        "summary": summary,
        "parameters": [KEY] if keyed else [],
        "responses": dict(responses),
    }
    if body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return made


def _list(resource: Resource, target: Resource, summary: str, *, keyed: bool = False) -> Document:
    page = {
        "type": "object",
        "required": ["count", "next", "previous", "results"],
        "properties": {
            "count": {"type": ["integer", "null"]},
            "next": {"type": ["string", "null"]},
            "previous": {"type": ["string", "null"]},
            "results": {"type": "array", "items": _reference(target)},
        },
    }
    made = _operation(resource, summary, {"200": _answer("A page of the list.", page)}, keyed=keyed)
    made["description"] = FILTERS
    made["parameters"] = [*made["parameters"], *LIST_PARAMETERS]
    return made


def _one(resource: Resource, status: str = "200") -> Document:
    return {status: _answer(f"The {resource.title}.", _reference(resource))}


def _answer(description: str, schema: Document) -> Document:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _reference(resource: Resource) -> Document:
    return {"$ref": f"#/components/schemas/{resource.type}"}


def _object(resource: Resource) -> Document:
    properties: Document = {
        "id": {"type": "integer"},
        "type": {"type": "string", "enum": list(resource.kinds or (resource.type,))},
        "url": {"type": "string"},
        "related": {"type": "object", "additionalProperties": {"type": "string"}},
        "summary_fields": {"type": "object"},
    }
    for each in resource.shown(detail=True):
        properties[each.name] = _schema(each, nullable=True)
    return {"type": "object", "description": resource.description, "properties": properties}


def _body(fields: Iterable[Field], *, partial: bool = False) -> Document:
    fields = list(fields)
    made: Document = {
        "type": "object",
        "properties": {each.name: _schema(each, nullable=each.nullable) for each in fields},
    }
    required = [each.name for each in fields if each.required]
    return made | {"required": required} if required and not partial else made


def _schema(field: Field, *, nullable: bool) -> Document:
    if isinstance(field, Choice):
        values: list[Any] = [value for value, _ in field.choices] + [""] * field.blank + [None] * nullable
        made: Document = {"enum": list(dict.fromkeys(values))}
    else:
        made = dict(TYPES.get(field.type, {}))
        if nullable and "type" in made:
            made["type"] = [made["type"], "null"]
        limits = field.describe()
        for name, keyword in (("max_length", "maxLength"), ("min_value", "minimum"), ("max_value", "maximum")):
            if name in limits:
                made[keyword] = limits[name]
    if field.help_text:
        made["description"] = field.help_text
    if field.default is not MISSING:
        made["default"] = field.default() if callable(field.default) else field.default
    return made
