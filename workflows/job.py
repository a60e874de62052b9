"""One run of a job template: admission, its turn, a host, the playbook, the end."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, TimeoutError, TimeoutType

from workflows.contracts import (
    ATTACH,
    CLAIM_TIMEOUT,
    CLEAN_TIMEOUT,
    DATABASE_TIMEOUT,
    FAST,
    GATE_TIMEOUT,
    HEARTBEAT_TIMEOUT,
    LONGEST_RUN,
    ONCE,
    PATIENT,
    RETURN_TIMEOUT,
    Admission,
    Claim,
    ClaimInput,
    Outcome,
    PlayInput,
    RunInput,
    RunRef,
    Turn,
    group_queue,
    node_queue,
)
from workflows.run import RunWorkflow, decide, ended_by

with workflow.unsafe.imports_passed_through():
    from activities.playbook import Playbooks
    from activities.state import Claims, RunState


@workflow.defn
class JobWorkflow(RunWorkflow):
    def __init__(self) -> None:
        super().__init__()
        self._admission: Admission | None = None
        self._node = ""

    @workflow.update
    async def admit(self) -> Admission:
        """Sent with the start by whoever waits for the answer: whether the gates let the job run."""
        await workflow.wait_condition(lambda: self._admission is not None)
        assert self._admission is not None
        return self._admission

    @workflow.run
    async def run(self, run: RunInput) -> str:
        """Returns the job's final status, or "blocked"."""
        self._searchable = run.searchable
        try:
            if not await self._admitted(run):
                await workflow.wait_condition(workflow.all_handlers_finished)
                return "blocked"
            played: Outcome | None = None
            while played is None:
                turn = await self.wait_for_turn(run)
                if turn.turn is Turn.OVER:
                    self.show("over")
                    return "over"
                played = await self._play(run, turn.group)
            outcome = played
        except (asyncio.CancelledError, FailureError) as error:
            outcome = ended_by(error)
        status = await self.finish(run.run_id, outcome)
        if self._admission is None:  # nobody is let in because the gates could not be asked
            self._admission = Admission(False, 503, f"The job was not let in: {outcome.explanation or outcome.status}")
        await self._clean(run)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return status

    async def _admitted(self, run: RunInput) -> bool:
        if not run.gated:
            self._admission = Admission(admitted=True)
            return True
        admission = await workflow.execute_activity_method(
            RunState.check_gates,
            RunRef(run.run_id),
            start_to_close_timeout=GATE_TIMEOUT,
            retry_policy=PATIENT,
        )
        if not admission.admitted:
            await decide(RunState.discard_run, RunRef(run.run_id))
        self._admission = admission
        return admission.admitted

    async def _play(self, run: RunInput, group: str) -> Outcome | None:
        """None when no worker of the group took the run: it has given back its turn, and asks again."""
        while True:
            claim = await self._claim(run, group)
            if claim is None:
                return None
            self._node = claim.node
            if not self._node:
                return Outcome("canceled")  # over: the row's own end stands
            self.show("running", f"on {self._node}")
            played = await self._played(PlayInput(run.run_id))
            if isinstance(played, Outcome):
                return played
            began = not await self._never_began(run)
            if began and workflow.cancellation_reason() is not None:
                # Temporal does not retry what is to be cancelled, but a playbook outlives its worker.
                played = await self._played(PlayInput(run.run_id, cancelled=True))
                if isinstance(played, Outcome):
                    return played
            if began:
                lost, self._node = self._node, ""  # if it comes back, it tidies up by itself
                return _lost(lost, played)
            if workflow.cancellation_reason() is not None:
                return Outcome("canceled")  # asked for while nobody was there to hear it

    async def _played(self, play: PlayInput) -> Outcome | TimeoutError:
        """The outcome; or the timeout that tells that the run's host is not there."""
        try:
            return await workflow.execute_activity_method(
                Playbooks.run_playbook,
                play,
                task_queue=node_queue(self._node),
                schedule_to_start_timeout=RETURN_TIMEOUT,
                start_to_close_timeout=LONGEST_RUN,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=ATTACH,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            if not isinstance(error.cause, TimeoutError):
                raise
            return error.cause

    async def _claim(self, run: RunInput, group: str) -> Claim | None:
        """Whoever polls the group's queue first has the run. None when nobody does: the group's only worker has just
        gone, say."""
        try:
            return await workflow.execute_activity_method(
                Claims.claim_run,
                ClaimInput(run.run_id, group),
                task_queue=group_queue(group),
                schedule_to_start_timeout=CLAIM_TIMEOUT,
                start_to_close_timeout=DATABASE_TIMEOUT,
                retry_policy=FAST,
            )
        except ActivityError as error:
            if not isinstance(error.cause, TimeoutError):
                raise
        await decide(RunState.release_turn, RunRef(run.run_id))
        return None

    async def _never_began(self, run: RunInput) -> bool:
        """Whether the host that does not answer had not begun: then another one may have the run."""
        return await decide(RunState.release_claim, RunRef(run.run_id))

    async def _clean(self, run: RunInput) -> None:
        if not self._node:
            return
        try:
            await workflow.execute_activity_method(
                Playbooks.clean_run,
                RunRef(run.run_id),
                task_queue=node_queue(self._node),
                schedule_to_start_timeout=RETURN_TIMEOUT,
                start_to_close_timeout=CLEAN_TIMEOUT,
                retry_policy=ONCE,
            )
        except (asyncio.CancelledError, ActivityError):
            workflow.logger.info("left to %s, which tidies up by itself", self._node)


def _lost(node: str, timeout: TimeoutError) -> Outcome:
    silent = timeout.type in (TimeoutType.HEARTBEAT, TimeoutType.SCHEDULE_TO_START)
    reason = "stopped answering while the job ran" if silent else "ran the job for longer than any may"
    return Outcome("error", f"The run was lost: instance {node} {reason}.")
