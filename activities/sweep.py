"""Crash-only: what was committed and not done is found here and done. Every step is harmless when it was not needed."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, select
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.services import ControlServices
from models import dispatch, runs
from models.unified import ACTIVE, JobStatus, UnifiedJob
from workflows.contracts import SweepResult, workflow_id
from workflows.starting import RunStart, cancel_run, start_run

log = logging.getLogger("forge.sweep")
T = TypeVar("T")

GRACE = timedelta(seconds=5)  # what is younger is still being started, woken or cancelled by whoever wrote it
LOST_AFTER = timedelta(seconds=60)
AT_ONCE = 500


class Sweeps:
    def __init__(self, services: ControlServices) -> None:
        self._services = services

    @activity.defn
    async def sweep(self) -> SweepResult:
        """Start what was never started, wake who was granted, repeat cancels that got lost."""
        starts, woken, cancels = await self._services.in_thread(self._find)
        started = await _each(self._start(start) for start in starts)
        await self._services.wake(woken)
        await _each(cancel_run(self._services.client, kind, run_id) for kind, run_id in cancels)
        return SweepResult(started=started.count(True), woken=len(woken))

    async def _start(self, run: RunStart) -> bool:
        started = await start_run(self._services.client, run, searchable=self._services.searchable)
        if started:
            log.warning("started %s %s, which was committed but never started", run.kind, run.run_id)
        return started

    def _find(self) -> tuple[list[RunStart], Sequence[tuple[str, int]], Sequence[tuple[str, int]]]:
        with self._services.database.transaction() as session:
            before = func.now() - GRACE
            orphans = (
                select(UnifiedJob.id)
                .where(UnifiedJob.status.in_(ACTIVE), UnifiedJob.work_unit_id == "", UnifiedJob.created < before)
                .order_by(UnifiedJob.id)
            )
            starts = [RunStart(**facts) for facts in runs.start_facts(session, orphans.limit(AT_ONCE))]
            woken = [*dispatch.granted_before(session, GRACE), *dispatch.grant_waiting(session)]
            cancels = session.execute(
                select(UnifiedJob.type, UnifiedJob.id).where(
                    UnifiedJob.status.in_(ACTIVE), UnifiedJob.cancel_flag.is_(True), UnifiedJob.canceled_on < before
                )
            )
            pairs = [(kind, run_id) for kind, run_id in cancels]
            return starts, woken, pairs

    @activity.defn
    async def close_lost(self) -> int:
        """End the runs whose workflow is not there any more: ended by an operator, or lost with Temporal's data."""
        closed, last = 0, 0
        while page := await self._services.in_thread(partial(self._active, last)):
            last = page[-1].id
            for run_id in await _each(self._lost(row) for row in page):
                if run_id is not None:
                    closed += len(await _each([self._end(run_id)]))
        return closed

    async def _end(self, run_id: int) -> None:
        await self._services.wake(await self._services.in_thread(partial(self._close, run_id)))

    def _active(self, after: int) -> Sequence[Any]:
        with self._services.database.transaction() as session:
            return session.execute(
                select(UnifiedJob.id, UnifiedJob.type)
                .where(
                    UnifiedJob.status.in_(ACTIVE),
                    UnifiedJob.work_unit_id != "",
                    UnifiedJob.created < func.now() - LOST_AFTER,
                    UnifiedJob.id > after,
                )
                .order_by(UnifiedJob.id)
                .limit(AT_ONCE)
            ).all()

    async def _lost(self, row: Any) -> int | None:
        """The run's id if its workflow is not there."""
        try:
            found = await self._services.client.get_workflow_handle(workflow_id(row.type, row.id)).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return int(row.id)
            raise
        there = found.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)
        return None if there else int(row.id)

    def _close(self, run_id: int) -> list[tuple[str, int]]:
        with self._services.database.transaction() as session:
            dispatch.lock(session)
            log.error("run %s has no workflow any more: closed", run_id)
            runs.end(session, run_id, JobStatus.ERROR, "The workflow of this run ended without finishing it.")
            return dispatch.grant_waiting(session)


async def _each(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of the calls that succeed: one that does not must not keep the others from it."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            log.error("left to the next sweep: %r", result)
    return [result for result in results if not isinstance(result, BaseException)]
