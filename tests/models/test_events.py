"""Events: stored by COPY, in order and once, whatever is in them, whoever writes twice, whatever day it is."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make import make_job
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.db import Database
from core.errors import Conflict
from models.events import COLUMNS, JobEvent, delete_events, ensure_partition, store_events
from models.jobs import Job


def event(counter: int, stdout: str = "", **over: Any) -> dict[str, Any]:
    values = dict.fromkeys(COLUMNS, "") | {
        "counter": counter,
        "created": "2026-11-21T10:00:00.5+00:00",
        "event": "verbose",
        "event_data": "{}",
        "failed": False,
        "changed": False,
        "host_id": None,
        "stdout": stdout,
        "start_line": counter - 1,
        "end_line": counter,
        "verbosity": 0,
    }
    return values | over


def stored(session: Session, job: Job) -> list[JobEvent]:
    return list(session.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.counter)))


@pytest.fixture
def job(session: Session) -> Job:
    return make_job(session)


class TestStore:
    @pytest.mark.parametrize(
        "stdout",
        [
            "",
            "a\tb",
            "a\nb\r\nc",
            "back\\slash \\n \\. \\N",
            "\\N",
            "\\.",
            "'\"$$",
            "\x1b[0;32mok\x1b[0m",
            "😀 ž \u2028",
            " ",
        ],
    )
    def test_text_comes_back_as_it_was(self, session: Session, job: Job, stdout: str) -> None:
        data = orjson.dumps({"res": stdout}).decode()

        store_events(session, job.id, [event(1, stdout, event_data=data, host_name=stdout)])

        [row] = stored(session, job)
        assert (row.stdout, row.event_data, row.host_name) == (stdout, {"res": stdout}, stdout)
        assert row.created == datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)

    @given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_text_comes_back(self, session: Session, job: Job, stdout: str) -> None:
        session.refresh(job)
        counter = job.events_stored + 1

        store_events(session, job.id, [event(counter, stdout)])

        assert (
            session.scalar(select(JobEvent.stdout).where(JobEvent.job_id == job.id, JobEvent.counter == counter))
            == stdout
        )

    def test_what_postgresql_cannot_hold_is_left_out(self, session: Session, job: Job) -> None:
        store_events(session, job.id, [event(1, "a\0b")])

        assert [row.stdout for row in stored(session, job)] == ["ab"]

    def test_five_megabytes_in_a_line(self, session: Session, job: Job) -> None:
        store_events(session, job.id, [event(1, "x\\" * 2_500_000)])

        assert session.scalar(select(func.length(JobEvent.stdout)).where(JobEvent.job_id == job.id)) == 5_000_000

    def test_counts_move_with_the_events(self, session: Session, job: Job) -> None:
        assert store_events(session, job.id, [event(1), event(2, end_line=7)]) == 2

        session.refresh(job)
        assert (job.events_stored, job.lines_stored) == (2, 7)

    def test_what_is_stored_already_is_passed_over(self, session: Session, job: Job) -> None:
        store_events(session, job.id, [event(1, "first"), event(2, "first")])

        assert store_events(session, job.id, [event(1, "again"), event(2, "again"), event(3, "new")]) == 3
        assert store_events(session, job.id, [event(1, "again")]) == 3
        assert store_events(session, job.id, []) == 3

        assert [row.stdout for row in stored(session, job)] == ["first", "first", "new"]

    def test_output_of_a_run_that_has_ended_is_not_added_to(self, session: Session, job: Job) -> None:
        job.finished = job.created
        session.flush()

        with pytest.raises(Conflict):
            store_events(session, job.id, [event(1)])
        with pytest.raises(Conflict):
            store_events(session, 2**30, [event(1)])

    def test_error_of_the_database_is_sqlalchemys(self, session: Session, job: Job) -> None:
        """What tells a broken connection from a mistake looks for those."""
        with pytest.raises(DBAPIError) as error, session.begin_nested():
            store_events(session, job.id, [event(1, event_data="{")])

        assert isinstance(error.value.orig, psycopg2.Error)
        assert not error.value.connection_invalidated

    def test_events_go_with_their_run(self, session: Session, job: Job) -> None:
        other = make_job(session)
        for each in (job, other):
            store_events(session, each.id, [event(1)])

        delete_events(session, job.id, job.created)

        assert (stored(session, job), len(stored(session, other))) == ([], 1)


def test_two_writers_at_once_store_everything_once(database: Database) -> None:
    with database.transaction() as session:
        job = make_job(session)
    batches = [[event(number, f"line {number}") for number in range(start, start + 10)] for start in range(1, 200, 10)]
    ready = threading.Barrier(2)

    def write() -> None:
        ready.wait()
        for batch in batches:
            with database.transaction() as session:
                store_events(session, job.id, batch)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.transaction() as session:
        assert [row.stdout for row in stored(session, job)] == [f"line {number}" for number in range(1, 201)]


class TestPartitions:
    def test_one_per_day_of_the_runs_creation(self, session: Session) -> None:
        midnight = datetime(2031, 3, 4, tzinfo=UTC)
        moments = [midnight - timedelta(microseconds=1), midnight, midnight + timedelta(days=1, microseconds=-1)]
        jobs = [make_job(session, created=moment).id for moment in moments]
        for job_id in jobs:
            store_events(session, job_id, [event(1)])

        where = text("SELECT tableoid::regclass::text FROM job_events WHERE job_id = ANY(:jobs) ORDER BY job_created")
        assert list(session.scalars(where, {"jobs": jobs})) == [
            "job_events_20310303",
            "job_events_20310304",
            "job_events_20310304",
        ]

    def test_run_that_goes_on_over_midnight_stays_in_its_day(self, session: Session) -> None:
        job = make_job(session, created=datetime(2031, 5, 1, 23, 59, 59, tzinfo=UTC))
        store_events(session, job.id, [event(1, created="2031-05-01T23:59:59+00:00")])
        store_events(session, job.id, [event(2, created="2031-05-02T00:00:01+00:00")])

        assert {row.job_created for row in stored(session, job)} == {job.created}

    def test_is_not_remembered_before_it_is_committed(self, database: Database) -> None:
        day = datetime(2031, 7, 1, tzinfo=UTC)
        with database.engine.connect() as connection, Session(connection) as session:
            ensure_partition(session, day)
            ensure_partition(session, day)
            session.rollback()

        with database.transaction() as session:
            job = make_job(session, created=day)
            assert store_events(session, job.id, [event(1)]) == 1

    def test_two_that_need_the_first_of_a_day(self, database: Database) -> None:
        day = datetime(2031, 9, 1, tzinfo=UTC)
        with database.transaction() as session:
            jobs = [make_job(session, created=day) for _ in range(4)]
        ready = threading.Barrier(4)
        results = []

        def write(job: Job) -> None:
            ready.wait()
            with database.transaction() as session:
                results.append(store_events(session, job.id, [event(1)]))

        threads = [threading.Thread(target=write, args=[job]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert results == [1, 1, 1, 1]
