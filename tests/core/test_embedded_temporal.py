"""The real dev server: its state outlives it, its ports stay the same."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from core.embedded.temporal import EmbeddedTemporal, running_address
from core.settings import Settings
from core.temporal import connect


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedTemporal]:
    server = EmbeddedTemporal(data_dir, namespace="forge-test")
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
async def test_state_and_ports_survive_stop_and_kill(server: EmbeddedTemporal, data_dir: Path) -> None:
    address, ui_url = server.address, server.ui_url
    client = await connect(Settings(temporal_namespace="forge-test"), address)
    await client.start_workflow("Waiting", id="kept", task_queue="nobody-polls")
    assert server.child is not None
    server.child.kill()
    server.child.wait(5)
    assert running_address(data_dir) is None

    # In this thread: the life of the children is bound to it.
    assert server.start() == address
    assert server.ui_url == ui_url
    assert await workflow_type(client) == "Waiting"

    server.stop()
    server.start()
    assert await workflow_type(client) == "Waiting"
    assert running_address(data_dir) == address


async def workflow_type(client: Client) -> str | None:
    """Of `kept`, once the client is connected again."""
    async with asyncio.timeout(20):
        return (await client.get_workflow_handle("kept").describe()).workflow_type
