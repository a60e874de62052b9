"""Signing a browser in and out, as awxkit, scripts and people without JavaScript do it."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import select, update

from api.auth.login import local_path
from core.db import Database
from models.base import now
from models.settings import Setting
from models.users import FAILURES_PER_USER, User, UserSession

PASSWORD = "correct horse"
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    return make_user(PASSWORD)


def sign_in(client: httpx.Client, user: User) -> httpx.Response:
    answer = client.post("/api/login/", json={"username": user.username, "password": PASSWORD})
    assert answer.status_code == 200
    return answer


def write_headers(client: httpx.Client) -> dict[str, str]:
    return {"X-CSRFToken": client.cookies["csrftoken"], "Referer": f"{client.base_url}/api/v2/tokens/"}


def cookie_lines(answer: httpx.Response) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in answer.headers.get_list("Set-Cookie")}


class TestLoginForm:
    def test_a_script_gets_json_and_the_csrf_cookie(self, anonymous: httpx.Client) -> None:
        answer = anonymous.get("/api/login/", headers={"Accept": "application/json, text/plain, */*"})

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert "HttpOnly" not in cookie_lines(answer)["csrftoken"]
        assert answer.headers["X-API-Session-Cookie-Name"] == "forge_sessionid"

    def test_a_browser_gets_a_page_that_needs_no_script(self, anonymous: httpx.Client) -> None:
        answer = anonymous.get("/api/login/?next=/api/v2/me/%22%3E", headers=PAGE)

        assert answer.headers["Content-Type"].startswith("text/html")
        assert '<form method="post" action="/api/login/">' in answer.text
        assert 'value="/api/v2/me/&#34;&gt;"' in answer.text
        assert "<script" not in answer.text


class TestLogin:
    def test_a_form_is_redirected_with_all_cookies(self, anonymous: httpx.Client, user: User) -> None:
        before = anonymous.get("/api/").cookies["csrftoken"]

        answer = anonymous.post(
            "/api/login/", data={"username": user.username, "password": PASSWORD, "next": "/api/v2/config/?a=1"}
        )

        assert (answer.status_code, answer.headers["Location"]) == (302, "/api/v2/config/?a=1")
        assert answer.headers["X-API-Session-Cookie-Name"] == "forge_sessionid"
        lines = cookie_lines(answer)
        assert set(lines) == {"forge_sessionid", "csrftoken", "userLoggedIn"}
        assert "HttpOnly" in lines["forge_sessionid"]
        assert "HttpOnly" not in lines["csrftoken"] + lines["userLoggedIn"]
        assert all("SameSite=lax" in line for line in lines.values())
        assert answer.cookies["userLoggedIn"] == "true"
        assert answer.cookies["csrftoken"] != before
        assert anonymous.get("/api/v2/config/").status_code == 200

    def test_next_is_the_front_door_by_default(self, anonymous: httpx.Client, user: User) -> None:
        answer = anonymous.post("/api/login/", data={"username": user.username, "password": PASSWORD})

        assert answer.headers["Location"] == "/"

    def test_json_is_answered_with_json(self, anonymous: httpx.Client, user: User) -> None:
        answer = sign_in(anonymous, user)

        assert answer.json()["username"] == user.username
        assert anonymous.get("/api/v2/config/").status_code == 200

    @pytest.mark.parametrize(
        "body", [{"password": "wrong"}, {"password": ""}, {}, {"password": ["x"]}, {"username": "nobody"}]
    )
    def test_failure_is_401_without_cookies(self, anonymous: httpx.Client, user: User, body: dict[str, str]) -> None:
        answer = anonymous.post("/api/login/", json={"username": user.username, **body})

        assert answer.status_code == 401
        assert "detail" in answer.json()
        assert not anonymous.cookies

    def test_failure_shows_a_browser_the_form_again(self, anonymous: httpx.Client, user: User) -> None:
        form = {"username": user.username, "password": "wrong", "next": "/api/v2/"}
        answer = anonymous.post("/api/login/", data=form, headers=PAGE)

        assert answer.status_code == 401
        assert "Invalid username/password." in answer.text
        assert f'value="{user.username}"' in answer.text
        assert 'value="/api/v2/"' in answer.text
        assert "wrong" not in answer.text

    def test_after_many_failures_even_the_right_password_must_wait(self, anonymous: httpx.Client, user: User) -> None:
        for _ in range(FAILURES_PER_USER):
            anonymous.post("/api/login/", json={"username": user.username, "password": "wrong"})

        answer = anonymous.post("/api/login/", json={"username": user.username, "password": PASSWORD})

        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 300
        basic = anonymous.get("/api/v2/config/", auth=(user.username, PASSWORD))
        assert basic.status_code == 429

    def test_another_site_cannot_sign_a_browser_in(self, anonymous: httpx.Client, user: User) -> None:
        body = {"username": user.username, "password": PASSWORD}
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Referer": "https://evil.example/login"},
        ):
            assert anonymous.post("/api/login/", data=body, headers=headers).status_code == 403

    def test_ends_the_session_it_replaces(self, anonymous: httpx.Client, user: User) -> None:
        sign_in(anonymous, user)
        old = anonymous.cookies["forge_sessionid"]
        sign_in(anonymous, user)

        assert anonymous.cookies["forge_sessionid"] != old
        assert httpx.get(f"{anonymous.base_url}/api/v2/config/", cookies={"forge_sessionid": old}).status_code == 401

    def test_notes_when_and_from_where(self, anonymous: httpx.Client, user: User, database: Database) -> None:
        began = now()
        sign_in(anonymous, user)

        with database.transaction() as session:
            row = session.scalars(select(UserSession).where(UserSession.user_id == user.id)).one()
            last_login = session.scalar(select(User.last_login).where(User.id == user.id))
        assert (row.ip, row.user_agent.partition("/")[0]) == ("127.0.0.1", "python-httpx")
        assert last_login is not None
        assert last_login >= began


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("/api/v2/?a=1#b", "/api/v2/?a=1#b"),
        ("/", "/"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_only_local_paths_are_followed(target: str, result: str) -> None:
    assert local_path(target) == result


class TestSessions:
    def test_ends_when_it_was_not_used_for_its_age(
        self, anonymous: httpx.Client, user: User, database: Database
    ) -> None:
        sign_in(anonymous, user)
        with database.transaction() as session:
            session.execute(update(UserSession).where(UserSession.user_id == user.id).values(expires=now()))

        answer = anonymous.get("/api/v2/config/")

        assert answer.status_code == 401
        assert "/api/login/" in answer.json()["detail"]

    def test_age_is_a_setting(self, anonymous: httpx.Client, user: User, database: Database) -> None:
        with database.transaction() as session:
            session.add(Setting(key="SESSION_COOKIE_AGE", value=60))
        try:
            sign_in(anonymous, user)
        finally:
            with database.transaction() as session:
                session.delete(session.get_one(Setting, "SESSION_COOKIE_AGE"))

        with database.transaction() as session:
            expires = session.scalars(select(UserSession.expires).where(UserSession.user_id == user.id)).one()
        assert (expires - now()).total_seconds() <= 60

    def test_logout_ends_it_and_clears_the_cookies(self, anonymous: httpx.Client, user: User) -> None:
        sign_in(anonymous, user)
        key = anonymous.cookies["forge_sessionid"]

        answer = anonymous.post("/api/logout/", headers=write_headers(anonymous))

        assert answer.status_code == 200
        assert not anonymous.cookies
        assert httpx.get(f"{anonymous.base_url}/api/v2/config/", cookies={"forge_sessionid": key}).status_code == 401

    def test_logout_without_a_session_is_fine(self, anonymous: httpx.Client) -> None:
        assert anonymous.post("/api/logout/").status_code == 200
        assert anonymous.post("/api/logout/", headers=PAGE).headers["Location"] == "/api/login/"
