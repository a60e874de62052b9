"""How the workflow of a run is started and cancelled: the client's half of the contract, used by the API for what it
has just committed and by the sweep for what was committed and never started. The id makes a second start harmless."""

from dataclasses import dataclass
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from workflows.contracts import CONTROL_QUEUE, JOB, PROJECT_UPDATE, Admission, RunInput, run_memo, workflow_id

WORKFLOWS = {JOB: "JobWorkflow", PROJECT_UPDATE: "ProjectUpdateWorkflow"}
LONGEST_ATTRIBUTE = 160  # characters: Temporal takes 2 kB of JSON, in which one character may be twelve bytes
LABELS = {JOB: "Job", PROJECT_UPDATE: "Project update"}


@dataclass(frozen=True)
class RunStart:
    """What a start needs to know of a row: enough to find the execution again in Temporal UI."""

    kind: str
    run_id: int
    name: str
    organization: str = ""
    username: str = ""
    gated: bool = False


async def start_run(client: Client, run: RunStart, *, searchable: bool = True) -> bool:
    """Start the workflow of a committed row. False, and nothing happens, when it runs already."""
    try:
        await client.start_workflow(
            WORKFLOWS[run.kind],
            RunInput(run.run_id, run.gated, searchable),
            id=workflow_id(run.kind, run.run_id),
            task_queue=CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=_summary(run),
            memo=run_memo(run.kind, run.run_id),
            search_attributes=_attributes(run) if searchable else None,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True


async def start_and_admit(client: Client, run: RunStart, *, searchable: bool = True) -> Admission:
    """Start the workflow and wait, in the same call, for what the gates say."""
    start: WithStartWorkflowOperation[Any, str] = WithStartWorkflowOperation(
        WORKFLOWS[run.kind],
        RunInput(run.run_id, run.gated, searchable),
        id=workflow_id(run.kind, run.run_id),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=_summary(run),
        memo=run_memo(run.kind, run.run_id),
        search_attributes=_attributes(run) if searchable else None,
    )
    admission: Admission = await client.execute_update_with_start_workflow(
        "admit", start_workflow_operation=start, result_type=Admission
    )
    return admission


async def cancel_run(client: Client, kind: str, run_id: int) -> None:
    """Ask the workflow of a run to end; nothing happens when there is none."""
    try:
        await client.get_workflow_handle(workflow_id(kind, run_id)).cancel()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


def _summary(run: RunStart) -> str:
    by = f" by {run.username}" if run.username else ""
    return f"{LABELS[run.kind]} #{run.run_id}: {run.name}{by}"[:200]


def _attributes(run: RunStart) -> TypedSearchAttributes:
    values = {
        "ForgeType": run.kind,
        "ForgeStatus": "pending",
        "ForgeTemplate": run.name,
        "ForgeOrganization": run.organization,
        "ForgeUser": run.username,
    }
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword(name), value[:LONGEST_ATTRIBUTE])
            for name, value in values.items()
            if value
        ]
    )
