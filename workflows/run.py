"""What the workflows of all runs share: waiting for their turn, telling how it goes, ending in exactly one state."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from workflows.contracts import (
    DATABASE_TIMEOUT,
    FAST,
    PROJECT_UPDATE,
    FinishInput,
    Outcome,
    RunInput,
    RunRef,
    Turn,
    TurnResult,
    run_memo,
    workflow_id,
)

with workflow.unsafe.imports_passed_through():
    from activities.state import RunState

TYPE = SearchAttributeKey.for_keyword("ForgeType")
STATUS = SearchAttributeKey.for_keyword("ForgeStatus")
# A local activity whose next try is further away than this waits in Temporal, not in a worker's memory. It is less than
# the longest pause of FAST, or nothing ever would.
LOCAL_RETRIES = timedelta(seconds=5)
Input = TypeVar("Input")
Result = TypeVar("Result")


class RunWorkflow:
    """Base of the workflows that drive one row of `unified_jobs`."""

    def __init__(self) -> None:
        self._woken = False
        self._searchable = True

    @workflow.signal
    def wake(self) -> None:
        """Something that this run waited for has changed: it asks again. Harmless at any time."""
        self._woken = True

    def show(self, status: str, details: str = "") -> None:
        """Make the state visible in Temporal UI."""
        workflow.set_current_details(details or status)
        if self._searchable:
            workflow.upsert_search_attributes([STATUS.value_set(status)])

    async def wait_for_turn(self, run: RunInput) -> TurnResult:
        """Returns when the run may start, or is over before it started. While it waits its row says why."""
        while True:
            self._woken = False
            result = await decide(RunState.take_turn, RunRef(run.run_id))
            if result.turn is not Turn.WAITING:
                return result
            self.show("waiting", result.explanation)
            if result.updates:
                await asyncio.gather(*(self._update_project(run, update_id) for update_id in result.updates))
            else:
                await workflow.wait_condition(lambda: self._woken)

    async def _update_project(self, run: RunInput, update_id: int) -> None:
        """Run a dependency to its end. How it ended is read from its row, by `take_turn`."""
        try:
            await workflow.execute_child_workflow(
                "ProjectUpdateWorkflow",
                RunInput(update_id, searchable=run.searchable),
                id=workflow_id(PROJECT_UPDATE, update_id),
                # Others may wait for the same update: it is not ended with the job that happened to start it.
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                static_summary=f"Project update #{update_id} for job #{run.run_id}",
                memo=run_memo(PROJECT_UPDATE, update_id),
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(TYPE, PROJECT_UPDATE), SearchAttributePair(STATUS, "pending")]
                )
                if run.searchable
                else None,
            )
        except WorkflowAlreadyStartedError:
            await workflow.wait_condition(lambda: self._woken)  # somebody else's: its end wakes us
        except ChildWorkflowError:
            workflow.logger.warning("project update %s did not end by itself", update_id)

    async def finish(self, run_id: int, outcome: Outcome) -> str:
        """Write the end; whoever waited for this run is granted and woken. A cancel that comes now is too late."""
        task = asyncio.ensure_future(decide(RunState.finish_run, FinishInput(run_id, outcome)))
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                workflow.logger.info("cancelled while it ended")
        status = task.result()
        self.show(status, outcome.explanation)
        return status


async def decide(transaction: Callable[[RunState, Input], Awaitable[Result]], argument: Input) -> Result:
    """Have one of the short transactions on the database done, in the worker that drives this workflow."""
    return await workflow.execute_local_activity_method(
        transaction,
        argument,
        start_to_close_timeout=DATABASE_TIMEOUT,
        retry_policy=FAST,
        local_retry_threshold=LOCAL_RETRIES,
    )


def ended_by(error: BaseException) -> Outcome:
    """The outcome of a run that was cancelled, or whose work failed for good. What a local activity raises comes as it
    is; of others it is the cause of an ActivityError."""
    if is_cancelled_exception(error):
        return Outcome("canceled")
    cause = error.cause if isinstance(error, ActivityError) else error
    message = cause.message if isinstance(cause, ApplicationError) else str(cause)
    return Outcome("error", message)
