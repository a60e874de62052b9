"""The real workflows on a real Temporal server, with activities of the same names that play a world of the test's
making. Queues are the test's own, so that tests can share the server."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.services import cancel_requested
from workflows.contracts import (
    Admission,
    Claim,
    ClaimInput,
    FinishInput,
    Outcome,
    PlayInput,
    RunInput,
    RunRef,
    SweepResult,
    Turn,
    TurnResult,
    group_queue,
    node_queue,
    workflow_id,
)
from workflows.job import JobWorkflow
from workflows.maintenance import MaintenanceWorkflow
from workflows.project_update import ProjectUpdateWorkflow
from workflows.serving import WORKFLOW_RUNNER

SUCCESS = Outcome("successful")


@dataclass
class World:
    """What the activities answer; a list is answered one by one, its last one for ever. `calls` is what was asked."""

    name: str = field(default_factory=lambda: uuid4().hex[:8])
    turns: dict[int, list[TurnResult | Exception]] = field(default_factory=dict)  # by run; default: granted
    claims: list[str] = field(default_factory=list)  # nodes; default: this world's
    admissions: list[Admission | Exception] = field(default_factory=lambda: [Admission(True)])
    never_began: list[bool] = field(default_factory=lambda: [False])
    outcome: Outcome | Exception = SUCCESS
    swept: SweepResult | Exception = field(default_factory=SweepResult)
    held: set[str] = field(default_factory=set)  # activities that do not return until they are let go or cancelled
    calls: list[tuple[str, Any]] = field(default_factory=list)
    ended: dict[int, Outcome] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def queue(self) -> str:
        return f"control-{self.name}"

    @property
    def node(self) -> str:
        return f"node-{self.name}"

    @property
    def granted(self) -> TurnResult:
        return TurnResult(Turn.GRANTED, self.name)

    @property
    def granted_elsewhere(self) -> TurnResult:
        """In a group whose queue nobody serves."""
        return TurnResult(Turn.GRANTED, f"{self.name}-unserved")

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def until(self, *names: str, seconds: float = 20) -> None:
        """Wait until each of these was called."""
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(lambda: set(names) <= set(self.names()))

    async def let_go(self, name: str) -> None:
        async with self.changed:
            self.held.discard(name)
            self.changed.notify_all()

    async def _called(self, name: str, input: Any) -> None:
        async with self.changed:
            self.calls.append((name, input))
            self.changed.notify_all()
            await self.changed.wait_for(lambda: name not in self.held)

    def _next(self, answers: list[Any]) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- the activities -----------------------------------------------------------------------------------------------

    @activity.defn
    async def take_turn(self, run: RunRef) -> TurnResult:
        await self._called("take_turn", run)
        result: TurnResult = self._next(self.turns.setdefault(run.run_id, [self.granted]))
        return result

    @activity.defn
    async def check_gates(self, run: RunRef) -> Admission:
        await self._called("check_gates", run)
        admission: Admission = self._next(self.admissions)
        return admission

    @activity.defn
    async def discard_run(self, run: RunRef) -> None:
        await self._called("discard_run", run)

    @activity.defn
    async def claim_run(self, claim: ClaimInput) -> Claim:
        await self._called("claim_run", claim)
        return Claim(self._next(self.claims or [self.node]))

    @activity.defn
    async def release_claim(self, run: RunRef) -> bool:
        await self._called("release_claim", run)
        began: bool = self._next(self.never_began)
        return began

    @activity.defn
    async def release_turn(self, run: RunRef) -> None:
        await self._called("release_turn", run)

    @activity.defn
    async def run_playbook(self, play: PlayInput) -> Outcome:
        if play.cancelled:
            self.calls.append(("end_playbook", play))
            return Outcome("canceled")
        return await self._work("run_playbook", play)

    @activity.defn
    async def update_project(self, run: RunRef) -> Outcome:
        return await self._work("update_project", run)

    async def _work(self, name: str, run: RunRef | PlayInput) -> Outcome:
        beating = asyncio.create_task(self._beat())
        try:
            await self._called(name, run)
        except asyncio.CancelledError:
            if not cancel_requested():
                raise
            return Outcome("canceled")  # as the real one: it ends the work and says so
        finally:
            beating.cancel()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def _beat(self) -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)

    @activity.defn
    async def finish_run(self, finish: FinishInput) -> str:
        await self._called("finish_run", finish)
        return self.ended.setdefault(finish.run_id, finish.outcome).status

    @activity.defn
    async def clean_run(self, run: RunRef) -> None:
        await self._called("clean_run", run)

    @activity.defn
    async def sweep(self) -> SweepResult:
        await self._called("sweep", None)
        if isinstance(self.swept, Exception):
            raise self.swept
        return self.swept

    @activity.defn
    async def close_lost(self) -> int:
        await self._called("close_lost", None)
        return 0

    # --- the workers and the workflows --------------------------------------------------------------------------------

    def control_worker(self, client: Client) -> Worker:
        return Worker(
            client,
            task_queue=self.queue,
            workflows=[JobWorkflow, ProjectUpdateWorkflow, MaintenanceWorkflow],
            activities=[
                self.take_turn,
                self.check_gates,
                self.discard_run,
                self.release_claim,
                self.release_turn,
                self.finish_run,
                self.update_project,
                self.sweep,
                self.close_lost,
            ],
            workflow_runner=WORKFLOW_RUNNER,
            max_heartbeat_throttle_interval=timedelta(milliseconds=100),
            default_heartbeat_throttle_interval=timedelta(milliseconds=100),
        )

    def group_worker(self, client: Client) -> Worker:
        return Worker(client, task_queue=group_queue(self.name), activities=[self.claim_run])

    def node_worker(self, client: Client, node: str = "") -> Worker:
        return Worker(
            client,
            task_queue=node_queue(node or self.node),
            activities=[self.run_playbook, self.clean_run],
            max_heartbeat_throttle_interval=timedelta(milliseconds=100),
            default_heartbeat_throttle_interval=timedelta(milliseconds=100),
            graceful_shutdown_timeout=timedelta(0),
        )

    @asynccontextmanager
    async def working(self, client: Client, *, node: bool = True) -> AsyncIterator[None]:
        workers = [self.control_worker(client), self.group_worker(client)]
        async with AsyncExitStack() as stack:
            for worker in (*workers, *([self.node_worker(client)] if node else [])):
                await stack.enter_async_context(worker)
            yield

    async def start(
        self, client: Client, run_id: int = 1, kind: str = "job", *, gated: bool = False
    ) -> WorkflowHandle[Any, str]:
        handle: WorkflowHandle[Any, str] = await client.start_workflow(
            {"job": JobWorkflow.run, "project_update": ProjectUpdateWorkflow.run}[kind],
            RunInput(run_id, gated),
            id=f"{workflow_id(kind, run_id)}-{self.name}",
            task_queue=self.queue,
            task_timeout=timedelta(seconds=2),  # a signal waits so long for a local activity that is held
        )
        return handle


def refusal(message: str = "broken") -> ApplicationError:
    return ApplicationError(message, non_retryable=True)


def only(names: Iterable[str], *wanted: str) -> list[str]:
    return [name for name in names if name in wanted]


async def serve_node(address: str, name: str) -> None:
    """A host whose worker can be killed: it takes a playbook of the world `name` and never ends it."""
    world = World(name, held={"run_playbook"})
    async with world.node_worker(await Client.connect(address)):
        print("ready", flush=True)  # noqa: T201  whoever kills this process waits for it
        await world.until("run_playbook", seconds=60)
        print("playing", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_node(*sys.argv[1:]))
