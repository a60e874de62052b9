"""The seam where quota, policy and scanners say whether a launch may run."""

import pytest
from make import make_job
from sqlalchemy.orm import Session

from models import gates
from models.gates import Refusal, gates_for
from models.jobs import Job


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def applies(self, session: Session, job: Job) -> bool:
        return self.name in job.limit

    def check(self, session: Session, job: Job) -> Refusal | None:
        return None


def test_there_is_none_yet(session: Session) -> None:
    assert gates_for(session, make_job(session)) == []


def test_those_that_apply_are_asked_in_their_order(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    quota, policy, scanner = (Named(name) for name in ("quota", "policy", "scanner"))
    monkeypatch.setattr(gates, "GATES", [quota, policy, scanner])

    assert gates_for(session, make_job(session, limit="scanner,quota")) == [quota, scanner]
