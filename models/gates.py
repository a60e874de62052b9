"""The gates that a launch passes before it runs: quota, policy, scanners, in this order.

Each family of gates adds its own `Gate` to `GATES`. With none that applies, a launch does not wait for an answer and
costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.orm import Session

from models.jobs import Job


@dataclass(frozen=True)
class Refusal:
    status: int  # of the HTTP answer: 403 or 429
    detail: str
    reasons: list[str] = field(default_factory=list)


class Gate(Protocol):
    name: str

    def applies(self, session: Session, job: Job) -> bool:
        """Whether this gate has anything to say about the job; cheap, asked at every launch."""

    def check(self, session: Session, job: Job) -> Refusal | None:
        """None lets it pass. Runs in an activity: may be slow, is retried."""


GATES: list[Gate] = []


def gates_for(session: Session, job: Job) -> Sequence[Gate]:
    return [gate for gate in GATES if gate.applies(session, job)]
