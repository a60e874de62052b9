"""The activities that move a run through its states: short transactions, safe to repeat."""

from temporalio import activity

from activities.services import ControlServices, WorkerServices
from models import dispatch, runs
from models.gates import gates_for
from models.jobs import Job
from models.unified import FINISHED, JobStatus, UnifiedJob
from workflows.contracts import (
    Admission,
    Claim,
    ClaimInput,
    FinishInput,
    RunRef,
    Turn,
    TurnResult,
    workflow_id,
)

Woken = list[tuple[str, int]]


class RunState:
    def __init__(self, services: ControlServices) -> None:
        self._services = services

    @activity.defn
    async def check_gates(self, run: RunRef) -> Admission:
        """Ask quota, policy and scanners."""
        return await self._services.in_thread(lambda: self._check_gates(run.run_id))

    def _check_gates(self, run_id: int) -> Admission:
        with self._services.database.transaction() as session:
            job = session.get(Job, run_id)
            if job is None:
                return Admission(False, 404, "The job was deleted before it was let in.")
            if job.status in FINISHED:
                return Admission(admitted=True)  # nothing to hold back; the workflow finds out by itself
            for gate in gates_for(session, job):
                refusal = gate.check(session, job)
                if refusal is not None:
                    return Admission(False, refusal.status, refusal.detail, refusal.reasons)
        return Admission(admitted=True)

    @activity.defn
    async def discard_run(self, run: RunRef) -> None:
        """Remove the row of a run that the gates refused."""

        def discard() -> Woken:
            with self._services.database.transaction() as session:
                dispatch.lock(session)
                runs.discard(session, run.run_id)
                return dispatch.grant_waiting(session)  # it kept a place in the queue

        await self._services.wake(await self._services.in_thread(discard))

    @activity.defn
    async def take_turn(self, run: RunRef) -> TurnResult:
        """Ask whether the run may start. Takes the row for this workflow the first time."""
        result, woken = await self._services.in_thread(lambda: self._take_turn(run.run_id))
        await self._services.wake(woken)
        return result

    def _take_turn(self, run_id: int) -> tuple[TurnResult, Woken]:
        with self._services.database.transaction() as session:
            dispatch.lock(session)
            run = session.get(UnifiedJob, run_id)
            if run is None or run.status in FINISHED:
                return TurnResult(Turn.OVER), []
            if run.cancel_flag:
                runs.end(session, run_id, JobStatus.CANCELED)
                return TurnResult(Turn.OVER), dispatch.grant_waiting(session)
            runs.take(session, run, workflow_id(run.type, run_id))
            needed = runs.dependencies(session, run_id)
            failed = next((other for other in needed if other.failed), None)
            if failed is not None:
                runs.end_for_dependency(session, run_id, failed)
                return TurnResult(Turn.OVER), dispatch.grant_waiting(session)
            woken = [other for other in dispatch.grant_waiting(session) if other[1] != run_id]
            session.refresh(run)
            if run.granted_at is not None:
                return TurnResult(Turn.GRANTED, runs.group_name(session, run.instance_group_id)), woken
            to_start = [other.id for other in needed if not other.work_unit_id and other.status not in FINISHED]
            return TurnResult(Turn.WAITING, updates=to_start, explanation=run.job_explanation), woken

    @activity.defn
    async def release_claim(self, run: RunRef) -> bool:
        """Take a run back from a host that does not answer. False if the run had begun there: then it is lost."""

        def release() -> bool:
            with self._services.database.transaction() as session:
                return runs.release_claim(session, run.run_id)

        return await self._services.in_thread(release)

    @activity.defn
    async def release_turn(self, run: RunRef) -> None:
        """Give back the turn of a run that no worker of its group has taken: it queues up again, in its old place."""

        def release() -> Woken:
            with self._services.database.transaction() as session:
                dispatch.lock(session)
                runs.release_turn(session, run.run_id)
                return dispatch.grant_waiting(session)

        await self._services.wake(await self._services.in_thread(release))

    @activity.defn
    async def finish_run(self, finish: FinishInput) -> str:
        """Write the end state and grant whoever waited for it. Returns the state that the row is in."""

        def finish_in_database() -> tuple[str, Woken]:
            outcome = finish.outcome
            with self._services.database.transaction() as session:
                job = session.get(Job, finish.run_id, with_for_update=True)
                if job is not None and job.status not in FINISHED:
                    runs.summarize(session, job)
            with self._services.database.transaction() as session:
                dispatch.lock(session)
                status = runs.end(session, finish.run_id, outcome.status, outcome.explanation, outcome.traceback)
                return status, dispatch.grant_waiting(session)

        status, woken = await self._services.in_thread(finish_in_database)
        await self._services.wake(woken)
        return status


class Claims:
    """Served on the queue of an instance group: the worker that picks a run up has it, if it has room."""

    def __init__(self, services: WorkerServices) -> None:
        self._services = services

    @activity.defn
    async def claim_run(self, claim: ClaimInput) -> Claim:
        return Claim(await self._services.in_thread(lambda: self._claim(claim.run_id)))

    def _claim(self, run_id: int) -> str:
        with self._services.database.transaction() as session:
            return runs.claim(session, run_id, self._services.node)
