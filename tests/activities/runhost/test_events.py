"""The event log's promises."""

import errno
import os
from pathlib import Path

import orjson
import pytest

from activities.runhost.events import EventLog
from activities.runhost.protocol import RunDir


@pytest.fixture
def run(base: Path) -> RunDir:
    run = RunDir(base, "job-1")
    run.path.mkdir()
    run.events.touch()
    return run


def test_lines_are_numbered(run: RunDir) -> None:
    log = EventLog(run)

    for _ in range(3):
        log.append({"uuid": "x"})
    log.close()

    assert [orjson.loads(line)["counter"] for line in run.events.read_bytes().splitlines()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("nul \0", "nul \ufffd"),
        ("half \udc80", "half ?"),
        (r"a backslash and u0000: \u0000", r"a backslash and u0000: \u0000"),
        ([2**70, {"k\0": 1.5}], [str(2**70), {"k\ufffd": 1.5}]),
        (float("nan"), None),
    ],
)
def test_what_postgresql_refuses_is_replaced(run: RunDir, value: object, stored: object) -> None:
    log = EventLog(run)

    log.append({"value": value})
    log.close()

    assert orjson.loads(run.events.read_bytes())["value"] == stored


def test_full_disk_is_noticed(run: RunDir) -> None:
    run.events.unlink()
    run.events.symlink_to("/dev/full")
    log = EventLog(run)

    log.append({"uuid": "x"})
    log.append({"uuid": "y"})
    log.close()

    assert log.failure is not None
    assert log.failure.errno == errno.ENOSPC


def test_reader_that_went_away_does_not_matter(run: RunDir) -> None:
    os.mkfifo(run.wake)  # no socket at all
    log = EventLog(run)

    log.append({"uuid": "x"})
    log.close()

    assert log.failure is None
