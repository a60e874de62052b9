"""Events on their way into the database: secrets masked wherever they stand, fields sorted out, nothing torn apart."""

import base64
import json
import shlex
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from make import make_job
from sqlalchemy import select

from activities.output import BATCH, HIDDEN, EventStore, Masker, event_row, mask_environment
from core.crypto import MASK
from core.db import Database
from models.events import EVENTS, JobEvent
from models.jobs import Job

KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAA
QyNTUxOQAAACAxMjM0
-----END OPENSSH PRIVATE KEY-----
"""


def event(**over: Any) -> dict[str, Any]:
    return {"counter": 1, "created": "2026-11-21T10:00:00+00:00", "event": "runner_on_ok", "stdout": ""} | over


def masked(secrets: list[str], **over: Any) -> dict[str, Any]:
    return Masker(secrets).event(orjson.dumps(event(**over)))


class TestMaskerOfText:
    @pytest.mark.parametrize(
        "form",
        [
            "{}",
            "before{}after",
            "{} and {}",
            "\x1b[0;32m{}\x1b[0m",
        ],
    )
    @pytest.mark.parametrize("secret", ["pa55word", "q\"u'o\\te", "tab\there", "ž😀 ünïcode", "a b  c", "%20+/=&"])
    def test_as_it_is(self, secret: str, form: str) -> None:
        text = Masker([secret]).text(form.format(*[secret] * 2))

        assert text == form.format(*[MASK] * 2)

    @pytest.mark.parametrize("secret", ["pa55word", "q\"u'o\\te", "ž😀 ünïcode", "p@ss'w&rd Q/7"])
    @pytest.mark.parametrize(
        "disguise",
        [
            json.dumps,
            lambda value: json.dumps(json.dumps(value)),
            lambda value: json.dumps(value, ensure_ascii=False),
            repr,
            ascii,
            lambda value: repr(value.encode()),
            lambda value: json.dumps({"msg": ascii(value)}),
            shlex.quote,
            lambda value: json.dumps({"msg": shlex.quote(value)}),
            quote,
            lambda value: quote(value, safe=""),
            lambda value: f"https://ada:{quote(value, safe='')}@example.org/",
            lambda value: "'" + value.replace("'", "''") + "'",
            lambda value: base64.b64encode(value.encode()).decode(),
            lambda value: base64.b64encode(f"ada:{value}".encode()).decode(),
            lambda value: base64.b64encode(f"bob1:{value}\n".encode()).decode(),
            lambda value: base64.b64encode(f"charly:{value}!!".encode()).decode(),
        ],
    )
    def test_in_disguise(self, secret: str, disguise: Any) -> None:
        assert MASK in Masker([secret]).text(f"x {disguise(secret)} y")

    def test_each_line_of_a_key(self) -> None:
        masker = Masker([KEY.replace("\n", "\r\n")])

        shown = masker.text(f"{KEY} and the second line QyNTUxOQAAACAxMjM0 alone")

        assert "b3Blb" not in shown
        assert "QyNT" not in shown
        assert shown.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")

    def test_longest_first(self) -> None:
        assert Masker(["pass", "password", "password1"]).text("password1 password pass") == f"{MASK} {MASK} {MASK}"

    @pytest.mark.parametrize("secret", ["", "abc", "   ", "a\nb\nc"])
    def test_what_is_too_short_is_left(self, secret: str) -> None:
        assert Masker([secret]).text("abc a b c    ") == "abc a b c    "

    @given(st.lists(st.text(min_size=4), min_size=1, max_size=4), st.text(), st.text())
    @settings(deadline=None)
    def test_never_remains(self, secrets: list[str], before: str, after: str) -> None:
        assume(all(len(secret.strip()) >= 4 and not secret.startswith("-----") for secret in secrets))
        assume(not any(secret in MASK or MASK in secret for secret in secrets))
        text = before + secrets[0] + after

        assert not remains(secrets[0], Masker(secrets).text(text))


utf8 = st.text(st.characters(exclude_categories=("Cs",)))
secret_texts = utf8.filter(
    lambda value: len(value.strip()) >= 4 and value not in MASK and MASK not in value and not value.startswith("-----")
)
nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | utf8,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(utf8, inner, max_size=3),
    max_leaves=8,
)


def remains(secret: str, text: str) -> bool:
    return any(secret in part for part in text.split(MASK))


def texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for item in pair for text in texts(item)]
        case list():
            return [text for item in value for text in texts(item)]
    return []


class TestMaskerOfEvents:
    def test_everything_that_people_read(self) -> None:
        shown = masked(
            ["pa55word"],
            stdout="ok: pa55word",
            event_data={"task": "say pa55word", "res": {"msg": ["pa55word"], "pa55word": 1}, "task_args": "x=pa55word"},
        )

        assert "pa55word" not in str(shown)
        assert shown["event_data"]["res"] == {"msg": [MASK], MASK: 1}

    @pytest.mark.parametrize(
        "secret", ["true", "null", "event", "stdout", "nopq", "12345", "event_data", "verbose", "u00e9", "tstart"]
    )
    def test_secret_made_of_the_words_of_an_event_does_not_tear_it_apart(self, secret: str) -> None:
        """Replaced in the JSON itself, such a secret makes what no parser reads."""
        data = {"changed": True, "n": None, "res": {"rc": 12345, "text": "a\nopq\tstart é"}, "pid": 123456}

        shown = masked([secret], stdout=f"x\n{secret}", event_data=data, counter=12345, start_line=12345)

        assert (shown["counter"], shown["event"], shown["start_line"]) == (12345, "runner_on_ok", 12345)
        assert shown["stdout"] == f"x\n{MASK}"
        assert shown["event_data"]["changed"] is True
        assert shown["event_data"]["res"]["rc"] == (MASK if secret == "12345" else 12345)

    def test_hosts_and_counts_stay_what_ties_events_together(self) -> None:
        data = {"host": "web-prod", "ok": {"web-prod": 1234}, "task_uuid": "prod-1", "res": {"msg": "prod"}}

        shown = masked(["prod", "1234"], event_data=data)["event_data"]

        assert shown == data | {"res": {"msg": MASK}}

    @given(secret_texts, nested, utf8)
    @settings(deadline=None)
    def test_never_remains(self, secret: str, inner: Any, around: str) -> None:
        data = {"res": {"a": inner, "b": [around + secret + around, {secret: secret}]}}

        shown = masked([secret], stdout=around + secret, event_data=data)

        for text in [*texts(shown["event_data"]["res"]), shown["stdout"]]:
            assert not remains(secret, text)

    @given(st.lists(st.text(min_size=1), max_size=3), nested)
    @settings(deadline=None)
    def test_any_secrets_leave_something_that_can_be_stored(self, secrets: list[str], inner: Any) -> None:
        row = event_row(masked([s.encode(errors="ignore").decode() for s in secrets], event_data={"res": inner}), {})

        assert isinstance(orjson.loads(row["event_data"]), dict)


class TestEnvironment:
    def test_hides_telling_names_and_known_values(self) -> None:
        environment = {"MY_API_KEY": "x", "HOME": "/run/pa55word", "ANSIBLE_CALLBACKS_ENABLED": "a", "db_passwd": "y"}

        shown = mask_environment(environment, Masker(["pa55word"]))

        assert shown == {
            "MY_API_KEY": HIDDEN,
            "HOME": f"/run/{MASK}",
            "ANSIBLE_CALLBACKS_ENABLED": "a",
            "db_passwd": HIDDEN,
        }


class TestRow:
    @pytest.mark.parametrize("kind", [*EVENTS, "something_new"])
    def test_of_every_kind(self, kind: str) -> None:
        row = event_row(event(event=kind, event_data={"host": "web", "task": "t", "play": "p"}), {"web": 7})

        assert (row["event"], row["host_id"], row["host_name"], row["task"], row["play"]) == (kind, 7, "web", "t", "p")
        assert row["failed"] is (kind in EVENTS and EVENTS[kind][2])
        assert row["changed"] is False

    @pytest.mark.parametrize(
        ("data", "failed", "changed"),
        [
            ({"res": {"changed": True}}, True, True),
            ({"ignore_errors": True}, False, False),
            ({"res": ["a", "list"]}, True, False),
        ],
    )
    def test_of_a_failure(self, data: dict[str, Any], failed: bool, changed: bool) -> None:
        row = event_row(event(event="runner_on_failed", event_data=data), {})

        assert (row["failed"], row["changed"]) == (failed, changed)

    @pytest.mark.parametrize(
        ("data", "failed", "changed"),
        [
            ({"ok": {"a": 1}, "changed": {"a": 0}, "failures": {}, "dark": {"a": 0}}, False, False),
            ({"changed": {"a": 2}}, False, True),
            ({"failures": {"a": 1}}, True, False),
            ({"dark": {"a": 1}}, True, False),
            ({"dark": [1], "changed": 5}, False, False),
        ],
    )
    def test_of_the_statistics(self, data: dict[str, Any], failed: bool, changed: bool) -> None:
        row = event_row(event(event="playbook_on_stats", event_data=data), {})

        assert (row["failed"], row["changed"]) == (failed, changed)

    @pytest.mark.parametrize("over", [{"event_data": None}, {"event_data": "x"}, {"event": None}, {"event": "x" * 500}])
    def test_of_what_only_looks_like_an_event(self, over: dict[str, Any]) -> None:
        row = event_row(event(**over), {})

        assert row["event_data"] == "{}"
        assert 0 < len(row["event"]) <= 100


class TestStore:
    @pytest.fixture
    def job(self, database: Database) -> Job:
        with database.transaction() as session:
            return make_job(session)

    def stored(self, database: Database, job: Job) -> list[tuple[int, str, int | None]]:
        with database.transaction() as session:
            found = select(JobEvent.counter, JobEvent.stdout, JobEvent.host_id).where(JobEvent.job_id == job.id)
            return [tuple(row) for row in session.execute(found.order_by(JobEvent.counter))]

    def test_batches_in_order_masked_and_tied_to_hosts(self, database: Database, job: Job) -> None:
        lines = [
            orjson.dumps(event(counter=number, stdout=f"{number} pa55word", event_data={"host": "web"}))
            for number in range(1, BATCH + 3)
        ]
        store = EventStore(database, job.id, Masker(["pa55word"]), {"web": 7})

        assert store.store(lines) == BATCH + 2
        assert store.store([]) == BATCH + 2
        assert store.store(lines[-5:]) == BATCH + 2

        assert self.stored(database, job) == [(number, f"{number} {MASK}", 7) for number in range(1, BATCH + 3)]
