"""The services of one worker host, without Temporal: activities are called as the methods they are."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from make import SECRETS
from sqlalchemy import update
from temporalio.client import Client

from activities.runhost.client import RunHost
from activities.scm.cache import ProjectCache
from activities.services import WorkerServices
from core.db import Database
from core.settings import Settings
from models.base import now
from models.instances import Instance
from models.unified import UnifiedJob

PROJECTS = Path(__file__).parents[1] / "projects"


class FakeTemporal:
    """In place of a client: remembers which workflows were woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []

    def get_workflow_handle(self, id: str) -> "FakeHandle":
        return FakeHandle(self, id)


class FakeHandle:
    def __init__(self, temporal: FakeTemporal, id: str) -> None:
        self._temporal = temporal
        self._id = id

    async def signal(self, name: str) -> None:
        assert name == "wake"
        self._temporal.woken.append(self._id)


@pytest.fixture
def worker_dir() -> Iterator[Path]:
    """Short, because sockets are below it."""
    path = Path(tempfile.mkdtemp(prefix="forge-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def build_services(worker_dir: Path) -> Iterator[Callable[[Database], WorkerServices]]:
    built: list[WorkerServices] = []

    def build(database: Database) -> WorkerServices:
        services = WorkerServices(
            settings=Settings(data_dir=worker_dir, node_name="n1", projects_root=PROJECTS),
            database=database,
            secrets=SECRETS,
            client=cast(Client, FakeTemporal()),
            run_host=RunHost(worker_dir / "run", worker_dir / "runs"),
            projects=ProjectCache(worker_dir / "cache", worker_dir / "runs"),
        )
        built.append(services)
        return services

    yield build
    for services in built:
        services.run_host.stop()


@pytest.fixture
def idle_database(database: Database) -> Database:
    """Nothing waits or runs, and no instance is alive: what earlier tests left has ended."""
    with database.transaction() as session:
        session.execute(update(UnifiedJob).where(UnifiedJob.finished.is_(None)).values(finished=now(), status="error"))
        session.execute(update(Instance).values(last_seen=None))
    return database


@pytest.fixture
def services(database: Database, build_services: Callable[[Database], WorkerServices]) -> WorkerServices:
    """On this worker's database: what a test commits there stays."""
    return build_services(database)


@pytest.fixture
def woken(services: WorkerServices) -> list[str]:
    """Ids of the workflows that were woken."""
    return cast(FakeTemporal, services.client).woken
