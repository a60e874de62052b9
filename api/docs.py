"""The documentation of the API: OpenAPI as JSON, and the same as one readable page without scripts."""

import re
from collections import defaultdict
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from api.call import Call, endpoint
from api.pages import page
from api.responses import json_response
from api.rest import openapi as resource_docs
from api.v2.resources import API
from core.version import VERSION

DESCRIPTION = (
    "An automation controller whose every run is a durable workflow. The resources are those of AWX; its command "
    "line and its Ansible collection work unchanged."
)
SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "From `POST /api/v2/tokens/`."},
    "basic": {"type": "http", "scheme": "basic"},
    "session": {"type": "apiKey", "in": "cookie", "name": "forge_sessionid", "description": "From `/api/login/`."},
}
METHODS = ("get", "post", "put", "patch", "delete")


def add_routes(app: FastAPI) -> None:
    app.add_api_route("/api/docs/", endpoint(docs, anonymous=True), methods=["GET"], include_in_schema=False)
    app.add_api_route("/api/openapi.json", endpoint(schema, anonymous=True), methods=["GET"], include_in_schema=False)


def schema(call: Call) -> Response:
    """OpenAPI 3.1."""
    return json_response(openapi(call.request.app))


def docs(call: Call) -> Response:
    """Every operation, by family."""
    document = openapi(call.request.app)
    families: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                families[operations[method].get("tags", ["Other"])[0]].append(_entry(path, method, operations[method]))
    origin = str(call.request.base_url).rstrip("/")
    return page("docs.html", origin=origin, info=document["info"], families=sorted(families.items()))


def _entry(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    """One operation as the page shows it; `inputs` are (name, where or type, required, meaning)."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = content.get("schema", {})
    parameters = [(each["name"], each["in"], False, each.get("description", "")) for each in operation["parameters"]]
    fields = [
        (name, _type_of(field), name in body.get("required", ()), field.get("description", ""))
        for name, field in body.get("properties", {}).items()
    ]
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "inputs": parameters + fields,
    }


def _type_of(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(str(value) for value in field["enum"] if value not in ("", None))
    types = field.get("type", "any")
    return types if isinstance(types, str) else " or ".join(types)


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, made once: routes do not change while a server runs."""
    if app.openapi_schema is None:
        document = get_openapi(title="Forge", version=VERSION, description=DESCRIPTION, routes=app.routes)
        document["components"] = {"schemas": resource_docs.schemas(API), "securitySchemes": SECURITY}
        document["security"] = [{name: []} for name in SECURITY]
        paths: dict[str, Any] = document["paths"]
        for operations in paths.values():
            for operation in operations.values():
                _split_docstring(operation)
        for path, operations in resource_docs.paths(API).items():
            written = paths.setdefault(path, {})
            for method, operation in operations.items():
                # A route that stands before the resource's own gives the words, the resource the fields.
                words = {key: written[method][key] for key in ("summary", "description")} if method in written else {}
                written[method] = operation | words
        for path, operations in paths.items():
            for method, operation in operations.items():
                _complete(path, method, operation)
        app.openapi_schema = document
    return app.openapi_schema


def _split_docstring(operation: dict[str, Any]) -> None:
    """The first line sums up; FastAPI would make a title out of the function's name."""
    summary, _, rest = operation.get("description", "").partition("\n")
    operation.update(summary=summary, description=rest.strip())


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """What FastAPI cannot see, because handlers take a Call: path parameters, and what a refusal looks like."""
    operation["operationId"] = re.sub(r"\W+", "_", f"{method} {path}").strip("_")
    declared = {each["name"] for each in operation.get("parameters", ())}
    operation.setdefault("parameters", []).extend(
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", path)
        if name not in declared
    )
    operation["responses"]["4XX"] = {"description": 'Refused: `{"detail": ...}`, or messages per field.'}
