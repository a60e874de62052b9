"""The Temporal client and the search attributes. What runs workers is `workflows/serving.py` and `worker.py`."""

import asyncio
import logging
import re
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from core.errors import ForgeError, StartupError, Unavailable
from core.settings import Settings

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
PROBE_SECONDS = 3
ADDRESS = re.compile(r"([^\s:/]+|\[[^\s/]+\]):\d{1,5}")
NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)
NO_MORE = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.RESOURCE_EXHAUSTED)  # a namespace has a few Keywords to give

# What executions can be searched by in Temporal UI; all are keywords. `workflows.starting` gives them their values.
SEARCH_ATTRIBUTES = ("ForgeType", "ForgeStatus", "ForgeTemplate", "ForgeOrganization", "ForgeUser")


async def connect(settings: Settings, address: str | None = None) -> Client:
    """A client for `address`, or for the address of the settings, whose namespace exists. Raises StartupError when the
    settings cannot work, Unavailable when nobody answers."""
    target = address or settings.temporal_address
    if not target:
        raise StartupError("No Temporal to connect to: set FORGE_TEMPORAL_ADDRESS (host:port), or start `forge up`.")
    if not ADDRESS.fullmatch(target):
        raise _malformed(target)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await Client.connect(
                target,
                namespace=settings.temporal_namespace,
                tls=_tls(settings),
                api_key=settings.temporal_api_key,
            )
            # Nothing that a narrow API key may lack and Forge could do without: every worker of the SDK asks the same
            # when it starts, and gives up where it may not.
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
            return client
    except (RuntimeError, TimeoutError) as error:  # the SDK's own for "cannot connect", whatever the reason
        log.debug("Temporal's SDK: %s", error)
        raise await _no_connection(target) from error
    except ValueError as error:  # no port, say, though it looks like one
        raise _malformed(target) from error
    except RPCError as error:
        raise _refusal(target, settings.temporal_namespace, error) from error


def _malformed(address: str) -> StartupError:
    return StartupError(f"FORGE_TEMPORAL_ADDRESS is {address!r} and not of the form host:port: correct it.")


def _refusal(address: str, namespace: str, error: RPCError) -> ForgeError:
    if error.status == RPCStatusCode.NOT_FOUND:
        return StartupError(
            f"Temporal at {address} has no namespace {namespace!r}: "
            f"create it (`temporal operator namespace create -n {namespace}`) or correct FORGE_TEMPORAL_NAMESPACE."
        )
    if error.status in {*NOT_ALLOWED, RPCStatusCode.INVALID_ARGUMENT}:
        return StartupError(
            f"Temporal at {address} does not let us use its namespace {namespace!r} ({error.message}): "
            "check FORGE_TEMPORAL_NAMESPACE, FORGE_TEMPORAL_API_KEY and the client certificate."
        )
    return _silent(address)


async def _no_connection(address: str) -> Unavailable:
    """Whether nobody is there, or somebody who does not let us in: the SDK tells these apart in its text only."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, stream = await asyncio.open_connection(host.strip("[]"), int(port))
        stream.close()
    except (OSError, UnicodeError):  # the latter for a name such as a..b
        return _silent(address)
    return Unavailable(
        f"What answers at {address} does not let us in, or is no Temporal: check FORGE_TEMPORAL_ADDRESS, "
        "FORGE_TEMPORAL_API_KEY, and whether TLS is to be used and with which files (FORGE_TEMPORAL_TLS*)."
    )


def _silent(address: str) -> Unavailable:
    return Unavailable(
        f"Temporal does not answer at {address}: check that it runs and can be reached from here, "
        "and FORGE_TEMPORAL_ADDRESS."
    )


async def ensure_search_attributes(client: Client) -> bool:
    """Register what is missing; whether all of them may be used. Idempotent.

    An external Temporal may keep this to its operators: Forge then says so and goes on without."""
    try:
        present = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        missing = [name for name in SEARCH_ATTRIBUTES if name not in present.custom_attributes]
        if not missing:
            return True
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
    except RPCError as error:
        if error.status == RPCStatusCode.ALREADY_EXISTS:  # another process was first
            return True
        if error.status in {*NOT_ALLOWED, *NO_MORE, RPCStatusCode.UNIMPLEMENTED}:
            log.warning(
                "Temporal does not let Forge register search attributes (%s): ask its operator to add %s (Keyword) to "
                "namespace %s.",
                error.message,
                ", ".join(SEARCH_ATTRIBUTES),
                client.namespace,
            )
            return False
        raise _silent(client.service_client.config.target_host) from error
    return True


def _tls(settings: Settings) -> bool | TLSConfig:
    """TLS with the given certificates; plain when none of it is asked for."""
    if bool(settings.temporal_tls_cert) != bool(settings.temporal_tls_key):
        raise StartupError("FORGE_TEMPORAL_TLS_CERT and FORGE_TEMPORAL_TLS_KEY belong together: set both or neither.")
    if not (settings.temporal_tls_ca or settings.temporal_tls_cert):
        return settings.temporal_tls or settings.temporal_api_key is not None
    return TLSConfig(
        server_root_ca_cert=_read(settings.temporal_tls_ca),
        client_cert=_read(settings.temporal_tls_cert),
        client_private_key=_read(settings.temporal_tls_key),
    )


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(
            f"Cannot read {path} ({error.strerror}): check the FORGE_TEMPORAL_TLS_* variables."
        ) from error
