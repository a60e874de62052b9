"""The workflow of a job, with every end it can take."""

import asyncio
import os
import sys
from contextlib import suppress

import pytest
import workflows_world
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from workflows_world import SUCCESS, World, only, refusal

from workflows import contracts, starting
from workflows.contracts import Admission, Outcome, Turn, TurnResult
from workflows.job import JobWorkflow
from workflows.run import STATUS

WAIT = TurnResult(Turn.WAITING, explanation="Waiting for capacity.")
HAPPY = ["take_turn", "claim_run", "run_playbook", "finish_run", "clean_run"]


@pytest.fixture
def world() -> World:
    return World()


class TestCourse:
    async def test_plain(self, temporal_client: Client, world: World) -> None:
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)

            assert await handle.result() == "successful"

        assert world.names() == HAPPY
        assert world.ended == {1: SUCCESS}
        assert (await handle.describe()).typed_search_attributes.get(STATUS) == "successful"

    @pytest.mark.parametrize("outcome", [Outcome("failed"), Outcome("error", "because", "traceback")])
    async def test_outcome_is_the_playbooks(self, temporal_client: Client, world: World, outcome: Outcome) -> None:
        world.outcome = outcome
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client)).result() == outcome.status

        assert world.ended == {1: outcome}

    async def test_waits_until_it_is_woken_and_asks_again(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [WAIT, WAIT, world.granted]
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            for _ in range(2):
                await world.until("take_turn")
                await asyncio.sleep(0.2)
                await handle.signal("wake")

            assert await handle.result() == "successful"

        assert world.names() == ["take_turn"] * 3 + HAPPY[1:]

    async def test_wake_that_comes_while_it_asks_is_not_lost(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [WAIT, world.granted]
        world.held = {"take_turn"}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("take_turn")
            await handle.signal("wake")
            await world.let_go("take_turn")

            assert await asyncio.wait_for(handle.result(), 10) == "successful"

    async def test_over_before_it_began(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [TurnResult(Turn.OVER)]
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client)).result() == "over"

        assert world.names() == ["take_turn"]

    async def test_over_when_it_is_claimed(self, temporal_client: Client, world: World) -> None:
        world.claims = [""]
        async with world.working(temporal_client):
            await (await world.start(temporal_client)).result()

        assert world.names() == ["take_turn", "claim_run", "finish_run"]

    async def test_wakes_that_come_when_nobody_waits_do_no_harm(self, temporal_client: Client, world: World) -> None:
        world.held = {"run_playbook"}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("run_playbook")
            for _ in range(3):
                await handle.signal("wake")
            await world.let_go("run_playbook")

            assert await handle.result() == "successful"
        assert world.names() == HAPPY


class TestDependencies:
    async def test_are_run_as_children_once_for_all(self, temporal_client: Client, world: World) -> None:
        update_id = int(world.name, 16)  # the child's id is not the test's to choose
        for run_id in (1, 2):
            world.turns[run_id] = [TurnResult(Turn.WAITING, updates=[update_id]), world.granted]
        world.held = {"update_project"}
        async with world.working(temporal_client):
            one, two = [await world.start(temporal_client, run_id) for run_id in (1, 2)]
            await world.until("update_project")
            await asyncio.sleep(0.3)
            assert only(world.names(), "run_playbook", "update_project") == ["update_project"]
            await world.let_go("update_project")
            await asyncio.sleep(0.3)
            for handle in (one, two):  # as the end of the update does; whose child it was needs none
                with suppress(RPCError):
                    await handle.signal("wake")

            assert await one.result() == await two.result() == "successful"

        assert world.ended[update_id] == SUCCESS
        assert world.names().count("update_project") == 1

    async def test_outlive_the_job_that_started_them(self, temporal_client: Client, world: World) -> None:
        update_id = int(world.name, 16)
        world.turns[1] = [TurnResult(Turn.WAITING, updates=[update_id])]
        world.held = {"update_project"}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("update_project")
            await handle.cancel()
            assert await handle.result() == "canceled"
            child = temporal_client.get_workflow_handle(contracts.workflow_id("project_update", update_id))
            assert (await child.describe()).status == WorkflowExecutionStatus.RUNNING
            await world.let_go("update_project")
            await child.result()

        assert (world.ended[1].status, world.ended[update_id].status) == ("canceled", "successful")


class TestCancel:
    @pytest.mark.parametrize("phase", ["take_turn", "claim_run", "run_playbook"])
    async def test_in_the_middle(self, temporal_client: Client, world: World, phase: str) -> None:
        world.held = {phase}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until(phase)

            await handle.cancel()

            assert await asyncio.wait_for(handle.result(), 10) == "canceled"

        assert only(world.names(), "finish_run") == ["finish_run"]
        assert world.ended == {1: Outcome("canceled")}
        assert ("clean_run" in world.names()) is (phase == "run_playbook")

    async def test_while_it_waits(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [WAIT]
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("take_turn")
            await asyncio.sleep(0.2)
            await handle.cancel()

            assert await asyncio.wait_for(handle.result(), 10) == "canceled"
        assert world.ended == {1: Outcome("canceled")}

    async def test_while_no_worker_serves_the_group(self, temporal_client: Client, world: World) -> None:
        async with world.control_worker(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("take_turn")
            await asyncio.sleep(0.2)
            await handle.cancel()

            assert await asyncio.wait_for(handle.result(), 10) == "canceled"

    @pytest.mark.parametrize("phase", ["finish_run", "clean_run"])
    async def test_that_comes_too_late(self, temporal_client: Client, world: World, phase: str) -> None:
        world.held = {phase}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until(phase)
            await handle.cancel()
            await asyncio.sleep(0.3)
            await world.let_go(phase)

            assert await asyncio.wait_for(handle.result(), 10) == "successful"

        assert only(world.names(), "finish_run") == ["finish_run"]
        assert world.ended == {1: SUCCESS}

    async def test_again_and_again_is_one_cancel(self, temporal_client: Client, world: World) -> None:
        """As the sweep does when it finds the flag on a row that has not ended."""
        world.held = {"run_playbook"}
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("run_playbook")
            await asyncio.gather(*(handle.cancel() for _ in range(3)))
            assert await handle.result() == "canceled"
            await handle.cancel()

        assert only(world.names(), "finish_run") == ["finish_run"]


class TestLostWorker:
    @pytest.fixture(autouse=True)
    def shorter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same timeouts, ten times as fast. Their real sum is checked below."""
        monkeypatch.setattr(contracts, "HEARTBEAT_TIMEOUT", contracts.HEARTBEAT_TIMEOUT / 10)
        monkeypatch.setattr(contracts, "RETURN_TIMEOUT", contracts.RETURN_TIMEOUT / 10)
        monkeypatch.setattr(contracts, "CLAIM_TIMEOUT", contracts.CLAIM_TIMEOUT / 10)

    async def test_ends_the_run_with_the_reason(
        self, temporal_client: Client, temporal_address: str, world: World
    ) -> None:
        async with world.working(temporal_client, node=False):
            handle = await self.play_and_die(temporal_client, temporal_address, world)

            assert await asyncio.wait_for(handle.result(), 10) == "error"

        reason = f"The run was lost: instance {world.node} stopped answering while the job ran."
        assert world.ended == {1: Outcome("error", reason)}
        assert "clean_run" not in world.names()

    async def test_that_comes_back_attaches(self, temporal_client: Client, temporal_address: str, world: World) -> None:
        async with world.working(temporal_client, node=False):
            handle = await self.play_and_die(temporal_client, temporal_address, world)
            async with world.node_worker(temporal_client):
                assert await asyncio.wait_for(handle.result(), 10) == "successful"

        assert world.names() == HAPPY

    async def test_that_stops_by_itself_ends_nothing(self, temporal_client: Client, world: World) -> None:
        """Its activity learns that it is cancelled, but nobody asked for an end."""
        world.held = {"run_playbook"}
        async with world.working(temporal_client, node=False):
            async with world.node_worker(temporal_client):
                handle = await world.start(temporal_client)
                await world.until("run_playbook")
            world.held.clear()
            async with world.node_worker(temporal_client):
                assert await asyncio.wait_for(handle.result(), 10) == "successful"

        assert world.names() == ["take_turn", "claim_run", "run_playbook", *HAPPY[2:]]

    async def test_that_had_not_begun_gives_the_run_to_another(self, temporal_client: Client, world: World) -> None:
        world.claims = [f"dead-{world.name}", world.node]
        world.never_began = [True]
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)

            assert await asyncio.wait_for(handle.result(), 15) == "successful"

        assert world.names() == ["take_turn", "claim_run", "release_claim", *HAPPY[1:]]

    async def test_that_is_the_last_of_its_group_leaves_the_run_to_queue_up_again(
        self, temporal_client: Client, world: World
    ) -> None:
        world.turns[1] = [world.granted_elsewhere, world.granted]

        async with world.working(temporal_client):
            handle = await world.start(temporal_client)

            assert await asyncio.wait_for(handle.result(), 15) == "successful"

        assert world.names() == ["take_turn", "release_turn", *HAPPY]

    async def test_cancel_that_nobody_heard_is_not_forgotten(self, temporal_client: Client, world: World) -> None:
        """The host dies before it began, and the cancel comes before that is noticed: nobody else may begin then."""
        world.claims = [f"dead-{world.name}", world.node]
        world.never_began = [True]
        async with world.working(temporal_client):
            handle = await world.start(temporal_client)
            await world.until("claim_run")
            await asyncio.sleep(0.3)
            await handle.cancel()

            assert await asyncio.wait_for(handle.result(), 15) == "canceled"

        assert "run_playbook" not in world.names()
        assert world.ended == {1: Outcome("canceled")}

    async def test_that_comes_back_to_a_cancel_ends_what_goes_on_there(
        self, temporal_client: Client, temporal_address: str, world: World
    ) -> None:
        async with world.working(temporal_client, node=False):
            handle = await self.play_and_die(temporal_client, temporal_address, world)
            await handle.cancel()
            async with world.node_worker(temporal_client):
                assert await asyncio.wait_for(handle.result(), 10) == "canceled"

        assert only(world.names(), "end_playbook", "finish_run", "clean_run") == [
            "end_playbook",
            "finish_run",
            "clean_run",
        ]

    def test_is_noticed_in_time(self) -> None:
        """An end within 30 s: silence, the pause before the next attempt, and the time that a host has to return."""
        pause = contracts.ATTACH.initial_interval

        assert (contracts.HEARTBEAT_TIMEOUT * 10 + pause + contracts.RETURN_TIMEOUT * 10).total_seconds() < 30

    async def play_and_die(self, client: Client, address: str, world: World) -> WorkflowHandle[JobWorkflow, str]:
        """A worker in a process of its own takes the playbook, and is killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            workflows_world.__file__,
            address,
            world.name,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        handle = await world.start(client)
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"playing\n"
        process.kill()
        await process.wait()
        return handle


class TestBrokenActivities:
    async def test_that_cannot_be_mended_end_the_run(self, temporal_client: Client, world: World) -> None:
        world.outcome = refusal("no such column")
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client)).result() == "error"

        assert world.ended == {1: Outcome("error", "no such column")}

    async def test_when_the_turn_is_taken(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [refusal()]
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client)).result() == "error"

    async def test_that_can_be_mended_are_tried_again(self, temporal_client: Client, world: World) -> None:
        world.turns[1] = [ApplicationError("database away"), ApplicationError("database away"), world.granted]
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client)).result() == "successful"

        assert world.names() == ["take_turn"] * 3 + HAPPY[1:]


class TestGates:
    @pytest.fixture(autouse=True)
    def own_queue(self, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
        monkeypatch.setattr(starting, "CONTROL_QUEUE", world.queue)

    @pytest.fixture
    def run(self, world: World) -> starting.RunStart:
        return starting.RunStart("job", int(world.name, 16), "Deploy", username="ada", gated=True)

    async def test_admit_in_the_same_call(self, temporal_client: Client, world: World, run: starting.RunStart) -> None:
        async with world.working(temporal_client):
            assert await starting.start_and_admit(temporal_client, run) == Admission(True)
            handle = temporal_client.get_workflow_handle(f"job-{run.run_id}")
            assert await handle.result() == "successful"

        assert world.names() == ["check_gates", *HAPPY]

    async def test_refuse_and_the_row_is_gone_by_then(
        self, temporal_client: Client, world: World, run: starting.RunStart
    ) -> None:
        no = Admission(False, 429, "Quota exceeded.", ["5 of 5 jobs"])
        world.admissions = [no]
        async with world.working(temporal_client):
            assert await starting.start_and_admit(temporal_client, run) == no
            assert world.names() == ["check_gates", "discard_run"]
            assert await temporal_client.get_workflow_handle(f"job-{run.run_id}").result() == "blocked"

        assert world.ended == {}

    async def test_are_asked_without_anybody_waiting_too(self, temporal_client: Client, world: World) -> None:
        """As when the sweep starts what a server committed and never started."""
        world.admissions = [Admission(False, 403, "No.")]
        async with world.working(temporal_client):
            assert await (await world.start(temporal_client, gated=True)).result() == "blocked"

        assert world.names() == ["check_gates", "discard_run"]

    async def test_who_joins_late_gets_the_answer(
        self, temporal_client: Client, world: World, run: starting.RunStart
    ) -> None:
        world.held = {"run_playbook"}
        async with world.working(temporal_client):
            assert await starting.start_run(temporal_client, run)
            await world.until("run_playbook")

            assert await starting.start_and_admit(temporal_client, run) == Admission(True)
            await world.let_go("run_playbook")
            await temporal_client.get_workflow_handle(f"job-{run.run_id}").result()

        assert world.names().count("check_gates") == 1

    async def test_that_cannot_be_asked_let_nobody_in(
        self, temporal_client: Client, world: World, run: starting.RunStart
    ) -> None:
        world.admissions = [refusal("scanner broken")]
        async with world.working(temporal_client):
            admission = await asyncio.wait_for(starting.start_and_admit(temporal_client, run), 10)

        assert (admission.admitted, admission.status) == (False, 503)
        assert "scanner broken" in admission.detail
        assert world.ended == {run.run_id: Outcome("error", "scanner broken")}

    async def test_cancel_while_they_are_asked(
        self, temporal_client: Client, world: World, run: starting.RunStart
    ) -> None:
        world.held = {"check_gates"}
        async with world.working(temporal_client):
            waiting = asyncio.create_task(starting.start_and_admit(temporal_client, run))
            await world.until("check_gates")
            await starting.cancel_run(temporal_client, "job", run.run_id)

            assert (await asyncio.wait_for(waiting, 10)).admitted is False

        assert world.ended == {run.run_id: Outcome("canceled")}


class TestStarting:
    async def test_second_start_is_harmless(
        self, temporal_client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(starting, "CONTROL_QUEUE", world.queue)
        run = starting.RunStart("job", int(world.name, 16), "😀" * 512, "Ω" * 512, "ž" * 150)
        world.held = {"run_playbook"}
        async with world.working(temporal_client):
            assert await starting.start_run(temporal_client, run)
            await world.until("run_playbook")
            assert not await starting.start_run(temporal_client, run)
            await world.let_go("run_playbook")
            handle = temporal_client.get_workflow_handle(f"job-{run.run_id}")
            await handle.result()
            description = await handle.describe()

        assert world.names() == HAPPY
        assert await description.memo() == {"api": f"/api/v2/jobs/{run.run_id}/"}

    async def test_cancel_of_nothing_is_harmless(self, temporal_client: Client) -> None:
        await starting.cancel_run(temporal_client, "job", 2**31)
