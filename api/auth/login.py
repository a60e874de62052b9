"""Signing a browser in and out."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from api.auth import cookies
from api.auth.csrf import check_same_site, csrf_token
from api.auth.identify import client_ip, session_age
from api.auth.passwords import check_credentials
from api.call import Call, endpoint
from api.pages import page, wants_page
from api.responses import json_response
from core.errors import ForgeError, TooManyRequests, Unauthenticated
from models.users import create_session, end_session

LOGIN = "/api/login/"


def add_routes(app: FastAPI) -> None:
    app.add_api_route(LOGIN, endpoint(login_form, anonymous=True), methods=["GET"], tags=["Sign-in"])
    app.add_api_route(LOGIN, endpoint(login, anonymous=True), methods=["POST"], tags=["Sign-in"])
    app.add_api_route("/api/logout/", endpoint(logout, anonymous=True), methods=["POST"], tags=["Sign-in"])


def login_form(call: Call) -> Response:
    """A page to sign in for browsers; for scripts, the `csrftoken` cookie and how to sign in."""
    target = local_path(dict(call.query).get("next", ""))
    if wants_page(call.request):
        response: Response = page("login.html", next=target, username="", message="")
    else:
        response = json_response({"detail": "POST username and password, as a form or as JSON."})
    return with_csrf_cookie(call, response)


def login(call: Call) -> Response:
    """Sign in with `username` and `password`: a form is redirected to `next`, JSON is answered with JSON.

    Sets the session cookie, `csrftoken` (send it back as `X-CSRFToken` with every write) and `userLoggedIn`."""
    check_same_site(call.request)
    data = call.data()
    username, password = _text(data, "username"), _text(data, "password")
    target = local_path(_text(data, "next"))
    try:
        if not username or not password:
            raise Unauthenticated("Username and password are required.")
        user = check_credentials(call.services, username, password, client_ip(call.request))
    except (Unauthenticated, TooManyRequests) as error:
        if wants_page(call.request):
            return _page_with_error(call, error, target, username)
        raise
    call.request.state.username = user.username  # for the line in the log
    old_key = call.request.cookies.get(cookies.SESSION)
    if old_key:
        end_session(call.session, call.services.secrets, old_key)
    key = create_session(
        call.session,
        call.services.secrets,
        user.id,
        age=session_age(call.session),
        ip=client_ip(call.request),
        user_agent=call.request.headers.get("user-agent", ""),
    )
    if _sent_json(call.request):
        response = json_response({"id": user.id, "username": user.username, "next": target})
    else:
        response = RedirectResponse(target, 302)
    cookies.set_session_cookies(call.request, response, key, csrf_token(call.services.secrets, key))
    response.headers["X-API-Session-Cookie-Name"] = cookies.SESSION
    return response


def logout(call: Call) -> Response:
    """End the session, if there is one."""
    check_same_site(call.request)
    key = call.request.cookies.get(cookies.SESSION)
    if key:
        end_session(call.session, call.services.secrets, key)
    response = RedirectResponse(LOGIN, 302) if wants_page(call.request) else json_response({"detail": "Signed out."})
    cookies.clear_session_cookies(response)
    return response


def with_csrf_cookie(call: Call, response: Response) -> Response:
    key = call.request.cookies.get(cookies.SESSION)
    cookies.set_csrf_cookie(call.request, response, csrf_token(call.services.secrets, key))
    response.headers["X-API-Session-Cookie-Name"] = cookies.SESSION
    return response


def local_path(target: str) -> str:
    """`target` if it is a path of this server, else `/`: signing in must not lead to another site."""
    # Browsers read a backslash as a slash and skip control characters, so `/\\host` and `/<tab>/host` leave, too.
    leaves = not target.startswith("/") or target.startswith("//") or "\\" in target
    return "/" if leaves or not target.isprintable() else target


def _page_with_error(call: Call, error: ForgeError, target: str, username: str) -> Response:
    response = page("login.html", status=error.status, next=target, username=username, message=error.message)
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return with_csrf_cookie(call, response)


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) else ""


def _sent_json(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/json")
