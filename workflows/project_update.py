"""One update of a project from its source control."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.contracts import (
    HEARTBEAT_TIMEOUT,
    LONGEST_UPDATE,
    STEADY,
    RunInput,
    RunRef,
    Turn,
)
from workflows.run import RunWorkflow, ended_by

with workflow.unsafe.imports_passed_through():
    from activities.project_update import ProjectUpdates


@workflow.defn
class ProjectUpdateWorkflow(RunWorkflow):
    @workflow.run
    async def run(self, run: RunInput) -> str:
        """Returns the update's final status."""
        self._searchable = run.searchable
        try:
            turn = await self.wait_for_turn(run)
            if turn.turn is Turn.OVER:
                self.show("over")
                return "over"
            self.show("running")
            outcome = await workflow.execute_activity_method(
                ProjectUpdates.update_project,
                RunRef(run.run_id),
                start_to_close_timeout=LONGEST_UPDATE,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=STEADY,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except (asyncio.CancelledError, FailureError) as error:
            outcome = ended_by(error)
        return await self.finish(run.run_id, outcome)
