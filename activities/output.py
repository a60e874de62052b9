"""From the runner's events to rows: known secrets masked, fields sorted out, stored in batches by COPY."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from core.crypto import MASK
from core.db import Database
from models.events import EVENTS, store_events
from models.runs import STATISTICS

BATCH = 500  # events a transaction
MIN_SECRET = 4  # characters; masking a shorter one would tear ordinary words apart, and tell the secret by it
FACTS = ("playbook", "play", "task", "role")
FAILURE_IGNORED = "ignore_errors"
# Of an event's data: the names of hosts and ids, which tie events, hosts and their summaries together.
STRUCTURE = frozenset((*STATISTICS, "host", "remote_addr", "uuid", "playbook_uuid", "play_uuid", "task_uuid"))


class Masker:
    """Replaces secret values wherever they stand in a text, in the forms in which programs print them. Of a secret of
    several lines (a key) each line counts for itself."""

    def __init__(self, secrets: Iterable[str]) -> None:
        needles: set[str] = set()
        for secret in secrets:
            for value in {secret, *map(str.strip, secret.splitlines())}:
                if len(value.strip()) >= MIN_SECRET and not value.startswith("-----"):
                    needles.update(_forms(value))
        # The longest first: a secret that contains another one must not leave its rest behind.
        self._needles = sorted(needles, key=len, reverse=True)
        self._traces = [orjson.dumps(needle)[1:-1] for needle in self._needles]

    def text(self, value: str) -> str:
        for needle in self._needles:
            if needle in value:
                value = value.replace(needle, MASK)
        return value

    def event(self, line: bytes) -> dict[str, Any]:
        """The event in a line of JSON (as orjson writes it), masked in what people read: what holds it together stays,
        whatever words and numbers the secrets are made of."""
        event: dict[str, Any] = orjson.loads(line)
        if not any(trace in line for trace in self._traces):
            return event
        data = event.get("event_data")
        if isinstance(data, dict):
            event["event_data"] = {
                name: value if name in STRUCTURE else self._masked(value) for name, value in data.items()
            }
        return event | {"stdout": self.text(event.get("stdout") or "")}

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self._masked(item) for key, item in value.items()}
            case list():
                return [self._masked(item) for item in value]
            case int() | float() if str(value) in self._needles:
                return MASK
        return value


def _forms(value: str) -> set[str]:
    """As it is; in quotes of Python (as text, in ASCII, as bytes), YAML and the shell; in a URL, with slashes quoted or
    not; each of these inside JSON, and inside JSON inside JSON (a module's result in `stdout`); in base64, wherever it
    begins (Basic auth)."""
    python = {repr(value)[1:-1], ascii(value)[1:-1], repr(value.encode())[2:-1]}
    written = python | {
        value,
        value.replace("'", "''"),
        value.replace("'", "'\"'\"'"),
        quote(value),
        quote(value, safe=""),
    }
    forms = set(written)
    for form in written:
        for ascii_only in (False, True):
            once = json.dumps(form, ensure_ascii=ascii_only)[1:-1]
            forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    data = value.encode()
    for offset, first in ((0, 0), (1, 2), (2, 3)):  # characters of base64 that hold bits of this value alone
        last = (offset + len(data)) * 8 // 6
        forms.add(base64.b64encode(bytes(offset) + data)[first:last].decode())
    return forms


HIDDEN = "**********"
_SENSITIVE = ("API", "TOKEN", "KEY", "SECRET", "PASS")


def mask_environment(environment: Mapping[str, str], masker: Masker) -> dict[str, str]:
    """`job_env`: values of variables with a telling name hidden, and every known secret in the others."""
    return {
        name: HIDDEN
        if any(word in name.upper() for word in _SENSITIVE) and not name.startswith("ANSIBLE_CALLBACK")
        else masker.text(value)
        for name, value in environment.items()
    }


def event_row(event: Mapping[str, Any], host_ids: Mapping[str, int]) -> dict[str, Any]:
    """One of the runner's events as `store_events` takes it."""
    data = event.get("event_data")
    data = data if isinstance(data, dict) else {}
    kind = str(event.get("event") or "verbose")[:100]  # a playbook can print what looks like an event of its own
    host = str(data.get("host") or "")
    result = data.get("res")
    changed = isinstance(result, dict) and bool(result.get("changed"))
    failed = EVENTS[kind][2] if kind in EVENTS else False
    if kind == "playbook_on_stats":
        failed = _any(data.get("failures")) or _any(data.get("dark"))
        changed = _any(data.get("changed"))
    return {
        "counter": event["counter"],
        "created": event["created"],
        "event": kind,
        "uuid": event.get("uuid") or "",
        "parent_uuid": event.get("parent_uuid") or "",
        "event_data": orjson.dumps(data).decode(),
        "failed": failed and not data.get(FAILURE_IGNORED),
        "changed": changed,
        "host_id": host_ids.get(host),
        "host_name": host,
        **{name: str(data.get(name) or "") for name in FACTS},
        "stdout": event.get("stdout") or "",
        "start_line": event.get("start_line", 0),
        "end_line": event.get("end_line", 0),
        "verbosity": event.get("verbosity", 0),
    }


def _any(counts: Any) -> bool:
    return isinstance(counts, dict) and any(counts.values())


class EventStore:
    """Stores the events of one run; `host_ids` maps the names of the inventory's hosts to their ids."""

    def __init__(self, database: Database, run_id: int, masker: Masker, host_ids: Mapping[str, int]) -> None:
        self._database = database
        self._run_id = run_id
        self._masker = masker
        self._host_ids = host_ids
        self.stored = 0

    def store(self, lines: Sequence[bytes]) -> int:
        """Store events given as JSON lines. Returns the counter of the last one stored."""
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            rows = [event_row(self._masker.event(line), self._host_ids) for line in batch]
            with self._database.transaction() as session:
                self.stored = store_events(session, self._run_id, rows)
        return self.stored
