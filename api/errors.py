"""How errors leave the server: one handler turns the tree of `core.errors` into AWX's JSON shapes.

Here are also the few errors that only HTTP knows. Whatever is not ours becomes a 500 that names the request, is
logged with its traceback and tells the caller nothing else."""

import logging
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Match

from api.auth.csrf import SAFE_METHODS
from api.responses import json_response
from core.errors import Conflict, ForgeError, Invalid, Refused, TooManyRequests, Unauthenticated, Unavailable

logger = logging.getLogger("forge.api")

# The challenge is always Bearer: a Basic one would make browsers ask for a password and keep it.
CHALLENGE = 'Bearer realm="api"'
UNIQUE_VIOLATION = "23505"
NOT_NULL_VIOLATION = "23502"
CHECK_VIOLATION = "23514"


class TooLarge(ForgeError):
    status = 413
    code = "too_large"


class UnsupportedMediaType(ForgeError):
    status = 415
    code = "unsupported_media_type"


def install(app: FastAPI) -> None:
    app.add_exception_handler(ForgeError, _forge_error)
    app.add_exception_handler(HTTPException, _routing_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(PoolTimeout, _pool_exhausted)


def error_response(error: ForgeError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    body: dict[str, Any] = {"detail": error.message}
    if isinstance(error, Invalid) and error.fields:
        body = dict(error.fields)
    elif isinstance(error, Refused):
        body["reasons"] = error.reasons
    return json_response(body, status=error.status, headers=headers)


def unexpected(error: Exception, request_id: str) -> Response:
    """The answer to a defect of ours; the log has the rest under the same id."""
    logger.error("request %s failed", request_id, exc_info=error)
    return json_response({"detail": "An internal error occurred.", "request_id": request_id}, status=500)


def _forge_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ForgeError)
    return error_response(error)


def _routing_error(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        if f"{path}/".startswith("/api/") and not path.endswith("/") and _methods(request, path + "/"):
            if request.method in SAFE_METHODS:
                query = f"?{request.url.query}" if request.url.query else ""
                return RedirectResponse(f"{quote(path)}/{query}", 301)
            return json_response({"detail": f"Not found. Did you mean {path}/ with a slash at the end?"}, status=404)
        return json_response({"detail": "The requested resource could not be found."}, status=404)
    if error.status_code == 405:
        methods = _methods(request, path) | {"OPTIONS"}
        headers = {"Allow": ", ".join(sorted(methods))}
        if request.method == "OPTIONS":
            return json_response(_description(path), headers=headers)
        return json_response({"detail": f'Method "{request.method}" not allowed.'}, status=405, headers=headers)
    return json_response({"detail": error.detail}, status=error.status_code, headers=error.headers)


def _methods(request: Request, path: str) -> set[str]:
    """What a path takes, over all its routes (Starlette itself names those of the first one only)."""
    scope = {**request.scope, "path": path}
    matching = [route for route in request.app.routes if route.matches(scope)[0] is not Match.NONE]
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


def _description(path: str) -> dict[str, Any]:
    """The answer to OPTIONS where no resource declares fields."""
    return {
        "name": path.strip("/").rpartition("/")[2].replace("_", " ").title(),
        "description": "",
        "renders": ["application/json"],
        "parses": ["application/json"],
    }


def _database_error(request: Request, error: Exception) -> Response:
    """The net below the validation: what PostgreSQL refused and nobody had foreseen or could foresee (a race)."""
    assert isinstance(error, DBAPIError)
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        logger.error("database unavailable: %s", error.orig)
        return error_response(
            Unavailable("The database does not answer. Try again shortly; an administrator may run `forge doctor`.")
        )
    if isinstance(error, DataError):
        logger.warning("refused by the database: %s", error.orig)
        return error_response(Invalid("A value is out of range or malformed."))
    if isinstance(error, IntegrityError):
        return error_response(_integrity_error(error))
    return unexpected(error, request.state.request_id)


def _integrity_error(error: IntegrityError) -> ForgeError:
    diagnostics = getattr(error.orig, "diag", None)
    constraint = getattr(diagnostics, "constraint_name", None) or ""
    code = getattr(error.orig, "pgcode", None)
    logger.warning("refused by the database: %s %s", code, constraint)
    if code == UNIQUE_VIOLATION:
        return Invalid(fields={"__all__": ["An object with these values already exists."]})
    if code == NOT_NULL_VIOLATION:
        return Invalid(fields={getattr(diagnostics, "column_name", None) or "__all__": ["This field is required."]})
    if code == CHECK_VIOLATION:
        return Invalid(fields={"__all__": ["These values do not go together."]})
    return Conflict("Another object that this one refers to, or that refers to it, stands in the way.")


def _pool_exhausted(_request: Request, error: Exception) -> Response:
    logger.error("no database connection became free: %s", error)
    return error_response(Unavailable("The server is overloaded: no database connection became free. Try again."))
