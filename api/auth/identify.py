"""From a request to whoever sent it.

An Authorization header counts before a session cookie; a wrong one is refused and never falls back to the cookie."""

import base64
from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request
from sqlalchemy.orm import Session

from api.auth import cookies
from api.auth.csrf import SAFE_METHODS, check_csrf
from api.auth.passwords import check_credentials
from api.services import Services
from core.errors import Forbidden, Unauthenticated
from models.access import Actor
from models.settings import get_setting
from models.users import find_session, find_token

NOT_SIGNED_IN = (
    "Authentication credentials were not provided. To establish a login session, visit /api/login/."  # AWX's words
)


@dataclass(frozen=True)
class Identity:
    """`session_id` is the browser session's, if it is one."""

    actor: Actor
    session_id: int | None = None


def identify(session: Session, services: Services, request: Request) -> Identity:
    """Whoever sent a request without Basic credentials. Raises Unauthenticated, Forbidden."""
    scheme, value = _authorization(request)
    if scheme == "bearer":
        return _by_token(session, services, request, value)
    if scheme:
        raise Unauthenticated(f"Unknown authorization scheme {scheme!r}: use Bearer or Basic.")
    key = request.cookies.get(cookies.SESSION)
    if key:
        return _by_session(session, services, request, key)
    raise Unauthenticated(NOT_SIGNED_IN)


def verify_basic(services: Services, request: Request) -> Identity | None:
    """Whoever sent Basic credentials; None if there are none. Raises Unauthenticated, TooManyRequests."""
    scheme, value = _authorization(request)
    if scheme != "basic":
        return None
    try:
        username, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError as error:
        raise Unauthenticated("Invalid basic header. Credentials not correctly base64 encoded.") from error
    if not colon or "\0" in username:
        raise Unauthenticated("Invalid basic header. Credentials not correctly base64 encoded.")
    with services.database.transaction() as session:
        if not get_setting(session, "AUTH_BASIC_ENABLED"):
            raise Unauthenticated("Basic authentication is switched off on this server: use a token.")
    return Identity(Actor.of(check_credentials(services, username, password, client_ip(request))))


def session_age(session: Session) -> timedelta:
    return timedelta(seconds=get_setting(session, "SESSION_COOKIE_AGE"))


def client_ip(request: Request) -> str:
    return request.client.host if request.client else ""


def _authorization(request: Request) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), value.strip()


def _by_token(session: Session, services: Services, request: Request, token: str) -> Identity:
    found = find_token(session, services.secrets, token)
    if found is None:
        raise Unauthenticated("The token is unknown or has expired.")
    row, user = found
    if "write" not in row.scope.split() and request.method not in SAFE_METHODS:
        raise Forbidden("This token may only read.")
    return Identity(Actor.of(user))


def _by_session(session: Session, services: Services, request: Request, key: str) -> Identity:
    found = find_session(session, services.secrets, key, age=session_age(session))
    if found is None:
        raise Unauthenticated(NOT_SIGNED_IN)
    check_csrf(request, services.secrets, key)
    row, user = found
    return Identity(Actor.of(user), row.id)
