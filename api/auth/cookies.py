"""The three cookies of a signed-in browser.

None has an age: the server alone decides when a session ends, and slides that moment without a new cookie."""

from fastapi import Request, Response

SESSION = "forge_sessionid"
CSRF = "csrftoken"
LOGGED_IN = "userLoggedIn"


def set_csrf_cookie(request: Request, response: Response, token: str) -> None:
    _set(request, response, CSRF, token, httponly=False)


def set_session_cookies(request: Request, response: Response, key: str, token: str) -> None:
    _set(request, response, SESSION, key, httponly=True)
    _set(request, response, LOGGED_IN, "true", httponly=False)
    set_csrf_cookie(request, response, token)


def clear_session_cookies(response: Response) -> None:
    for name in (SESSION, LOGGED_IN, CSRF):
        response.delete_cookie(name)


def _set(request: Request, response: Response, name: str, value: str, *, httponly: bool) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, path="/", secure=secure, httponly=httponly, samesite="lax")
