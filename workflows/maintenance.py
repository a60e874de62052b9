"""The one workflow that sees to what crashes leave behind: rows never started, wake-ups and cancels that got lost,
runs whose workflow is gone."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from workflows.contracts import ONCE, SWEEP_TIMEOUT

with workflow.unsafe.imports_passed_through():
    from activities.sweep import Sweeps

SWEEP_EVERY = timedelta(seconds=10)
CLOSE_EVERY = 6  # sweeps
ROUNDS = 500  # sweeps before the history starts afresh
MAINTENANCE_ID = "maintenance"


@workflow.defn
class MaintenanceWorkflow:
    @workflow.run
    async def run(self) -> None:
        """Never returns: continues as new."""
        for round_number in range(ROUNDS):
            await workflow.sleep(SWEEP_EVERY)
            try:
                await workflow.execute_local_activity_method(
                    Sweeps.sweep, start_to_close_timeout=SWEEP_TIMEOUT, retry_policy=ONCE
                )
                if round_number % CLOSE_EVERY == 0:
                    await workflow.execute_local_activity_method(
                        Sweeps.close_lost, start_to_close_timeout=SWEEP_TIMEOUT, retry_policy=ONCE
                    )
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                # Whatever it is must not end what sees to everything else.
                workflow.logger.exception("a round was given up, the next one comes")
        workflow.continue_as_new()
