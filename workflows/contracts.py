"""The dataclasses that cross between API, workflows and activities: ids and small facts, never objects or secrets.

A field may be added with a default; one that running histories hold is never renamed or removed."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from temporalio.common import RetryPolicy

JOB = "job"
PROJECT_UPDATE = "project_update"

# --- retry policies, by name ------------------------------------------------------------------------------------------

# Short work on the database: it comes back, or the operator is being paged already.
FAST = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))
# Work that touches other systems and is theirs to refuse: three tries.
PATIENT = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=30), maximum_attempts=3)
# Work that counts failures of other systems itself: retried is only that its worker or the database went away.
STEADY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=15))
# A playbook: every further attempt only attaches to the run that the first one started.
ATTACH = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0)
# Never twice.
ONCE = RetryPolicy(maximum_attempts=1)

# --- timeouts ---------------------------------------------------------------------------------------------------------

DATABASE_TIMEOUT = timedelta(seconds=60)  # one short transaction, with a database that may be restarting
HEARTBEAT_TIMEOUT = timedelta(seconds=10)  # a worker that is silent for so long is gone
CLAIM_TIMEOUT = timedelta(seconds=30)  # how long a granted run waits for a worker of its group to take it
RETURN_TIMEOUT = timedelta(seconds=15)  # how long a host whose worker is gone has to bring up another
LONGEST_RUN = timedelta(days=30)  # a run without a timeout of its own
LONGEST_UPDATE = timedelta(hours=12)
GATE_TIMEOUT = timedelta(minutes=15)  # a scanner may take its time
CLEAN_TIMEOUT = timedelta(seconds=60)
SWEEP_TIMEOUT = timedelta(seconds=60)

# --- sizes ------------------------------------------------------------------------------------------------------------

LONGEST_TEXT = 10_000  # characters of an explanation or a traceback: histories are no place for more

# --- names ------------------------------------------------------------------------------------------------------------

CONTROL_QUEUE = "forge"  # workflows, and activities that any worker can do


def group_queue(name: str) -> str:
    """The queue that every worker of an instance group serves: who polls it has been found to run the job."""
    return f"forge-group-{name}"


def node_queue(hostname: str) -> str:
    """The queue of one host: where a run stays once it has begun."""
    return f"forge-node-{hostname}"


def workflow_id(kind: str, run_id: int) -> str:
    """`job-4711`, `project-update-12`: readable, and the idempotency key of the start."""
    return f"{kind.replace('_', '-')}-{run_id}"


def run_memo(kind: str, run_id: int) -> dict[str, str]:
    """What leads from an execution in Temporal UI back to the run."""
    return {"api": f"/api/v2/{kind}s/{run_id}/"}


# --- inputs and results -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunInput:
    """Input of every workflow that drives one row of `unified_jobs`.

    `gated`: an `admit` update comes with the start and decides whether the run may begin."""

    run_id: int
    gated: bool = False
    searchable: bool = True  # the namespace knows Forge's search attributes


@dataclass(frozen=True)
class RunRef:
    run_id: int


@dataclass(frozen=True)
class PlayInput:
    run_id: int
    cancelled: bool = False  # asked for while no worker of the run's host was there to hear it


@dataclass(frozen=True)
class Admission:
    """The answer of the gates. `status` is that of the HTTP answer when it is a refusal."""

    admitted: bool
    status: int = 0
    detail: str = ""
    reasons: list[str] = field(default_factory=list)


class Turn(StrEnum):
    GRANTED = "granted"  # it holds its locks and its capacity
    WAITING = "waiting"  # for others; a `wake` signal comes
    OVER = "over"  # it has ended already, was deleted, or has just been ended (cancelled, a dependency failed)


@dataclass(frozen=True)
class TurnResult:
    turn: Turn
    group: str = ""  # the instance group that it runs in
    updates: list[int] = field(default_factory=list)  # project updates to start for it
    explanation: str = ""


@dataclass(frozen=True)
class ClaimInput:
    run_id: int
    group: str


@dataclass(frozen=True)
class Claim:
    """`node` is the host that the run now belongs to; "" when there is no run to claim any more."""

    node: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended: a final status and, when it is not plain, why."""

    status: str
    explanation: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class FinishInput:
    run_id: int
    outcome: Outcome


@dataclass(frozen=True)
class SweepResult:
    started: int = 0
    woken: int = 0
