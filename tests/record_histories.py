"""Records one history per workflow and path into `tests/histories/`, which `tests/workflows/test_replay.py` replays:
`python -m tests.record_histories NAME ...`, or without names all that are not there yet.

A history stays as it was recorded for as long as a run of its shape may be under way somewhere. When a change of
commands goes behind `workflow.patched`, the new course is recorded under a new name beside the old one."""

import asyncio
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))  # after the packages that it has folders for

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from workflows_world import World, refusal

from core.datadir import prepare_data_dir
from core.embedded.temporal import EmbeddedTemporal
from core.settings import Settings
from core.temporal import connect, ensure_search_attributes
from workflows import contracts, maintenance, starting
from workflows.contracts import Admission, Outcome, Turn, TurnResult, workflow_id
from workflows.maintenance import MaintenanceWorkflow

HISTORIES = Path(__file__).parent / "histories"
Handle = WorkflowHandle[Any, Any]
Recording = Callable[[Client, World], Awaitable[Handle]]
WAIT = TurnResult(Turn.WAITING, explanation="Waiting for capacity.")


async def _ended(handle: Handle) -> Handle:
    await handle.result()
    return handle


async def plain(client: Client, world: World) -> Handle:
    return await _ended(await world.start(client))


async def failed(client: Client, world: World) -> Handle:
    world.outcome = Outcome("failed", "Job terminated due to timeout")
    return await plain(client, world)


async def broken(client: Client, world: World) -> Handle:
    world.outcome = refusal()
    return await plain(client, world)


async def waited(client: Client, world: World) -> Handle:
    world.turns[1] = [WAIT, WAIT, world.granted]
    handle = await world.start(client)
    for _ in range(2):
        await asyncio.sleep(0.5)
        await handle.signal("wake")
    return await _ended(handle)


async def over(client: Client, world: World) -> Handle:
    world.turns[1] = [TurnResult(Turn.OVER)]
    return await plain(client, world)


async def with_update(client: Client, world: World) -> Handle:
    world.turns[1] = [TurnResult(Turn.WAITING, updates=[2]), world.granted]
    return await plain(client, world)


def cancelled_in(phase: str, kind: str = "job") -> Recording:
    async def record(client: Client, world: World) -> Handle:
        world.held = {phase}
        handle = await world.start(client, kind=kind)
        await world.until(phase)
        await handle.cancel()
        await asyncio.sleep(0.5)
        await world.let_go(phase)
        return await _ended(handle)

    return record


async def cancelled_while_waiting(client: Client, world: World) -> Handle:
    world.turns[1] = [WAIT]
    handle = await world.start(client)
    await world.until("take_turn")
    await asyncio.sleep(0.5)
    await handle.cancel()
    return await _ended(handle)


async def host_lost(client: Client, world: World) -> Handle:
    world.claims = ["nobody-here"]
    return await plain(client, world)


async def unclaimed(client: Client, world: World) -> Handle:
    world.turns[1] = [world.granted_elsewhere, world.granted]
    return await plain(client, world)


async def cancelled_without_host(client: Client, world: World) -> Handle:
    world.claims = ["nobody-here"]
    handle = await world.start(client)
    await world.until("claim_run")
    await asyncio.sleep(0.5)
    await handle.cancel()
    return await _ended(handle)


async def host_never_began(client: Client, world: World) -> Handle:
    world.claims = ["nobody-here", world.node]
    world.never_began = [True]
    return await plain(client, world)


def gated(admission: Admission | Exception) -> Recording:
    async def record(client: Client, world: World) -> Handle:
        world.admissions = [admission]
        starting.CONTROL_QUEUE = world.queue
        run = starting.RunStart("job", int(world.name, 16), "Deploy", gated=True)
        await starting.start_and_admit(client, run)
        return await _ended(client.get_workflow_handle(workflow_id(run.kind, run.run_id)))

    return record


async def update_plain(client: Client, world: World) -> Handle:
    return await _ended(await world.start(client, kind="project_update"))


async def rounds(client: Client, world: World) -> Handle:
    maintenance.SWEEP_EVERY = timedelta(milliseconds=50)
    worker = Worker(
        client,
        task_queue=f"maintenance-{world.name}",
        workflows=[MaintenanceWorkflow],
        activities=[world.sweep, world.close_lost],
        workflow_runner=UnsandboxedWorkflowRunner(),  # which sees the shorter pause
    )
    async with worker:
        handle = await client.start_workflow(
            MaintenanceWorkflow.run, id=f"maintenance-{world.name}", task_queue=worker.task_queue
        )
        while world.names().count("sweep") < 9:
            await asyncio.sleep(0.05)
    return handle


PATHS: dict[str, Recording] = {
    "job_plain": plain,
    "job_failed": failed,
    "job_broken": broken,
    "job_waited": waited,
    "job_over": over,
    "job_with_update": with_update,
    "job_cancelled_while_waiting": cancelled_while_waiting,
    "job_cancelled_while_claiming": cancelled_in("claim_run"),
    "job_cancelled_while_playing": cancelled_in("run_playbook"),
    "job_cancelled_while_ending": cancelled_in("finish_run"),
    "job_host_lost": host_lost,
    "job_cancelled_without_host": cancelled_without_host,
    "job_host_never_began": host_never_began,
    "job_unclaimed": unclaimed,
    "job_gated_admitted": gated(Admission(True)),
    "job_gated_refused": gated(Admission(False, 403, "No.", ["because"])),
    "job_gated_broken": gated(refusal("scanner broken")),
    "project_update_plain": update_plain,
    "project_update_cancelled": cancelled_in("update_project", "project_update"),
    "maintenance_rounds": rounds,
}


async def record(name: str, client: Client) -> None:
    world = World()
    async with world.working(client):
        handle = await PATHS[name](client, world)
        history = await handle.fetch_history()
    # Who recorded it, and where, is nobody's business.
    text = json.dumps(json.loads(history.to_json()), indent=1)
    text = re.sub(r"\d+@[\w.-]+", "worker", text)
    text = re.sub(r'"stackTrace": ".*"', '"stackTrace": ""', text)
    (HISTORIES / f"{name}.json").write_text(text.replace(socket.gethostname(), "host") + "\n")
    print(name, len(history.events), "events")  # noqa: T201


async def main(names: list[str]) -> None:
    contracts.HEARTBEAT_TIMEOUT /= 10  # how long a timer is makes no difference to a replay
    contracts.RETURN_TIMEOUT /= 10
    contracts.CLAIM_TIMEOUT /= 10
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        prepare_data_dir(Path(directory))
        temporal = EmbeddedTemporal(Path(directory))
        temporal.start()
        try:
            client = await connect(Settings(), temporal.address)
            await ensure_search_attributes(client)
            for name in names or [name for name in PATHS if not (HISTORIES / f"{name}.json").exists()]:
                await record(name, client)
        finally:
            temporal.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
    os._exit(0)  # the SDK's threads may hang at an interpreter's end
