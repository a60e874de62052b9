"""The workflow that never ends, on a server whose time passes by itself."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from workflows_world import World, only, refusal

from workflows import maintenance
from workflows.maintenance import MaintenanceWorkflow

TEST_SERVER = Path(sys.executable).with_name("temporal-test-server")


@asynccontextmanager
async def maintained(
    world: World,
) -> AsyncIterator[tuple[WorkflowEnvironment, WorkflowHandle[MaintenanceWorkflow, None]]]:
    """The workflow, started, on a server whose time passes by itself."""
    async with (
        await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEST_SERVER)) as environment,
        Worker(
            environment.client,
            task_queue=world.queue,
            workflows=[MaintenanceWorkflow],
            activities=[world.sweep, world.close_lost],
            workflow_runner=UnsandboxedWorkflowRunner(),  # which sees what is patched
        ),
    ):
        yield (
            environment,
            await environment.client.start_workflow(MaintenanceWorkflow.run, id="maintenance", task_queue=world.queue),
        )


async def test_sweeps_and_starts_afresh_before_its_history_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "ROUNDS", 7)
    world = World()
    async with maintained(world) as (environment, handle):
        await environment.sleep(maintenance.SWEEP_EVERY * 10 + timedelta(seconds=5))
        latest = await environment.client.get_workflow_handle("maintenance").describe()
        await environment.client.get_workflow_handle("maintenance").terminate()

    assert latest.status == WorkflowExecutionStatus.RUNNING
    assert latest.run_id != handle.first_execution_run_id
    assert len(only(world.names(), "sweep")) in (9, 10)
    assert len(only(world.names(), "close_lost")) == 3  # rounds 0 and 6, and 0 again


async def test_round_that_fails_for_good_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permanent error of the database, say: everything else that was left behind still has to be seen to."""
    monkeypatch.setattr(maintenance, "ROUNDS", 7)
    world = World(swept=refusal())
    async with maintained(world) as (environment, handle):
        await environment.sleep(maintenance.SWEEP_EVERY * 3 + timedelta(seconds=5))
        status = (await handle.describe()).status
        await handle.terminate()

    assert status == WorkflowExecutionStatus.RUNNING
    assert only(world.names(), "sweep") == ["sweep"] * 3


def test_history_stays_small() -> None:
    """Three events a timer and two or three a round of local activities: far below the 50,000 that Temporal allows."""
    assert maintenance.ROUNDS * 10 < 10_000
