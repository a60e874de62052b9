"""OAuth2 tokens: personal ones, shown in clear once, when they are made."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Response
from sqlalchemy import ColumnElement, Text, case, cast, literal, null

from api.call import Call, endpoint
from api.responses import json_response
from api.rest import options
from api.rest.fields import Computed, DateTime, ForeignKey, Rejected, String
from api.rest.permissions import either, superuser
from api.rest.reader import Reader
from api.rest.resource import Resource
from api.rest.source import Source
from api.rest.views import parent_id
from api.v2.users import users
from core.errors import Forbidden, Invalid, NotFound
from models.access import Actor
from models.base import now
from models.settings import get_setting
from models.users import OAuth2Token, create_token

HIDDEN = "************"
SCOPES = ("read", "write")


def add_routes(app: FastAPI) -> None:
    """The POSTs, and what OPTIONS says of a user's; everything else is the resource's. They stand before its own, which
    would never show the token."""
    app.add_api_route("/api/v2/tokens/", endpoint(create), methods=["POST"], tags=["Sign-in"])
    for path in ("tokens", "personal_tokens"):
        route = f"/api/v2/users/{{pk}}/{path}/"
        app.add_api_route(route, endpoint(create_for_user), methods=["POST"], tags=["Sign-in"])
        app.add_api_route(route, endpoint(describe_for_user), methods=["OPTIONS"], include_in_schema=False)


def create(call: Call) -> Response:
    """A token for the caller: `description`, and `scope` read or write. The answer is the only place that shows it."""
    values = _clean(call.data())
    age = timedelta(seconds=get_setting(call.session, "OAUTH2_ACCESS_TOKEN_EXPIRE_SECONDS"))
    row, token = create_token(call.session, call.services.secrets, call.actor.id, expires=now() + age, **values)
    shown = Reader(tokens, call.actor).one(call.session, row.id) | {"token": token}
    return json_response(shown, status=201, headers={"Location": shown["url"]})


def create_for_user(call: Call) -> Response:
    """The same, under the caller's own id or user name; nobody makes tokens for others."""
    if parent_id(call, users) != call.actor.id:
        raise Forbidden()
    return create(call)


def describe_for_user(call: Call) -> Response:
    """A user who does not exist answers too, as everywhere."""
    try:
        own = parent_id(call, users) == call.actor.id
    except NotFound:
        own = False
    described = options.describe(tokens, name="User Tokens List", methods={"POST": tokens.writable()} if own else {})
    return json_response(described, headers={"Allow": f"GET, {'POST, ' if own else ''}HEAD, OPTIONS"})


def _clean(data: Mapping[str, Any]) -> dict[str, str]:
    """Raises Invalid."""
    values: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    for each in tokens.writable():
        try:
            values[each.name] = each.clean(data.get(each.name, each.default))
        except Rejected as rejected:
            errors[each.name] = rejected.messages
    if data.get("application") not in (None, ""):
        errors["application"] = [f'Invalid pk "{data["application"]}" - object does not exist.']
    if errors:
        raise Invalid(fields=errors)
    return values


class Scope(String):
    def check(self, value: Any) -> str:
        words = super().check(value).split()
        if not words or not set(words) <= set(SCOPES):
            raise Rejected(f"Must be a simple space-separated string with allowed scopes {list(SCOPES)}.")
        return " ".join(words)


def _own(actor: Actor, row: Source) -> ColumnElement[bool]:
    return row.col("user_id") == actor.id


def _hidden_if_any(row: Source) -> ColumnElement[Any]:
    return case((row.col("refresh_token_hash").is_not(None), HIDDEN), else_=cast(null(), Text))


_own_or_superuser = either(superuser, _own)

tokens = Resource(
    "tokens",
    "o_auth2_access_token",
    OAuth2Token,
    (
        String("description", default="", trim=False),
        ForeignKey("user", target="users", read_only=True),
        Computed("token", kind="string", read_only=True, expression=lambda _row: literal(HIDDEN), filterable=False),
        Computed("refresh_token", read_only=True, expression=_hidden_if_any, filterable=False),
        ForeignKey("application", target="applications", read_only=True),
        DateTime("expires", read_only=True),
        DateTime("last_used", read_only=True),
        Scope("scope", default="write", help_text="Allowed scopes: 'read' and 'write'."),
    ),
    description="Personal access tokens, sent as `Authorization: Bearer <token>`.",
    read=_own_or_superuser,
    change=_own_or_superuser,
    delete=_own_or_superuser,
    may_create=lambda _call: True,
    capabilities={"edit": _own_or_superuser, "delete": _own_or_superuser},
    search=("description",),
)
