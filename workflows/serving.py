"""The worker that drives workflows. Every process of Forge that stays runs one, servers too: that a host is lost, or
that none is there, is then noticed and said even when no worker is left."""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.services import ControlServices
from activities.state import RunState
from activities.sweep import Sweeps
from workflows.contracts import CONTROL_QUEUE
from workflows.job import JobWorkflow
from workflows.maintenance import MAINTENANCE_ID, MaintenanceWorkflow
from workflows.project_update import ProjectUpdateWorkflow

WORKFLOWS = (JobWorkflow, ProjectUpdateWorkflow, MaintenanceWorkflow)
WORKFLOW_RUNNER = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "workflows.contracts", "activities", "models", "core"
    )
)


def control_worker(
    services: ControlServices, activities: Sequence[Callable[..., Any]] | None = None, **options: Any
) -> Worker:
    """Drives all workflows, with the short transactions on the database that they consist of. `activities`: what this
    process does besides when it comes over the control queue; without them it takes nothing from there that touches
    the world."""
    state, sweeps = RunState(services), Sweeps(services)
    return Worker(
        services.client,
        task_queue=CONTROL_QUEUE,
        workflows=WORKFLOWS,
        activities=[
            state.check_gates,
            state.discard_run,
            state.take_turn,
            state.release_claim,
            state.release_turn,
            state.finish_run,
            sweeps.sweep,
            sweeps.close_lost,
            *(activities or ()),
        ],
        no_remote_activities=activities is None,
        workflow_runner=WORKFLOW_RUNNER,
        **options,
    )


async def start_maintenance(client: Client) -> None:
    await client.start_workflow(
        MaintenanceWorkflow.run,
        id=MAINTENANCE_ID,
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="Sees to what crashes leave behind",
    )
