"""What every answer has in common: headers, errors, redirects, transactions; and the server's own pages."""

import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from sqlalchemy import select, text

from api.app import create_app
from api.call import MAX_BODY_BYTES, Call, Handler, endpoint
from api.responses import json_response, no_content
from api.services import Services
from core.db import Database
from core.errors import Conflict, Forbidden, Invalid, NotAllowed, NotFound, Refused, TooManyRequests
from core.version import VERSION
from models.organizations import Organization
from models.users import User

Serve = Callable[..., httpx.Client]
Serving = Callable[[FastAPI], AbstractContextManager[str]]


@pytest.fixture
def serve(services: Services, serving: Serving) -> Iterator[Serve]:
    """`serve(handler)`: a client of an application with `handler` at /api/test/, open to everybody."""
    with ExitStack() as stack:

        def start(handler: Handler, path: str = "/api/test/", used: Services = services) -> httpx.Client:
            app = create_app(used)
            app.add_api_route(path, endpoint(handler, anonymous=True), methods=["GET", "POST"])
            url = stack.enter_context(serving(app))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30))

        yield start


def raising(error: Exception) -> Handler:
    def handler(call: Call) -> Response:
        raise error

    return handler


def echo(call: Call) -> Response:
    return json_response({"data": call.data(), "query": call.query})


class TestHeaders:
    def test_every_answer_names_product_version_node_time_and_request(self, anonymous: httpx.Client) -> None:
        for path in ("/api/", "/api/v2/nothing/", "/api/v2/me/"):
            headers = anonymous.get(path).headers

            assert headers["X-API-Product-Name"] == "AWX"
            assert headers["X-API-Product-Version"] == VERSION
            assert headers["X-API-Node"] == "node1"
            assert re.fullmatch(r"\d+\.\d{3}s", headers["X-API-Time"])
            assert headers["X-API-Request-Id"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store"

    def test_a_request_id_is_kept_when_it_is_harmless(self, anonymous: httpx.Client) -> None:
        kept = anonymous.get("/api/", headers={"X-API-Request-Id": "build-17.a_b"})
        replaced = anonymous.get("/api/", headers={"X-API-Request-Id": "<script>" * 20})

        assert kept.headers["X-API-Request-Id"] == "build-17.a_b"
        assert re.fullmatch(r"[0-9a-f]{32}", replaced.headers["X-API-Request-Id"])

    def test_pages_may_load_nothing_from_elsewhere(self, anonymous: httpx.Client) -> None:
        page = anonymous.get("/api/docs/")

        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "location"),
        [
            ("/api", "/api/"),
            ("/api/v2", "/api/v2/"),
            ("/api/v2/ping?x=1&y=%20", "/api/v2/ping/?x=1&y=%20"),
        ],
    )
    def test_a_missing_slash_is_added(self, anonymous: httpx.Client, path: str, location: str) -> None:
        answer = anonymous.get(path)

        assert (answer.status_code, answer.headers["Location"]) == (301, location)

    def test_a_write_without_the_slash_is_told_so(self, anonymous: httpx.Client) -> None:
        answer = anonymous.post("/api/login")

        assert answer.status_code == 404
        assert "/api/login/" in answer.json()["detail"]

    @pytest.mark.parametrize("path", ["/api/v2/nothing/", "/api/v2/nothing", "/nothing", "/api/v2/%00/", "//evil/api"])
    def test_unknown_one_is_404_in_json(self, anonymous: httpx.Client, path: str) -> None:
        answer = anonymous.get(str(anonymous.base_url).rstrip("/") + path)  # httpx takes `//evil` alone for a host

        assert answer.status_code == 404
        assert answer.json() == {"detail": "The requested resource could not be found."}

    def test_wrong_method_is_405_and_names_all_right_ones(self, anonymous: httpx.Client) -> None:
        answer = anonymous.delete("/api/login/")

        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, OPTIONS, POST"
        assert answer.json() == {"detail": 'Method "DELETE" not allowed.'}

    def test_options_describes_what_is_no_resource(self, anonymous: httpx.Client) -> None:
        answer = anonymous.options("/api/v2/ping/")

        assert answer.status_code == 200
        assert answer.headers["Allow"] == "GET, OPTIONS"
        assert answer.json()["name"] == "Ping"

    def test_head_is_get_without_a_body(self, anonymous: httpx.Client) -> None:
        answer = anonymous.head("/api/v2/ping/")

        assert answer.status_code == 200
        assert answer.content == b""
        assert answer.headers["Content-Type"] == "application/json"

    def test_a_null_character_in_a_parameter_is_not_found(self, serve: Serve) -> None:
        client = serve(lambda call: json_response(call.path), "/api/test/{name}/")

        assert client.get("/api/test/a/").json() == {"name": "a"}
        assert client.get("/api/test/a%00b/").status_code == 404


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status", "body"),
        [
            (Invalid("Wrong."), 400, {"detail": "Wrong."}),
            (Invalid(fields={"name": ["Too long.", "Ugly."]}), 400, {"name": ["Too long.", "Ugly."]}),
            (Forbidden("No."), 403, {"detail": "No."}),
            (NotFound("Not found."), 404, {"detail": "Not found."}),
            (NotAllowed("Finished."), 405, {"detail": "Finished."}),
            (Conflict("In use."), 409, {"detail": "In use."}),
            (Refused(403, "Denied.", ["No."]), 403, {"detail": "Denied.", "reasons": ["No."]}),
        ],
    )
    def test_ours_take_the_shape_of_awx(
        self, serve: Serve, error: Exception, status: int, body: dict[str, Any]
    ) -> None:
        answer = serve(raising(error)).get("/api/test/")

        assert (answer.status_code, answer.json()) == (status, body)

    def test_too_many_requests_says_when_to_come_back(self, serve: Serve) -> None:
        answer = serve(raising(TooManyRequests("Slowly.", retry_after=7))).get("/api/test/")

        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")

    def test_a_defect_names_the_request_and_nothing_else(self, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        answer = serve(raising(RuntimeError("password=hunter2"))).get("/api/test/")

        assert answer.status_code == 500
        request_id = answer.headers["X-API-Request-Id"]
        assert answer.json() == {"detail": "An internal error occurred.", "request_id": request_id}
        [record] = [each for each in caplog.records if each.exc_info]
        assert request_id in record.getMessage()

    def test_a_missing_database_is_503(self, serve: Serve, services: Services) -> None:
        nowhere = replace(services, database=Database("postgresql://forge@127.0.0.1:1/nothing"))

        answer = serve(echo, used=nowhere).get("/api/v2/ping/")

        assert answer.status_code == 503
        assert "database" in answer.json()["detail"]
        assert "127.0.0.1" not in answer.text

    def test_a_race_for_a_name_is_400(self, serve: Serve) -> None:
        def handler(call: Call) -> Response:
            call.session.add_all([Organization(name="twice"), Organization(name="twice")])
            call.session.flush()
            return no_content()

        answer = serve(handler).post("/api/test/")

        assert (answer.status_code, list(answer.json())) == (400, ["__all__"])

    def test_a_dangling_reference_is_409(self, serve: Serve) -> None:
        def handler(call: Call) -> Response:
            call.session.add(Organization(name="dangling", default_environment_id=999_999))
            call.session.flush()
            return no_content()

        assert serve(handler).post("/api/test/").status_code == 409

    def test_a_number_beyond_the_column_is_400(self, serve: Serve) -> None:
        def handler(call: Call) -> Response:
            call.session.execute(select(User).where(User.id == 2**40)).all()
            call.session.execute(text("SELECT 2147483648::int"))
            return no_content()

        assert serve(handler).get("/api/test/").status_code == 400


class TestBodies:
    def test_json_and_forms_are_parsed(self, serve: Serve) -> None:
        client = serve(echo)

        assert client.post("/api/test/", json={"a": [1, None]}).json()["data"] == {"a": [1, None]}
        assert client.post("/api/test/", data={"a": "1", "b": ""}).json()["data"] == {"a": "1", "b": ""}
        multipart = client.post("/api/test/", files={"a": (None, "1")})
        assert multipart.json()["data"] == {"a": "1"}

    def test_none_is_empty_whatever_its_type(self, serve: Serve) -> None:
        client = serve(echo)

        for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
            assert client.post("/api/test/", headers=headers).json()["data"] == {}

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (b"{", "JSON parse error - "),
            (b"[1]", "JSON parse error - not a JSON object"),
            (b'{"a": "\xff"}', "JSON parse error - "),
            (b'{"a": ["x", {"b": "\\u0000"}]}', "Null characters are not allowed."),
        ],
    )
    def test_bad_json_is_400(self, serve: Serve, body: bytes, detail: str) -> None:
        answer = serve(echo).post("/api/test/", content=body, headers={"Content-Type": "application/json"})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(detail)

    def test_other_types_are_415(self, serve: Serve) -> None:
        answer = serve(echo).post("/api/test/", content=b"<a/>", headers={"Content-Type": "text/xml; charset=utf-8"})

        assert answer.status_code == 415
        assert answer.json() == {"detail": 'Unsupported media type "text/xml" in request.'}

    def test_a_huge_one_is_413(self, serve: Serve) -> None:
        answer = serve(echo).post("/api/test/", content=b" " * (MAX_BODY_BYTES + 1))

        assert answer.status_code == 413

    def test_the_query_keeps_order_repetition_and_empty_values(self, serve: Serve) -> None:
        client = serve(echo)

        assert client.get("/api/test/?b=1&a=&b=%C3%A9").json()["query"] == [["b", "1"], ["a", ""], ["b", "é"]]
        assert client.get("/api/test/?a=%00").status_code == 400


class TestTransactions:
    def test_what_was_answered_is_committed(self, serve: Serve, database: Database) -> None:
        def handler(call: Call) -> Response:
            call.session.add(Organization(name="committed"))
            return json_response({}, status=201)

        assert serve(handler).post("/api/test/").status_code == 201
        assert names(database, "committed") == ["committed"]

    def test_an_error_rolls_back(self, serve: Serve, database: Database) -> None:
        def handler(call: Call) -> Response:
            call.session.add(Organization(name="rolled back"))
            call.session.flush()
            call.after_commit(lambda: pytest.fail("ran"))
            raise Invalid("No.")

        assert serve(handler).post("/api/test/").status_code == 400
        assert names(database, "rolled back") == []

    def test_actions_see_the_commit_and_may_answer_for_it(self, serve: Serve, database: Database) -> None:
        seen: list[str] = []

        def refuse() -> None:
            seen.extend(names(database, "acted on"))
            raise Forbidden("Blocked.")

        def handler(call: Call) -> Response:
            call.session.add(Organization(name="acted on"))
            call.after_commit(refuse)
            return no_content()

        assert serve(handler).post("/api/test/").status_code == 403
        assert seen == ["acted on"]

    def test_an_action_that_breaks_does_not_undo_the_answer(self, serve: Serve) -> None:
        def handler(call: Call) -> Response:
            call.after_commit(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
            return no_content()

        assert serve(handler).post("/api/test/").status_code == 204

    def test_a_deadlock_is_tried_again_from_the_start(self, serve: Serve) -> None:
        attempts: list[int] = []

        def handler(call: Call) -> Response:
            attempts.append(1)
            if len(attempts) < 3:
                call.session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"))
            return no_content()

        assert serve(handler).post("/api/test/").status_code == 204
        assert len(attempts) == 3


def names(database: Database, name: str) -> list[str]:
    with database.transaction() as session:
        return list(session.scalars(select(Organization.name).where(Organization.name == name)))


def access_line(caplog: pytest.LogCaptureFixture) -> str:
    """It is written when the answer is out, so the client may be a little ahead of it."""
    for _ in range(500):
        for record in caplog.records:
            if record.name == "forge.access":
                return record.getMessage()
        time.sleep(0.01)
    pytest.fail("no line in the log")


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="forge.access")


class TestLog:
    def test_one_line_a_request_without_secrets(self, admin: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
        admin.get("/api/v2/config/?page=2&access_token=hunter2&my_Password=hunter2")

        line = access_line(caplog)
        assert line.startswith("GET /api/v2/config/?page=2&access_token=***&my_Password=*** 200 ")
        assert re.search(r" user=caller-\d+ ip=127\.0\.0\.1 id=[0-9a-f]{32}$", line)

    def test_a_client_that_goes_away_is_no_error(
        self, anonymous: httpx.Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = anonymous.base_url
        with socket.create_connection((url.host, url.port or 80)) as client:
            client.sendall(b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")

        assert access_line(caplog).startswith("POST /api/login/ 0 ")
        assert "Traceback" not in caplog.text


class TestProxies:
    HEADERS = {"X-Forwarded-For": "198.51.100.7, 192.0.2.1", "X-Forwarded-Proto": "https"}

    def test_a_trusted_one_names_the_client(
        self, services: Services, serving: Serving, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = services.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
        with serving(create_app(replace(services, settings=settings))) as url:
            answer = httpx.get(f"{url}/api/", headers=self.HEADERS)

        assert "Secure" in answer.headers["Set-Cookie"]
        assert " ip=192.0.2.1 " in access_line(caplog)

    def test_nobody_else_does(self, anonymous: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
        answer = anonymous.get("/api/", headers=self.HEADERS)

        assert "Secure" not in answer.headers["Set-Cookie"]
        assert " ip=127.0.0.1 " in access_line(caplog)


class TestDocumentation:
    def test_every_operation_is_documented(self, services: Services, anonymous: httpx.Client) -> None:
        document = anonymous.get("/api/openapi.json").json()

        assert document["openapi"].startswith("3.1")
        body = document["paths"]["/api/v2/users/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["required"] == ["username"]
        assert body["properties"]["username"]["maxLength"] == 150
        operations = [each for path in document["paths"].values() for each in path.values()]
        assert len({each["operationId"] for each in operations}) == len(operations)
        assert [each["operationId"] for each in operations if not each.get("summary")] == []

    def test_the_page_shows_them_all(self, anonymous: httpx.Client) -> None:
        page = anonymous.get("/api/docs/")

        for path in anonymous.get("/api/openapi.json").json()["paths"]:
            assert path in page.text
        assert "<script" not in page.text
        assert "http:" not in page.text.replace(str(anonymous.base_url).rstrip("/"), "")
