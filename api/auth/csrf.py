"""Protection of cookie sessions against requests that another site makes a browser send.

The token of a session is a keyed hash of the session's key: nothing to store, new with every login, and useless with
any other session. Anonymous visitors get a random one, because clients expect the cookie before they sign in."""

import hmac
import secrets as random
from urllib.parse import urlsplit

from fastapi import Request

from core.crypto import Secrets
from core.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}


def csrf_token(secrets: Secrets, session_key: str | None) -> str:
    return secrets.fingerprint(f"csrf:{session_key}") if session_key else random.token_hex(32)


def check_csrf(request: Request, secrets: Secrets, session_key: str) -> None:
    """Raises Forbidden unless the request is safe, or comes from our own pages with the session's token."""
    if request.method in SAFE_METHODS:
        return
    check_same_site(request)
    sent = request.headers.get("x-csrftoken", "")
    if not sent:
        raise Forbidden("CSRF Failed: CSRF token missing.")
    if not hmac.compare_digest(sent.encode(), csrf_token(secrets, session_key).encode()):
        raise Forbidden("CSRF Failed: CSRF token incorrect.")


def check_same_site(request: Request) -> None:
    """Raises Forbidden when the browser says that another site's page sent this."""
    origin = request.headers.get("origin")
    source = origin if origin is not None else request.headers.get("referer")
    if source is not None and _address(source) != _address(f"{request.url.scheme}://{request.headers.get('host', '')}"):
        raise Forbidden(f"CSRF Failed: {'Origin' if origin is not None else 'Referer'} checking failed.")


def _address(url: str) -> tuple[str | None, int | None] | None:
    """Host and port; None for what is no web address (an opaque origin is the word null)."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
