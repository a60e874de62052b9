"""Who is recognised by what: session with CSRF token, Basic, bearer token."""

import base64
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Response

from api.app import create_app
from api.call import Call, endpoint
from api.responses import json_response
from api.services import Services
from core.db import Database
from models.settings import Setting
from models.users import User, hash_password

PASSWORD = "correct horse"
HINT = "Authentication credentials were not provided. To establish a login session, visit /api/login/."


def whoami(call: Call) -> Response:
    return json_response({"username": call.actor.username})


@pytest.fixture(scope="session")
def url(services: Services, serving: Callable[[FastAPI], Iterator[str]]) -> Iterator[str]:
    """A server whose /api/whoami/ takes every method."""
    app = create_app(services)
    app.add_api_route("/api/whoami/", endpoint(whoami), methods=["GET", "POST", "DELETE"])
    app.add_api_route("/api/nobody/", endpoint(whoami, anonymous=True), methods=["GET"])
    with serving(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    return make_user(PASSWORD)


def change(database: Database, user: User, **values: object) -> None:
    with database.transaction() as session:
        row = session.get_one(User, user.id)
        for name, value in values.items():
            setattr(row, name, value)


class TestNobody:
    def test_is_told_where_to_sign_in(self, client: httpx.Client) -> None:
        answer = client.get("/api/whoami/")

        assert (answer.status_code, answer.json()) == (401, {"detail": HINT})
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'

    def test_has_no_actor_where_everybody_may_come(self, client: httpx.Client) -> None:
        assert client.get("/api/nobody/").json() == {"detail": HINT}

    def test_bad_credentials_do_not_matter_where_none_are_needed(self, client: httpx.Client) -> None:
        for value in ("Bearer nonsense", "Basic !", "Negotiate x"):
            assert client.get("/api/v2/ping/", headers={"Authorization": value}).status_code == 200

    def test_unknown_scheme_is_refused(self, client: httpx.Client) -> None:
        assert client.get("/api/whoami/", headers={"Authorization": "Negotiate x"}).status_code == 401


class TestBasic:
    def test_right_password(self, client: httpx.Client, user: User) -> None:
        answer = client.post("/api/whoami/", auth=(user.username, PASSWORD))

        assert answer.json() == {"username": user.username}
        assert not client.cookies

    @pytest.mark.parametrize(
        "value",
        ["!", base64.b64encode(b"no colon").decode(), base64.b64encode(b"\xff:x").decode(), "dQA6cA=="],
    )
    def test_what_is_not_basic_is_401(self, client: httpx.Client, value: str) -> None:
        answer = client.get("/api/whoami/", headers={"Authorization": f"Basic {value}"})

        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("Invalid basic header.")

    def test_wrong_password_is_401_and_a_session_does_not_help(self, client: httpx.Client, user: User) -> None:
        client.post("/api/login/", json={"username": user.username, "password": PASSWORD})

        answer = client.get("/api/whoami/", auth=(user.username, "wrong"))

        assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid username/password."})

    def test_the_second_call_pays_no_hash(
        self, client: httpx.Client, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.get("/api/whoami/", auth=(user.username, PASSWORD))

        monkeypatch.setattr("api.auth.verified.check_password", lambda *_: pytest.fail("hashed again"))

        assert client.get("/api/whoami/", auth=(user.username, PASSWORD)).status_code == 200

    def test_a_changed_password_counts_at_once(self, client: httpx.Client, user: User, database: Database) -> None:
        assert client.get("/api/whoami/", auth=(user.username, PASSWORD)).status_code == 200
        with database.transaction() as session:
            session.get_one(User, user.id).password = hash_password("battery staple")

        assert client.get("/api/whoami/", auth=(user.username, PASSWORD)).status_code == 401
        assert client.get("/api/whoami/", auth=(user.username, "battery staple")).status_code == 200

    def test_a_disabled_user_is_out_at_once(self, client: httpx.Client, user: User, database: Database) -> None:
        assert client.get("/api/whoami/", auth=(user.username, PASSWORD)).status_code == 200
        change(database, user, is_active=False)

        assert client.get("/api/whoami/", auth=(user.username, PASSWORD)).status_code == 401

    def test_can_be_switched_off(self, client: httpx.Client, user: User, database: Database) -> None:
        with database.transaction() as session:
            session.add(Setting(key="AUTH_BASIC_ENABLED", value=False))
        try:
            answer = client.get("/api/whoami/", auth=(user.username, PASSWORD))
        finally:
            with database.transaction() as session:
                session.delete(session.get_one(Setting, "AUTH_BASIC_ENABLED"))

        assert answer.status_code == 401
        assert "switched off" in answer.json()["detail"]


class TestTokens:
    def test_a_token_acts_for_its_user(self, make_client: Callable[..., httpx.Client], user: User, url: str) -> None:
        bearer = make_client(user).headers["Authorization"]

        answer = httpx.post(f"{url}/api/whoami/", headers={"Authorization": bearer})

        assert answer.json() == {"username": user.username}

    def test_scope_read_may_not_write(self, make_client: Callable[..., httpx.Client], user: User, url: str) -> None:
        headers = {"Authorization": make_client(user, scope="read").headers["Authorization"]}

        assert httpx.get(f"{url}/api/whoami/", headers=headers).status_code == 200
        assert httpx.delete(f"{url}/api/whoami/", headers=headers).status_code == 403

    def test_unknown_one_is_401_in_json(self, client: httpx.Client) -> None:
        answer = client.get("/api/whoami/", headers={"Authorization": "Bearer nonsense"})

        assert (answer.status_code, answer.json()) == (401, {"detail": "The token is unknown or has expired."})


class TestCsrf:
    @pytest.fixture(autouse=True)
    def _signed_in(self, client: httpx.Client, user: User) -> None:
        client.post("/api/login/", json={"username": user.username, "password": PASSWORD})

    def test_reading_needs_no_token(self, client: httpx.Client, user: User) -> None:
        assert client.get("/api/whoami/").json() == {"username": user.username}

    def test_writing_needs_the_token(self, client: httpx.Client, user: User) -> None:
        missing = client.post("/api/whoami/")
        right = client.post("/api/whoami/", headers={"X-CSRFToken": client.cookies["csrftoken"]})

        assert (missing.status_code, missing.json()) == (403, {"detail": "CSRF Failed: CSRF token missing."})
        assert right.json() == {"username": user.username}

    def test_a_token_of_another_session_does_not_count(self, client: httpx.Client, url: str) -> None:
        planted = httpx.get(f"{url}/api/").cookies["csrftoken"]

        answer = client.post("/api/whoami/", headers={"X-CSRFToken": planted, "Cookie": f"csrftoken={planted}"})

        assert answer.status_code in (401, 403)
        answer = client.post("/api/whoami/", headers={"X-CSRFToken": planted})
        assert (answer.status_code, answer.json()) == (403, {"detail": "CSRF Failed: CSRF token incorrect."})

    @pytest.mark.parametrize(
        ("header", "value"),
        [("Origin", "https://evil.example"), ("Origin", "null"), ("Referer", "http://127.0.0.1.evil.example/")],
    )
    def test_another_site_is_refused_even_with_the_token(self, client: httpx.Client, header: str, value: str) -> None:
        answer = client.post("/api/whoami/", headers={"X-CSRFToken": client.cookies["csrftoken"], header: value})

        assert answer.status_code == 403

    def test_our_own_pages_are_not(self, client: httpx.Client) -> None:
        token = {"X-CSRFToken": client.cookies["csrftoken"]}
        own = str(client.base_url).rstrip("/")

        assert client.post("/api/whoami/", headers=token | {"Origin": own}).status_code == 200
        assert client.post("/api/whoami/", headers=token | {"Referer": f"{own}/x"}).status_code == 200

    def test_a_lost_csrf_cookie_is_given_again(self, client: httpx.Client) -> None:
        before = client.cookies["csrftoken"]
        client.cookies.delete("csrftoken")

        client.get("/api/")

        assert client.cookies["csrftoken"] == before
