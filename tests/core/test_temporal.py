"""Connecting, and what is said when it does not work."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import OperatorService, RPCError, RPCStatusCode, WorkflowService

from core.errors import StartupError, Unavailable
from core.settings import Settings
from core.temporal import SEARCH_ATTRIBUTES, connect, ensure_search_attributes


async def test_search_attributes_are_registered_once(temporal_client: Client) -> None:
    assert await ensure_search_attributes(temporal_client)

    found = await temporal_client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=temporal_client.namespace)
    )
    assert set(SEARCH_ATTRIBUTES) <= set(found.custom_attributes)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "a..b:7233"])
async def test_nobody_answers(address: str) -> None:
    with pytest.raises(Unavailable, match=f"does not answer at {address}: check that it runs"):
        await connect(Settings(), address)


async def test_no_such_namespace(temporal_address: str) -> None:
    with pytest.raises(StartupError, match=r"has no namespace 'nowhere': create it .* FORGE_TEMPORAL_NAMESPACE"):
        await connect(Settings(temporal_namespace="nowhere"), temporal_address)


async def test_somebody_else_answers(postgres_url: str) -> None:
    port = make_url(postgres_url).port

    with pytest.raises(Unavailable, match=rf"answers at 127\.0\.0\.1:{port} does not let us in.*FORGE_TEMPORAL_API_"):
        await connect(Settings(), f"127.0.0.1:{port}")


@pytest.mark.parametrize("status", [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED])
async def test_not_for_us(monkeypatch: pytest.MonkeyPatch, temporal_address: str, status: RPCStatusCode) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RPCError("Request unauthorized.", status, b"")

    monkeypatch.setattr(WorkflowService, "describe_namespace", refuse)

    with pytest.raises(StartupError, match=r"\(Request unauthorized\.\): check .* FORGE_TEMPORAL_API_KEY"):
        await connect(Settings(), temporal_address)


async def test_no_address() -> None:
    with pytest.raises(StartupError, match="set FORGE_TEMPORAL_ADDRESS"):
        await connect(Settings(temporal_address=None))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999", "http://127.0.0.1:7233", "a b:7233", ":7233"]
)
async def test_a_malformed_address(address: str) -> None:
    with pytest.raises(StartupError, match=r"is .* and not of the form host:port: correct it"):
        await connect(Settings(), address)


async def test_an_address_of_version_6_is_one() -> None:
    with pytest.raises(Unavailable):
        await connect(Settings(), "[::1]:1")


async def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="FORGE_TEMPORAL_TLS_KEY"):
        await connect(Settings(temporal_tls_cert=tmp_path / "cert.pem"), "127.0.0.1:1")


async def test_an_unreadable_certificate(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"Cannot read .*ca\.pem \(No such file or directory\): check"):
        await connect(Settings(temporal_tls_ca=tmp_path / "ca.pem"), "127.0.0.1:1")


def test_the_import_is_light() -> None:
    code = "import sys, core.temporal; sys.exit('temporalio.worker' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("status", [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.INVALID_ARGUMENT])
async def test_no_search_attributes_are_no_reason_not_to_start(
    monkeypatch: pytest.MonkeyPatch, temporal_client: Client, status: RPCStatusCode
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RPCError("cannot have more than 10 search attributes of type Keyword", status, b"")

    monkeypatch.setattr(OperatorService, "list_search_attributes", refuse)

    assert not await ensure_search_attributes(temporal_client)
