"""One system for all tests that kill nothing and one for those that do, on each xdist worker that needs them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import LOCAL, Client, Json
from e2e.forge import Forge, running_forge
from e2e.plays import System
from gitserver import GitRepo

PROJECT = Path(__file__).parent / "project"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """Shared: give what you make names of its own, and leave everything running."""
    with running_forge(capacity="50") as forge:
        yield forge


@pytest.fixture(scope="session")
def api(forge: Forge) -> Client:
    return forge.api


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """The playbooks of `project/`, committed."""
    repo = GitRepo(tmp_path_factory.mktemp("git") / "project")
    shutil.copytree(PROJECT, repo.path, dirs_exist_ok=True)
    repo.commit({})
    return repo


@pytest.fixture(scope="session")
def project(api: Client, repo: GitRepo) -> Json:
    return api.project(f"file://{repo.path}")


@pytest.fixture(scope="session")
def inventory(api: Client) -> Json:
    """One host, this machine."""
    return api.inventory({"local": {}}, **LOCAL)


@pytest.fixture(scope="session")
def killable(repo: GitRepo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A second system, for tests that kill its parts; `system` is how they ask for it."""
    with running_forge(capacity="4") as forge:
        yield System(forge, repo, tmp_path_factory.mktemp("plays"))


@pytest.fixture
def system(killable: System) -> Iterator[System]:
    """What a failed test left dead is not the next one's affair."""
    yield killable
    killable.forge.mend()
