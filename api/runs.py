"""From the threads that handle requests to Temporal: workflows are started and cancelled on the server's event loop,
after the commit. What does not get through is found and done by the sweep."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import Refused
from models.runs import start_facts
from workflows.starting import RunStart, cancel_run, start_and_admit, start_run

if TYPE_CHECKING:
    from temporalio.client import Client

    from api.call import Call

T = TypeVar("T")
PATIENCE = 5.0  # seconds a request waits for Temporal to take a start or a cancel; clients give up after ten
ADMISSION = 900.0  # seconds it waits for the gates, scanners included


class Runs:
    """`loop` is the loop that `client` belongs to; the methods are called from other threads."""

    def __init__(self, client: "Client", loop: asyncio.AbstractEventLoop, *, searchable: bool = True) -> None:
        self._client = client
        self._loop = loop
        self._searchable = searchable

    def start(self, call: "Call", run_id: int) -> None:
        """Start the workflow of a run that this call has written, once it is committed. When gates apply the response
        waits for them, and is their refusal (Refused) if they refuse; the row is gone then."""
        run = RunStart(**start_facts(call.session, [run_id])[0])
        call.after_commit(lambda: self._start(run))

    def _start(self, run: RunStart) -> None:
        if not run.gated:
            self._await(start_run(self._client, run, searchable=self._searchable), PATIENCE)
            return
        admission = self._await(start_and_admit(self._client, run, searchable=self._searchable), ADMISSION)
        if not admission.admitted:
            raise Refused(admission.status, admission.detail, admission.reasons)

    def cancel(self, call: "Call", kind: str, run_id: int) -> None:
        """Cancel the workflow of a run once the call is committed."""
        call.after_commit(lambda: self._await(cancel_run(self._client, kind, run_id), PATIENCE))

    def _await(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)
