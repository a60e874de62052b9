"""The short transactions that move a run: what each answers, whom it wakes, and that repeating it is harmless."""

from typing import Any

import pytest
from make import make_git_project, make_instance, make_instance_group, make_job, make_template
from sqlalchemy import select
from sqlalchemy.orm import Session

from activities.services import WorkerServices
from activities.state import Claims, RunState
from core.db import Database
from models import gates, runs
from models.gates import Refusal
from models.instances import InstanceGroup
from models.jobs import Job
from models.unified import UnifiedJob
from workflows.contracts import Admission, Claim, ClaimInput, FinishInput, Outcome, RunRef, Turn, TurnResult


@pytest.fixture
def state(services: WorkerServices, idle_database: Database) -> RunState:
    """With room for two jobs in the default group."""
    with idle_database.transaction() as session:
        instance = make_instance(session, capacity=2)
        group = session.scalar(select(InstanceGroup).where(InstanceGroup.name == "default"))
        make_instance_group(session, [instance], name="default") if group is None else session.execute(
            runs.instance_group_instances.insert().values(instance_group_id=group.id, instance_id=instance.id)
        )
    return RunState(services)


def jobs(database: Database, number: int, **over: Any) -> list[int]:
    with database.transaction() as session:
        return [make_job(session, **over).id for _ in range(number)]


def look(database: Database, run_id: int) -> UnifiedJob:
    with database.transaction() as session:
        return session.get_one(UnifiedJob, run_id)


class TestTakeTurn:
    async def test_grants_until_there_is_no_room_and_says_why(self, state: RunState, database: Database) -> None:
        ids = jobs(database, 3)

        results = [await state.take_turn(RunRef(id)) for id in ids]

        assert results[:2] == [TurnResult(Turn.GRANTED, "default")] * 2
        assert results[2].turn is Turn.WAITING
        assert results[2].explanation == look(database, ids[2]).job_explanation != ""
        assert look(database, ids[0]).work_unit_id == f"job-{ids[0]}"

    async def test_repeated_one_answers_the_same(self, state: RunState, database: Database) -> None:
        [id] = jobs(database, 1)

        assert await state.take_turn(RunRef(id)) == await state.take_turn(RunRef(id))

    async def test_of_what_is_over_or_gone(self, state: RunState, database: Database) -> None:
        [id] = jobs(database, 1, status="canceled")

        assert (await state.take_turn(RunRef(id))).turn is Turn.OVER
        assert (await state.take_turn(RunRef(2**30))).turn is Turn.OVER

    async def test_cancelled_before_it_began_ends_here(self, state: RunState, database: Database) -> None:
        [id] = jobs(database, 1, cancel_flag=True)

        assert (await state.take_turn(RunRef(id))).turn is Turn.OVER
        assert look(database, id).status == "canceled"

    async def test_dependency_is_started_once_and_waited_for_by_all(
        self, state: RunState, database: Database, woken: list[str]
    ) -> None:
        ids = self.of_a_project_that_updates(database, 2)

        first = await state.take_turn(RunRef(ids[0]))
        [update_id] = first.updates
        update = await state.take_turn(RunRef(update_id))
        second = await state.take_turn(RunRef(ids[1]))

        assert (first.turn, second.turn, update.turn) == (Turn.WAITING, Turn.WAITING, Turn.GRANTED)
        assert second.updates == []
        assert first.explanation == f"Waiting for project update {update_id} to finish."

        await state.finish_run(FinishInput(update_id, Outcome("successful")))
        assert woken == [f"job-{id}" for id in ids]
        assert [(await state.take_turn(RunRef(id))).turn for id in ids] == [Turn.GRANTED] * 2

    async def test_failed_dependency_fails_all_that_waited(self, state: RunState, database: Database) -> None:
        ids = self.of_a_project_that_updates(database, 2)
        [update_id] = (await state.take_turn(RunRef(ids[0]))).updates
        await state.take_turn(RunRef(ids[1]))

        await state.finish_run(FinishInput(update_id, Outcome("failed")))

        assert [(await state.take_turn(RunRef(id))).turn for id in ids] == [Turn.OVER] * 2
        for id in ids:
            assert (look(database, id).status, look(database, id).started) == ("failed", None)
            assert look(database, id).job_explanation.startswith("Previous Task Failed: {")

    def of_a_project_that_updates(self, database: Database, number: int) -> list[int]:
        with database.transaction() as session:
            project = make_git_project(session, scm_update_on_launch=True)
            template = make_template(session, project_id=project.id, allow_simultaneous=True)
            return [make_job(session, template).id for _ in range(number)]


class TestFinish:
    async def test_wakes_whom_it_lets_in_and_nobody_twice(
        self, state: RunState, database: Database, woken: list[str]
    ) -> None:
        ids = jobs(database, 4)
        for id in ids:
            await state.take_turn(RunRef(id))

        finish = FinishInput(ids[0], Outcome("successful"))
        assert await state.finish_run(finish) == "successful"
        assert woken == [f"job-{ids[2]}"]

        assert await state.finish_run(finish) == "successful"
        assert woken == [f"job-{ids[2]}"]

    async def test_first_end_stands(self, state: RunState, database: Database) -> None:
        [id] = jobs(database, 1)

        assert await state.finish_run(FinishInput(id, Outcome("error", "lost"))) == "error"
        assert await state.finish_run(FinishInput(id, Outcome("successful"))) == "error"
        assert await state.finish_run(FinishInput(2**30, Outcome("successful"))) == ""


class TestClaim:
    @pytest.fixture
    def claims(self, services: WorkerServices) -> Claims:
        return Claims(services)

    async def test_of_the_worker_that_picks_it_up(self, state: RunState, claims: Claims, database: Database) -> None:
        [id] = jobs(database, 1)
        await state.take_turn(RunRef(id))
        node = look(database, id)
        with database.transaction() as session:
            hostname = session.scalars(select(runs.Instance.hostname).where(runs.Instance.last_seen.is_not(None))).one()

        # `n1`, which serves the queue, has no room of its own in the group.
        assert await claims.claim_run(ClaimInput(id, "default")) == Claim(hostname)
        assert await claims.claim_run(ClaimInput(id, "default")) == Claim(hostname)
        assert await state.release_claim(RunRef(id))
        assert node.execution_node == ""

    async def test_of_what_is_over(self, state: RunState, claims: Claims, database: Database) -> None:
        [id] = jobs(database, 1, status="canceled")

        assert await claims.claim_run(ClaimInput(id, "default")) == Claim("")
        assert not await state.release_claim(RunRef(id))


class No:
    name = "no"

    def applies(self, session: Session, job: Job) -> bool:
        return True

    def check(self, session: Session, job: Job) -> Refusal | None:
        return None if job.limit == "let me in" else Refusal(403, "No.", ["because"])


class TestGates:
    @pytest.fixture(autouse=True)
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gates, "GATES", [No()])

    async def test_admit_or_refuse(self, state: RunState, database: Database) -> None:
        [refused], [admitted] = jobs(database, 1), jobs(database, 1, limit="let me in")

        assert await state.check_gates(RunRef(admitted)) == Admission(True)
        assert await state.check_gates(RunRef(refused)) == Admission(False, 403, "No.", ["because"])
        # Asked again, after an answer that got lost, it says the same: the row is there until that is recorded.
        assert await state.check_gates(RunRef(refused)) == Admission(False, 403, "No.", ["because"])

    async def test_deleted_one_is_not_admitted(self, state: RunState) -> None:
        assert (await state.check_gates(RunRef(2**30))).admitted is False

    async def test_discarded_one_is_gone_and_gives_up_its_place(
        self, state: RunState, database: Database, woken: list[str]
    ) -> None:
        [first], [behind] = jobs(database, 1, task_impact=2), jobs(database, 1)
        assert (await state.take_turn(RunRef(behind))).turn is Turn.WAITING

        await state.discard_run(RunRef(first))
        await state.discard_run(RunRef(first))

        assert woken == [f"job-{behind}"]
        with database.transaction() as session:
            assert session.get(Job, first) is None
