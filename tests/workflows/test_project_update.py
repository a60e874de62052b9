"""The workflow of a project update."""

import asyncio

import pytest
from temporalio.client import Client
from workflows_world import World, refusal

from workflows.contracts import Outcome, Turn, TurnResult


@pytest.fixture
def world() -> World:
    return World()


async def test_plain(temporal_client: Client, world: World) -> None:
    async with world.working(temporal_client):
        assert await (await world.start(temporal_client, kind="project_update")).result() == "successful"

    assert world.names() == ["take_turn", "update_project", "finish_run"]


async def test_waits_for_another_update(temporal_client: Client, world: World) -> None:
    world.turns[1] = [TurnResult(Turn.WAITING), world.granted]
    async with world.working(temporal_client):
        handle = await world.start(temporal_client, kind="project_update")
        await world.until("take_turn")
        await handle.signal("wake")

        assert await handle.result() == "successful"


@pytest.mark.parametrize("phase", ["take_turn", "update_project"])
async def test_cancel(temporal_client: Client, world: World, phase: str) -> None:
    world.held = {phase}
    async with world.working(temporal_client):
        handle = await world.start(temporal_client, kind="project_update")
        await world.until(phase)
        await handle.cancel()

        assert await asyncio.wait_for(handle.result(), 10) == "canceled"

    assert world.ended == {1: Outcome("canceled")}


async def test_over_before_it_began(temporal_client: Client, world: World) -> None:
    world.turns[1] = [TurnResult(Turn.OVER)]
    async with world.working(temporal_client):
        assert await (await world.start(temporal_client, kind="project_update")).result() == "over"

    assert world.ended == {}


async def test_what_cannot_be_mended_ends_it(temporal_client: Client, world: World) -> None:
    world.outcome = refusal("no such column")
    async with world.working(temporal_client):
        assert await (await world.start(temporal_client, kind="project_update")).result() == "error"

    assert world.ended == {1: Outcome("error", "no such column")}
