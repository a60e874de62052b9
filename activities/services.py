"""What the activities of one process share, and the edges where they meet Temporal."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakValueDictionary

from sqlalchemy.exc import DBAPIError
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.runhost.client import RunHost
from activities.scm.cache import ProjectCache
from core.crypto import Secrets
from core.db import Database
from core.errors import ForgeError
from core.settings import Settings
from workflows.contracts import workflow_id

log = logging.getLogger("forge.activities")
T = TypeVar("T")
LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"  # of a server that is, in a failover, not yet or not any more the primary
HEARTBEAT_SECONDS = 1.0


@dataclass(kw_only=True)
class ControlServices:
    """What it takes to drive workflows: every process of Forge has it."""

    database: Database
    client: Client
    searchable: bool = True  # the Temporal namespace knows Forge's search attributes

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking database work off the event loop, with errors translated."""
        with translated():
            return await asyncio.to_thread(work)

    async def wake(self, runs: Iterable[tuple[str, int]]) -> None:
        """Tell the workflows of granted runs. A wake-up that gets lost is repeated by the sweep."""
        results = await asyncio.gather(
            *(self.client.get_workflow_handle(workflow_id(*run)).signal("wake") for run in runs),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, RPCError) and result.status == RPCStatusCode.NOT_FOUND:
                continue  # it has just ended
            if isinstance(result, BaseException):
                log.warning("could not wake a run, the sweep will: %s", result)


@dataclass(kw_only=True)
class WorkerServices(ControlServices):
    """What it takes to touch the world besides."""

    settings: Settings
    secrets: Secrets
    run_host: RunHost
    projects: ProjectCache
    ending: bool = False  # the worker stops, and its playbooks are to end with it
    _starting: "WeakValueDictionary[int, threading.Lock]" = field(default_factory=WeakValueDictionary)
    _lookup: threading.Lock = field(default_factory=threading.Lock)

    @property
    def node(self) -> str:
        return self.settings.node_name

    @contextmanager
    def starting(self, run_id: int) -> Iterator[None]:
        """One attempt at a time for one run. Temporal may begin another when it has not heard of the first one for a
        while, and both would make the same directories."""
        with self._lookup:
            lock = self._starting.setdefault(run_id, threading.Lock())  # there for as long as somebody has it
        with lock:
            yield


def cancel_requested() -> bool:
    """Whether somebody wants this run to end. `activity.is_cancelled` is also true for an attempt that Temporal has
    given up (its heartbeats did not get through in time) and when the worker stops: what runs must go on then."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def given_up() -> ApplicationError:
    """For an attempt that is to end without a result; whatever comes of it is for the next attempt to say."""
    return ApplicationError("This attempt was given up, or its worker stops.", type="given_up")


@contextmanager
def heartbeats() -> Iterator[None]:
    """Heartbeat from a thread of its own while the block runs: it may be busy for longer than the timeout."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            activity.heartbeat()

    thread = threading.Thread(target=copy_context().run, args=(beat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def translated() -> Iterator[None]:
    """At the edge of an activity: what a retry cannot mend is not retried; a database that is away is waited for."""
    try:
        yield
    except ForgeError as error:
        raise ApplicationError(error.message, type=error.code, non_retryable=error.status < 500) from error
    except DBAPIError as error:
        if error.connection_invalidated or _passes(error):
            raise
        log.exception("database")
        # Without the details that quote values: histories are read by more people than the database is.
        message = getattr(getattr(error.orig, "diag", None), "message_primary", None) or type(error.orig).__name__
        raise ApplicationError(message, type="database", non_retryable=True) from None


def _passes(error: DBAPIError) -> bool:
    """Errors that go away by themselves: no code means that the connection was lost or refused."""
    code = getattr(error.orig, "pgcode", None)
    return code is None or code in (LOCK_NOT_AVAILABLE, READ_ONLY) or code[:2] in {"08", "40", "53", "57", "58"}
