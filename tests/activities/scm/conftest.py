from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gitserver import GitHttp, GitRepo

from activities.scm import ProjectCache, ScmCredential, ScmSource, SyncResult

PLAY = "- hosts: all\n  tasks: []\n"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """One commit on `main` with one playbook."""
    repo = GitRepo(tmp_path / "served" / "repo")
    repo.commit({"site.yml": PLAY, "inventory.ini": "[web]\nweb1\n"})
    return repo


@pytest.fixture
def private_root(tmp_path: Path) -> Path:
    return tmp_path / "private"


@pytest.fixture
def cache(tmp_path: Path, private_root: Path) -> ProjectCache:
    return ProjectCache(tmp_path / "cache", private_root)


@pytest.fixture
def output() -> list[str]:
    """What `sync` said."""
    return []


@pytest.fixture
def sync(cache: ProjectCache, output: list[str]) -> Callable[..., SyncResult]:
    """`sync(url, credential=..., timeout=..., branch=..., ...)` syncs project 1."""

    def sync(
        url: object,
        credential: ScmCredential | None = None,
        timeout: float | None = 60,
        cancelled: Callable[[], bool] = lambda: False,
        **fields: object,
    ) -> SyncResult:
        source = ScmSource("git", str(url), **fields)  # type: ignore[arg-type]
        return cache.sync(1, source, credential, output.append, cancelled, timeout)

    return sync


@pytest.fixture
def http(repo: GitRepo) -> Iterator[GitHttp]:
    """Serves `repo` to alice with the password `s3cret`."""
    server = GitHttp(repo.path.parent, "alice", "s3cret")
    yield server
    server.stop()
