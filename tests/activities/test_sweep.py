"""What crashes leave behind is found and done: on a real database and a real Temporal that nobody works for."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from make import WrongClock, make_job, make_update
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus

from activities import sweep
from activities.services import WorkerServices
from activities.sweep import GRACE, LOST_AFTER, Sweeps
from core.db import Database
from models.base import now
from models.unified import UnifiedJob
from workflows import starting
from workflows.contracts import SweepResult, workflow_id

OLD = GRACE + timedelta(seconds=1)


@pytest.fixture
def sweeps(
    idle_database: Database,
    build_services: Callable[[Database], WorkerServices],
    temporal_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> Sweeps:
    monkeypatch.setattr(starting, "CONTROL_QUEUE", uuid4().hex)  # a queue that nobody serves
    services = build_services(idle_database)
    services.client = temporal_client
    return Sweeps(services)


def add(database: Database, make: Any = make_job, age: timedelta = OLD, **over: Any) -> UnifiedJob:
    """Ids are drawn from a wide space: the Temporal server is shared, and workflows are named after them."""
    with database.transaction() as session:
        row: UnifiedJob = make(session, id=random.randrange(10**6, 2**31), created=now() - age, **over)
    return row


def handle(client: Client, row: UnifiedJob) -> Any:
    return client.get_workflow_handle(workflow_id(row.type, row.id))


async def happened(client: Client, row: UnifiedJob, kind: "EventType.ValueType") -> int:
    history = await handle(client, row).fetch_history()
    return sum(event.event_type == kind for event in history.events)


async def start(client: Client, row: UnifiedJob) -> None:
    await starting.start_run(client, starting.RunStart(row.type, row.id, row.name))


class TestSweep:
    @pytest.mark.parametrize("make", [make_job, make_update])
    async def test_starts_what_was_committed_and_never_started(
        self, sweeps: Sweeps, database: Database, temporal_client: Client, make: Any
    ) -> None:
        row = add(database, make)

        assert (await sweeps.sweep()).started == 1
        assert (await sweeps.sweep()).started == 0  # it runs, and only has not come to take its row

        assert (await handle(temporal_client, row).describe()).status == WorkflowExecutionStatus.RUNNING

    @pytest.mark.parametrize(
        "over", [{"age": timedelta(0)}, {"work_unit_id": "job-1"}, {"status": "canceled", "finished": now()}]
    )
    async def test_leaves_what_is_young_taken_or_over(
        self, sweeps: Sweeps, database: Database, over: dict[str, Any]
    ) -> None:
        add(database, **over)

        assert await sweeps.sweep() == SweepResult()

    async def test_goes_by_the_clock_of_the_database(
        self, sweeps: Sweeps, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(database, age=timedelta(0))
        add(database, age=timedelta(0), work_unit_id="x", status="waiting", granted_at=now())
        monkeypatch.setattr("models.base.datetime", WrongClock(timedelta(hours=1)))

        assert await sweeps.sweep() == SweepResult()

    async def test_one_that_cannot_be_started_does_not_keep_the_others(
        self, sweeps: Sweeps, database: Database, temporal_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(starting.WORKFLOWS, "project_update")
        add(database, make_update)
        row = add(database)

        assert (await sweeps.sweep()).started == 1
        assert (await handle(temporal_client, row).describe()).status == WorkflowExecutionStatus.RUNNING

    async def test_wakes_who_was_granted_and_does_not_run(
        self, sweeps: Sweeps, database: Database, temporal_client: Client
    ) -> None:
        lost = add(database, work_unit_id="x", status="waiting", granted_at=now() - OLD)
        fresh = add(database, work_unit_id="x", status="waiting", granted_at=now())
        running = add(database, work_unit_id="x", status="running", granted_at=now() - OLD)
        for row in (lost, fresh, running):
            await start(temporal_client, row)

        assert (await sweeps.sweep()).woken == 1

        signalled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        assert [await happened(temporal_client, row, signalled) for row in (lost, fresh, running)] == [1, 0, 0]

    async def test_repeats_cancels_that_got_lost(
        self, sweeps: Sweeps, database: Database, temporal_client: Client
    ) -> None:
        def wanted(when: datetime) -> UnifiedJob:
            return add(database, work_unit_id="x", status="running", cancel_flag=True, canceled_on=when)

        never_started, lost, fresh = wanted(now() - OLD), wanted(now() - OLD), wanted(now())
        for row in (lost, fresh):
            await start(temporal_client, row)

        await sweeps.sweep()
        await sweeps.sweep()

        cancelled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        assert [await happened(temporal_client, row, cancelled) for row in (lost, fresh)] == [1, 0]
        assert never_started.status == "running"


class TestCloseLost:
    async def test_ends_runs_whose_workflow_is_gone(
        self, sweeps: Sweeps, database: Database, temporal_client: Client
    ) -> None:
        age = LOST_AFTER + timedelta(seconds=1)
        forgotten, terminated, living = (add(database, age=age, work_unit_id="x", status="running") for _ in range(3))
        young = add(database, work_unit_id="x", status="running")
        for row in (terminated, living):
            await start(temporal_client, row)
        await handle(temporal_client, terminated).terminate()

        assert await sweeps.close_lost() == 2
        assert await sweeps.close_lost() == 0

        with database.transaction() as session:
            rows = [session.get_one(UnifiedJob, row.id) for row in (forgotten, terminated, living, young)]
        assert [row.status for row in rows] == ["error", "error", "running", "running"]
        assert rows[0].job_explanation == "The workflow of this run ended without finishing it."

    async def test_looks_at_all_of_them(
        self, sweeps: Sweeps, database: Database, temporal_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "AT_ONCE", 2)
        age = LOST_AFTER + timedelta(seconds=1)
        living = [add(database, age=age, work_unit_id="x", status="running") for _ in range(4)]
        for row in living:
            await start(temporal_client, row)
        with database.transaction() as session:
            last = make_job(
                session, id=2**31 - 1 - random.randrange(10**6), created=now() - age, work_unit_id="x", status="running"
            ).id

        assert await sweeps.close_lost() == 1

        with database.transaction() as session:
            assert session.get_one(UnifiedJob, last).status == "error"
