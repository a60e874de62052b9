"""The run's side of `events.jsonl`: ansible's output cut into events and appended, one whole line each."""

import contextlib
import errno
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from ansible_runner.utils import OutputEventFilter

from activities.runhost.protocol import RunDir

Event = dict[str, Any]
SHOWN = ("uuid", "stdout", "start_line", "end_line")


class EventLog:
    """Appends events; their counter is the number of their line. Any text in them can be stored in PostgreSQL: no
    NUL, no lone surrogates, no integer beyond 64 bits."""

    def __init__(self, run: RunDir) -> None:
        self.failure: OSError | None = None  # once set, nothing more is written: the lines stay whole and contiguous
        self._fd = os.open(run.events, os.O_WRONLY | os.O_APPEND)
        self._reader = str(run.wake)
        self._wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wake.setblocking(False)
        self._count = 0
        self._size = 0

    def append(self, event: Event) -> None:
        if self.failure:
            return
        event["counter"] = self._count + 1
        line = _encode(event)
        try:
            if os.write(self._fd, line) != len(line):  # a regular file takes less only if the disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.failure = error
            with contextlib.suppress(OSError):  # a reader ignores a line without an end
                os.ftruncate(self._fd, self._size)
            return
        self._count += 1
        self._size += len(line)
        self.wake()

    def wake(self) -> None:
        """Poke the reader attached to the run, if there is one. Never blocks: a reader also looks by itself."""
        with contextlib.suppress(OSError):  # nobody there, or a reader that has unread pokes already
            self._wake.sendto(b"", self._reader)

    def close(self) -> None:
        os.close(self._fd)
        self._wake.close()


class Output:
    """Turns the terminal's text into events: `feed` it, `close` it at the end.

    ansible-runner's callback plugin marks in the output where an event begins and ends, and leaves its data in a file
    named after its uuid; `OutputEventFilter` cuts the output at the marks. `Runner.event_callback` would then merge
    the two, but with the slower JSON module, and it swallows write errors."""

    def __init__(self, log: EventLog, artifact_dir: str) -> None:
        self._log = log
        self._partials = Path(artifact_dir) / "job_events"
        self._filter = OutputEventFilter(None, self._complete, suppress_ansible_output=True)

    def feed(self, text: str) -> None:
        self._filter.write(text)

    def close(self) -> None:
        self._filter.close()

    def _complete(self, event: Event) -> None:
        if "uuid" not in event:
            return  # the filter's own end mark
        # A playbook can print marks of its own making, so the uuid is reduced to a file name.
        partial = self._partials / os.path.basename(f"{event['uuid']}-partial.json")
        try:
            data = partial.read_bytes()
            partial.unlink()
        except (OSError, ValueError):
            pass  # plain output has no file; the latter for a name that no file can have
        else:
            # The text and its place are what the terminal showed, whatever a playbook may have written into the file.
            event = {**event, **_decode(data), **{name: event[name] for name in SHOWN if name in event}}
        event.setdefault("created", datetime.now(UTC).isoformat())
        self._log.append(event)


def _decode(data: bytes) -> Event:
    """The plugin writes what Python's json writes: also NaN and lone surrogates, which orjson refuses. {} for what is
    not the plugin's: a playbook can write there, too."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            event = json.loads(data)
        except ValueError:
            return {}
    return event if isinstance(event, dict) else {}


def _encode(event: Event) -> bytes:
    try:
        line = orjson.dumps(event)
    except TypeError:
        line = b""
    if not line or b"\\u0000" in line:  # rare, so the walk through the event is not paid by every one
        line = orjson.dumps(_storable(event))
    return line + b"\n"


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case _:
            return value
