"""What a worker finds on its host when it starts, and every now and then: runs that the database has given up."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from make import SECRETS, make_job
from temporalio.client import Client

from activities.playbook import checkouts
from activities.runhost.client import Run, RunHost
from activities.runhost.protocol import RunSpec
from activities.scm.cache import ProjectCache
from activities.services import WorkerServices
from core.db import Database
from core.errors import StartupError
from core.settings import Settings
from models.runs import end
from worker import end_stale_runs, ensure_demo_project, group_names

PROJECTS = Path(__file__).parent / "projects"


@pytest.fixture
def services(database: Database) -> Iterator[WorkerServices]:
    directory = Path(tempfile.mkdtemp(prefix="forge-", dir="/tmp"))
    services = WorkerServices(
        settings=Settings(data_dir=directory, node_name="n1"),
        database=database,
        secrets=SECRETS,
        client=cast(Client, None),
        run_host=RunHost(directory / "run", directory / "runs"),
        projects=ProjectCache(directory / "cache", directory / "runs"),
    )
    yield services
    services.run_host.stop()
    shutil.rmtree(directory)


@pytest.fixture
def start(services: WorkerServices, database: Database, tmp_path: Path) -> Callable[[], tuple[int, Run]]:
    """Start a playbook that takes a minute, for a job that runs."""

    def start() -> tuple[int, Run]:
        with database.transaction() as session:
            job_id = make_job(session, status="running").id
        inventory = "localhost,"
        variables = ["--connection=local", "--extra-vars", f"journal={tmp_path}/journal pause=60"]
        run = services.run_host.start(
            RunSpec(
                f"job-{job_id}",
                project_dir=str(PROJECTS / "slow"),
                playbook="slow.yml",
                inventory=[inventory],
                args=variables,
            )
        )
        (checkouts(services) / str(job_id)).mkdir(parents=True)
        return job_id, run

    return start


def test_run_whose_row_has_ended_is_ended_and_removed_and_no_other(
    services: WorkerServices, database: Database, start: Callable[[], tuple[int, Run]]
) -> None:
    (ended, stale), (running, live) = start(), start()
    with database.transaction() as session:
        end(session, ended, "error", "lost")

    end_stale_runs(services)

    assert not stale.alive()
    assert services.run_host.find(f"job-{ended}") is None
    assert not (checkouts(services) / str(ended)).exists()
    assert live.alive()
    assert (checkouts(services) / str(running)).exists()


def test_nothing_to_do_is_done_at_once(services: WorkerServices) -> None:
    began = time.monotonic()

    end_stale_runs(services)

    assert time.monotonic() - began < 2


def test_the_demo_project_is_put_where_it_is_looked_for(tmp_path: Path) -> None:
    ensure_demo_project(Settings(projects_root=tmp_path / "new"))

    assert (tmp_path / "new" / "demo_project" / "hello_world.yml").exists()


def test_a_projects_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartupError, match=r"Cannot use .*/file \(not a directory\): set FORGE_PROJECTS_ROOT"):
        ensure_demo_project(Settings(projects_root=tmp_path / "file"))


def test_a_projects_root_that_takes_no_demo_will_do() -> None:
    ensure_demo_project(Settings(projects_root=Path("/proc")))


def test_groups_are_listed_by_commas() -> None:
    assert group_names(Settings(instance_groups=" default, edge ,,")) == ["default", "edge"]
