"""Tokens over the API: shown once, for their owner only."""

from collections.abc import Callable
from datetime import datetime

import httpx
import pytest

from models.base import now
from models.users import User

PASSWORD = "correct horse"


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    return make_user(PASSWORD)


@pytest.fixture
def client(make_client: Callable[..., httpx.Client], user: User) -> httpx.Client:
    return make_client(user)


class TestCreate:
    def test_shows_the_token_once(self, anonymous: httpx.Client, user: User) -> None:
        basic = (user.username, PASSWORD)
        answer = anonymous.post("/api/v2/tokens/", json={"description": "ci", "scope": "write"}, auth=basic)

        assert answer.status_code == 201
        made = answer.json()
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert anonymous.get("/api/v2/me/", headers=headers).json()["results"][0]["id"] == user.id
        again = anonymous.get(made["url"], headers=headers).json()
        assert again["token"] == "************"
        assert again["refresh_token"] is None
        assert {**again, "token": "", "last_used": ""} == {**made, "token": "", "last_used": ""}
        assert again["summary_fields"]["user"]["username"] == user.username
        assert datetime.fromisoformat(again["expires"]) > now()

    def test_as_awx_login_does_it(self, anonymous: httpx.Client, user: User) -> None:
        answer = anonymous.post(
            f"/api/v2/users/{user.username}/personal_tokens/",
            json={"description": "Tower CLI", "application": None, "scope": "read"},
            auth=(user.username, PASSWORD),
        )

        assert answer.status_code == 201
        assert answer.json()["scope"] == "read"
        assert len(answer.json()["token"]) >= 32

    @pytest.mark.parametrize("path", ["tokens", "personal_tokens"])
    def test_is_offered_to_oneself_only(self, client: httpx.Client, user: User, admin: httpx.Client, path: str) -> None:
        def offered(caller: httpx.Client, key: object) -> tuple[bool, bool]:
            answer = caller.options(f"/api/v2/users/{key}/{path}/")
            assert answer.status_code == 200
            return "POST" in answer.json()["actions"], "POST" in answer.headers["allow"]

        assert [offered(client, key) for key in (user.id, user.username)] == [(True, True)] * 2
        assert offered(admin, user.id) == (False, False)
        assert offered(client, 99999999) == (False, False)
        fields = client.options(f"/api/v2/users/{user.id}/{path}/").json()["actions"]["POST"]
        assert set(fields) == {"description", "scope"}

    def test_needs_no_body(self, client: httpx.Client) -> None:
        assert client.post("/api/v2/tokens/").json()["scope"] == "write"

    @pytest.mark.parametrize("scope", ["", "admin", "read,write", ["read"], None])
    def test_an_unknown_scope_is_refused(self, client: httpx.Client, scope: object) -> None:
        answer = client.post("/api/v2/tokens/", json={"scope": scope})

        assert (answer.status_code, list(answer.json())) == (400, ["scope"])

    def test_an_unknown_application_is_refused(self, client: httpx.Client) -> None:
        answer = client.post("/api/v2/tokens/", json={"application": 5})

        assert answer.json() == {"application": ['Invalid pk "5" - object does not exist.']}

    def test_nobody_makes_them_for_others(
        self, client: httpx.Client, admin: httpx.Client, make_user: Callable[..., User], user: User
    ) -> None:
        other = make_user()

        assert client.post(f"/api/v2/users/{other.id}/tokens/").status_code == 404
        assert admin.post(f"/api/v2/users/{user.id}/personal_tokens/").status_code == 403

    def test_a_read_token_makes_no_write_token(self, make_client: Callable[..., httpx.Client], user: User) -> None:
        assert make_client(user, scope="read").post("/api/v2/tokens/", json={"scope": "write"}).status_code == 403


class TestOwnership:
    def test_others_tokens_are_not_there(
        self, client: httpx.Client, make_client: Callable[..., httpx.Client], make_user: Callable[..., User]
    ) -> None:
        theirs = make_client(make_user()).post("/api/v2/tokens/").json()

        assert client.get(theirs["url"]).status_code == 404
        assert client.delete(theirs["url"]).status_code == 404
        assert theirs["id"] not in {each["id"] for each in client.get("/api/v2/tokens/").json()["results"]}

    def test_a_deleted_token_is_dead_at_once(self, client: httpx.Client, anonymous: httpx.Client) -> None:
        made = client.post("/api/v2/tokens/").json()

        assert client.delete(made["url"]).status_code == 204

        headers = {"Authorization": f"Bearer {made['token']}"}
        assert anonymous.get("/api/v2/me/", headers=headers).status_code == 401

    def test_description_and_scope_can_change(self, client: httpx.Client) -> None:
        made = client.post("/api/v2/tokens/").json()

        changed = client.patch(
            made["url"], json={"description": "new", "scope": "read", "user": 1, "token": "x"}
        ).json()

        assert (changed["description"], changed["scope"], changed["user"]) == ("new", "read", made["user"])

    def test_the_hash_cannot_be_filtered(self, client: httpx.Client) -> None:
        for query in ("token_hash__startswith=a", "token=x", "refresh_token_hash__isnull=1", "order_by=token_hash"):
            assert client.get(f"/api/v2/tokens/?{query}").status_code in (400, 403)

    def test_options_offer_what_can_be_written(self, client: httpx.Client) -> None:
        actions = client.options("/api/v2/tokens/").json()["actions"]

        assert set(actions["POST"]) == {"description", "scope"}
