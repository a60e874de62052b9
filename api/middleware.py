"""What every request gets: an id, the headers that clients and browsers expect, one line in the log."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import unexpected
from core.version import VERSION

logger = logging.getLogger("forge.access")

# awxkit and the awx.awx collection talk to products they know by name.
PRODUCT = "AWX"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SENSITIVE = re.compile(rb"(?i)((?:^|&)[^=&]*(?:password|passwd|secret|token|key|code|credential)[^=&]*=)[^&]*")
PAGE_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class Envelope:
    """Pure ASGI: it costs microseconds and never touches the bodies."""

    def __init__(self, app: ASGIApp, node: str) -> None:
        self.app = app
        self.node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get("x-api-request-id", ""))
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-API-Request-Id"] = request_id
                headers["X-API-Product-Name"] = PRODUCT
                headers["X-API-Product-Version"] = VERSION
                headers["X-API-Node"] = self.node
                headers["X-API-Time"] = f"{time.perf_counter() - began:.3f}s"
                _protect(headers)
            await send(message)

        inner = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        if scope["method"] == "HEAD":
            inner["method"] = "GET"  # the server below leaves the body out
        try:
            await self.app(inner, receive, send_with_headers)
        except ClientDisconnect:
            pass  # nobody is left to answer to; the log's line has status 0
        except Exception as error:
            if status:
                raise  # half an answer is out; the connection must break
            await unexpected(error, request_id)(inner, receive, send_with_headers)
        finally:
            _log(scope, inner["state"].get("username"), status, time.perf_counter() - began, request_id)


def _request_id(sent: str) -> str:
    return sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def _protect(headers: MutableHeaders) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
    if headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)


def _log(scope: Scope, username: str | None, status: int, seconds: float, request_id: str) -> None:
    target = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    if scope["query_string"]:
        target += "?" + SENSITIVE.sub(rb"\1***", scope["query_string"]).decode("ascii", "backslashreplace")
    client = scope["client"][0] if scope.get("client") else "-"
    logger.info(
        "%s %s %d %.0fms user=%s ip=%s id=%s",
        scope["method"],
        target,
        status,
        seconds * 1000,
        username or "-",
        client,
        request_id,
    )
