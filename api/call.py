"""One API call: who calls, with what, in which transaction. Every handler takes a `Call` and returns a `Response`.

The body is read on the event loop; the handler then runs in a thread, inside one transaction that is committed before
the response leaves, so that a client that reads after a 201 finds the row."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson
from anyio import to_thread
from fastapi import Request, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from api.auth.identify import NOT_SIGNED_IN, Identity, identify, verify_basic
from api.errors import TooLarge, UnsupportedMediaType
from api.services import Services
from core.errors import ForgeError, Invalid, NotFound, Unauthenticated
from models.access import Actor

logger = logging.getLogger("forge.api")

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_FORM_FIELDS = 1000
NULL_CHARACTERS = "Null characters are not allowed."
ATTEMPTS = 3  # of a transaction that PostgreSQL ended in favour of another one
TRY_AGAIN = ("40001", "40P01")  # serialization failure, deadlock

Handler = Callable[["Call"], Response]
Route = Callable[[Request], Awaitable[Response]]


class Call:
    """What a handler gets. `services` are the process's; everything else belongs to this one request."""

    def __init__(
        self, request: Request, services: Services, session: Session, body: "Body", identity: Identity | None
    ) -> None:
        self.request = request
        self.services = services
        self.session = session
        self.identity = identity
        self.actions: list[Callable[[], None]] = []
        self._body = body

    @property
    def actor(self) -> Actor:
        """Whoever calls. Raises Unauthenticated in an anonymous endpoint."""
        if self.identity is None:
            raise Unauthenticated(NOT_SIGNED_IN)
        return self.identity.actor

    @property
    def path(self) -> dict[str, str]:
        """The `{parameters}` of the route, as text. Raises NotFound."""
        parameters = dict(self.request.path_params)
        if _has_null(parameters):
            raise NotFound("Not found.")
        return parameters

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query string in order, repeated keys and empty values included. Raises Invalid."""
        pairs = parse_qsl(self.request.url.query, keep_blank_values=True)
        if _has_null(pairs):
            raise Invalid(NULL_CHARACTERS)
        return pairs

    def data(self) -> dict[str, Any]:
        """The parsed body, {} if there is none; values of a form are text. Raises Invalid, UnsupportedMediaType."""
        return self._body.parsed()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` after the commit and before the response, in this thread.

        A ForgeError becomes the response. Anything else is only logged: the row is committed, and what should have
        followed is found and done by the periodic sweep."""
        self.actions.append(action)


def endpoint(handler: Handler, *, anonymous: bool = False) -> Route:
    """A FastAPI route function for `handler`. An anonymous endpoint looks at no credentials at all."""

    async def route(request: Request) -> Response:
        body = await Body.read(request)
        return await to_thread.run_sync(_run, handler, request, body, anonymous)

    # FastAPI follows functools.wraps to the handler's signature, so its name and documentation are copied by hand.
    route.__name__ = handler.__name__
    route.__doc__ = handler.__doc__
    return route


def _run(handler: Handler, request: Request, body: "Body", anonymous: bool) -> Response:
    services: Services = request.app.state.services
    # Hashing a password takes tens of milliseconds, so it comes before the transaction and holds no connection.
    verified = None if anonymous else verify_basic(services, request)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with services.database.transaction() as session:
                identity = None if anonymous else verified or identify(session, services, request)
                request.state.username = identity.actor.username if identity else ""
                call = Call(request, services, session, body, identity)
                response = handler(call)
            break
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) not in TRY_AGAIN or attempt == ATTEMPTS:
                raise
            logger.warning("transaction of %s %s starts again: %s", request.method, request.url.path, error.orig)
    for action in call.actions:
        try:
            action()
        except ForgeError:
            raise
        except Exception:
            logger.exception("after the commit of %s %s", request.method, request.url.path)
    return response


class Body:
    """The raw body and how to understand it."""

    def __init__(self, content_type: str, raw: bytes, form: dict[str, Any] | None = None) -> None:
        self._content_type = content_type
        self._raw = raw
        self._parsed = form

    @classmethod
    async def read(cls, request: Request) -> "Body":
        """Raises TooLarge before the memory is used, UnsupportedMediaType for files."""
        content_type = request.headers.get("content-type", "")
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise TooLarge(f"The body is larger than {MAX_BODY_BYTES // 1024**2} MB.")
        return cls(content_type, bytes(raw), await cls._multipart(request, content_type, bytes(raw)))

    @staticmethod
    async def _multipart(request: Request, content_type: str, raw: bytes) -> dict[str, Any] | None:
        if _media_type(content_type) != "multipart/form-data" or not raw:
            return None

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async with Request(request.scope, receive).form(max_files=0, max_fields=MAX_FORM_FIELDS) as form:
            fields = {key: value for key, value in form.items() if not isinstance(value, UploadFile)}
        if _has_null(fields):
            raise Invalid(NULL_CHARACTERS)
        return fields

    def parsed(self) -> dict[str, Any]:
        if self._parsed is None:
            self._parsed = self._parse()
        return self._parsed

    def _parse(self) -> dict[str, Any]:
        if not self._raw.strip():
            return {}
        match _media_type(self._content_type):
            case "application/json":
                return _parse_json(self._raw)
            case "application/x-www-form-urlencoded":
                return _parse_form(self._raw)
            case other:
                raise UnsupportedMediaType(f'Unsupported media type "{other}" in request.')


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse_json(raw: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"JSON parse error - {error}") from error
    if not isinstance(data, dict):
        raise Invalid("JSON parse error - not a JSON object")
    if b"\\u0000" in raw and _has_null(data):
        raise Invalid(NULL_CHARACTERS)
    return data


def _parse_form(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise Invalid(f"Form parse error - {error}") from error
    if _has_null(pairs):
        raise Invalid(NULL_CHARACTERS)
    return dict(pairs)


def _has_null(value: Any) -> bool:
    """A null character anywhere inside: PostgreSQL's text cannot hold it."""
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or _has_null(item) for key, item in value.items())
        case list() | tuple():
            return any(map(_has_null, value))
        case _:
            return False
