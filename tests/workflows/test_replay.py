"""Runs that are under way survive an upgrade: every recorded history replays with the workflows as they are now."""

import json
from pathlib import Path

import pytest
from record_histories import HISTORIES, PATHS
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadConverter
from temporalio.worker import Replayer

from workflows.contracts import LONGEST_TEXT, Admission, FinishInput, Outcome, RunInput, Turn, TurnResult
from workflows.job import JobWorkflow
from workflows.maintenance import MaintenanceWorkflow
from workflows.project_update import ProjectUpdateWorkflow
from workflows.serving import WORKFLOW_RUNNER

WORKFLOWS = [JobWorkflow, ProjectUpdateWorkflow, MaintenanceWorkflow]


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_history_replays(path: Path) -> None:
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=WORKFLOW_RUNNER)

    await replayer.replay_workflow(read(path))


def test_every_workflow_and_path_has_a_history() -> None:
    recorded = {path.stem for path in HISTORIES.glob("*.json")}
    types = {
        json.loads(path.read_text())["events"][0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
        for path in HISTORIES.glob("*.json")
    }

    assert set(PATHS) <= recorded
    assert types == {workflow.__name__ for workflow in WORKFLOWS}


@workflow.defn(name="JobWorkflow", sandboxed=False)
class HastyWorkflow:
    """What an upgrade must not do: another course under the same name."""

    @workflow.run
    async def run(self, run: RunInput) -> str:
        await workflow.sleep(1)
        return "done"


async def test_replay_notices_a_change_of_course() -> None:
    with pytest.raises(workflow.NondeterminismError):
        await Replayer(workflows=[HastyWorkflow]).replay_workflow(read(HISTORIES / "job_plain.json"))


@pytest.mark.parametrize(
    "payload",
    [
        FinishInput(2**31, Outcome("error", "😀" * LONGEST_TEXT, "😀" * LONGEST_TEXT)),
        TurnResult(Turn.WAITING, "g" * 250, list(range(2**31, 2**31 + 100)), "x" * 20_000),
        Admission(False, 403, "x" * 1000, ["😀" * 100] * 100),
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_largest_payloads_stay_far_below_what_temporal_takes(payload: object) -> None:
    [encoded] = PayloadConverter.default.to_payloads([payload])

    assert encoded.ByteSize() < 512 * 1024  # of 2 MB
