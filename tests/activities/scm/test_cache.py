"""The cache against repositories on the local disk: what is fetched, exported, copied and removed."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gitserver import GitHttp, GitRepo

from activities.scm import ProjectCache, ScmCredential, ScmError, ScmReason, ScmSource, SyncResult

Sync = Callable[..., SyncResult]
PLAY = "- hosts: all\n"


def test_a_sync_finds_playbooks_and_inventories(sync: Sync, repo: GitRepo, output: list[str]) -> None:
    result = sync(repo.path)

    assert result == SyncResult(repo.git("rev-parse", "HEAD"), ["site.yml"], ["inventory.ini"], changed=True)
    assert output[0] == f"Fetching {repo.path} (default branch)"
    assert output[-1] == f"Revision {result.revision}: playbooks found: 1"


def test_an_unchanged_project_is_not_exported_again(
    cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path
) -> None:
    first = sync(repo.path)
    exports = set(tmp_path.glob("cache/1/revisions/*"))
    second = sync(repo.path)

    assert second.revision == first.revision
    assert second.playbooks == ["site.yml"]
    assert not second.changed
    assert set(tmp_path.glob("cache/1/revisions/*")) == exports


def test_a_new_commit_is_fetched_shallowly(sync: Sync, repo: GitRepo, tmp_path: Path) -> None:
    sync(repo.path)
    for number in range(5):
        newest = repo.commit({"other.yml": f"{PLAY}# {number}\n"})
    result = sync(repo.path)

    assert (result.revision, result.playbooks) == (newest, ["other.yml", "site.yml"])
    cached = tmp_path / "cache/1/repo.git"
    assert (cached / "shallow").read_text().split().count(newest) == 1


@pytest.mark.parametrize("form", ["{}", "file://{}", "{}/../repo.git"])
def test_no_url_leads_into_the_cache_itself(sync: Sync, repo: GitRepo, tmp_path: Path, form: str) -> None:
    sync(repo.path)

    with pytest.raises(ScmError, match="data directory") as error:
        sync(form.format(tmp_path / "cache/1/repo.git"))
    assert error.value.reason is ScmReason.INVALID


class TestWhatABranchMeans:
    def test_branch_tag_and_commit(self, sync: Sync, repo: GitRepo) -> None:
        first = repo.git("rev-parse", "HEAD")
        repo.git("tag", "-a", "v1", "-m", "release")
        repo.git("checkout", "-q", "-b", "feature/x")
        feature = repo.commit({"feature.yml": PLAY})

        assert sync(repo.path, branch="main").revision == first
        assert sync(repo.path, branch="v1").revision == first
        assert sync(repo.path, branch="feature/x").revision == feature
        assert sync(repo.path, branch="refs/heads/feature/x").revision == feature
        assert sync(repo.path, branch=first).revision == first
        assert sync(repo.path, branch=first.upper()).revision == first
        assert sync(repo.path, branch=first[:8]).revision == first

    def test_a_branch_goes_before_a_tag(self, sync: Sync, repo: GitRepo) -> None:
        repo.git("tag", "both")
        repo.git("checkout", "-q", "-b", "both")
        newest = repo.commit({"x.yml": PLAY})

        assert sync(repo.path, branch="both").revision == newest

    def test_a_commit_deep_in_history(self, sync: Sync, repo: GitRepo) -> None:
        old = repo.git("rev-parse", "HEAD")
        for number in range(3):
            repo.commit({"site.yml": f"{PLAY}# {number}\n"})
        sync(repo.path)

        assert sync(repo.path, branch=old).revision == old
        assert sync(repo.path, branch=old[:7]).revision == old

    def test_a_refspec_makes_other_refs_reachable(self, sync: Sync, repo: GitRepo) -> None:
        pull = repo.commit({"pull.yml": PLAY})
        repo.git("update-ref", "refs/pull/62/head", pull)
        repo.git("reset", "-q", "--hard", "HEAD~1")
        refspec = "+refs/pull/*:refs/remotes/origin/pull/*"

        assert sync(repo.path, branch="pull/62/head", refspec=refspec).revision == pull
        assert sync(repo.path, branch="refs/pull/62/head").revision == pull
        assert sync(repo.path, branch="main", refspec=refspec).revision == repo.git("rev-parse", "HEAD")

    def test_the_default_branch_may_move(self, sync: Sync, repo: GitRepo) -> None:
        sync(repo.path)
        repo.git("checkout", "-q", "-b", "next")
        newest = repo.commit({"next.yml": PLAY})

        assert sync(repo.path).revision == newest

    @pytest.mark.parametrize("branch", ["nope", "0" * 40, "deadbeef", "refs/heads/nope"])
    def test_what_is_not_there_is_named(self, sync: Sync, repo: GitRepo, branch: str) -> None:
        with pytest.raises(ScmError) as caught:
            sync(repo.path, branch=branch)

        assert caught.value.reason is ScmReason.REVISION
        assert branch in caught.value.message

    def test_an_empty_repository(self, sync: Sync, tmp_path: Path) -> None:
        empty = GitRepo(tmp_path / "served" / "empty")

        with pytest.raises(ScmError, match="is empty or has no default branch") as caught:
            sync(empty.path)
        assert caught.value.reason is ScmReason.REVISION

    def test_history_may_be_rewritten(self, sync: Sync, repo: GitRepo) -> None:
        repo.commit({"a.yml": PLAY})
        sync(repo.path)
        repo.git("reset", "-q", "--hard", "HEAD~1")
        rewritten = repo.commit({"b.yml": PLAY})

        assert sync(repo.path).revision == rewritten


class TestCheckout:
    def test_a_copy_is_the_jobs_own(self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path) -> None:
        repo.commit({"run.sh": "#!/bin/sh\n"})
        (repo.path / "run.sh").chmod(0o755)
        (repo.path / "link.yml").symlink_to("site.yml")
        revision = sync(repo.path, branch=repo.commit({})).revision
        cache.checkout(1, revision, tmp_path / "job1")
        (tmp_path / "job1" / "site.yml").write_text("changed")
        (tmp_path / "job1" / "new").touch()
        (tmp_path / "job2").mkdir(mode=0o700)
        cache.checkout(1, revision, tmp_path / "job2")

        files = {path.name for path in (tmp_path / "job2").iterdir()}
        assert files == {"site.yml", "inventory.ini", "run.sh", "link.yml"}
        assert (tmp_path / "job2" / "site.yml").read_text().startswith("- hosts")
        assert os.access(tmp_path / "job2" / "run.sh", os.X_OK)
        assert (tmp_path / "job2" / "link.yml").readlink() == Path("site.yml")

    def test_another_host_syncs_the_very_revision(self, cache: ProjectCache, repo: GitRepo, tmp_path: Path) -> None:
        revision = repo.git("rev-parse", "HEAD")
        repo.commit({"later.yml": PLAY})
        assert not cache.has(1, revision)
        with pytest.raises(ScmError, match="not on this host"):
            cache.checkout(1, revision, tmp_path / "job")

        cache.sync(1, ScmSource("git", str(repo.path), branch=revision))

        assert cache.has(1, revision)
        cache.checkout(1, revision, tmp_path / "job")
        assert not (tmp_path / "job" / "later.yml").exists()

    def test_a_revision_that_is_here_needs_no_server(self, cache: ProjectCache, sync: Sync, repo: GitRepo) -> None:
        revision = sync(repo.path).revision

        assert not sync("https://nowhere.invalid/x", branch=revision).changed

    def test_a_jobs_own_branch_moves_nothing(self, cache: ProjectCache, sync: Sync, repo: GitRepo) -> None:
        main = sync(repo.path, branch="main").revision
        repo.git("checkout", "-q", "-b", "other")
        repo.commit({"other.yml": PLAY})
        other = sync(repo.path, branch="other").revision

        assert cache.has(1, main)
        assert cache.has(1, other)
        assert sync(repo.path, branch="main") == SyncResult(main, ["site.yml"], ["inventory.ini"], changed=False)

    @pytest.mark.parametrize("revision", ["", "..", "../../etc", "main"])
    def test_only_a_commit_is_a_revision(self, cache: ProjectCache, revision: str, tmp_path: Path) -> None:
        with pytest.raises(ScmError, match="is not a revision"):
            cache.checkout(1, revision, tmp_path / "job")


def test_a_checkout_of_a_small_project_takes_milliseconds(
    cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path
) -> None:
    revision = sync(
        repo.path, branch=repo.commit({f"roles/r{n}/tasks/main.yml": "- debug:\n" for n in range(20)})
    ).revision

    def copy(number: int) -> float:
        start = time.perf_counter()
        cache.checkout(1, revision, tmp_path / f"job{number}")
        return time.perf_counter() - start

    assert min(copy(number) for number in range(10)) < 0.05  # it takes 0.005; other tests share the machine


class TestSubmodules:
    @pytest.fixture
    def role(self, repo: GitRepo) -> GitRepo:
        """A role that `repo` has as a submodule, by a relative URL; it has a submodule itself."""
        inner = GitRepo(repo.path.parent / "inner")
        inner.commit({"inner.txt": "one"})
        role = GitRepo(repo.path.parent / "role")
        role.git("submodule", "--quiet", "add", "../inner", "files/inner")
        role.commit({"tasks/main.yml": "- debug:\n"})
        repo.git("submodule", "--quiet", "add", "-b", "main", "../role", "roles/role")
        repo.commit({})
        return role

    def test_they_are_exported_with_the_project(
        self, cache: ProjectCache, sync: Sync, repo: GitRepo, role: GitRepo, tmp_path: Path
    ) -> None:
        role.commit({"tasks/main.yml": "- later:\n"})
        cache.checkout(1, sync(repo.path).revision, tmp_path / "job")

        assert (tmp_path / "job/roles/role/tasks/main.yml").read_text() == "- debug:\n"
        assert (tmp_path / "job/roles/role/files/inner/inner.txt").read_text() == "one"
        assert not list((tmp_path / "job").rglob(".git"))

    def test_tracking_takes_the_latest_of_their_branch(
        self, cache: ProjectCache, sync: Sync, repo: GitRepo, role: GitRepo, tmp_path: Path
    ) -> None:
        revision = sync(repo.path).revision
        role.commit({"tasks/main.yml": "- later:\n"})

        assert sync(repo.path, track_submodules=True).changed
        assert not sync(repo.path, track_submodules=True).changed
        cache.checkout(1, revision, tmp_path / "tracked")
        role.commit({"tasks/main.yml": "- latest:\n"})
        assert sync(repo.path, track_submodules=True).changed
        assert sync(repo.path).changed
        cache.checkout(1, revision, tmp_path / "fixed")

        assert (tmp_path / "tracked/roles/role/tasks/main.yml").read_text() == "- later:\n"
        assert (tmp_path / "fixed/roles/role/tasks/main.yml").read_text() == "- debug:\n"

    def test_one_that_cannot_be_fetched_is_named(self, sync: Sync, repo: GitRepo, role: GitRepo) -> None:
        role.path.rename(role.path.with_name("gone"))

        with pytest.raises(ScmError, match=r"Submodule roles/role: There is no git repository at .*/role") as caught:
            sync(repo.path)
        assert caught.value.reason is ScmReason.REPOSITORY

    def test_one_without_a_url_is_left_empty(self, sync: Sync, repo: GitRepo, role: GitRepo, output: list[str]) -> None:
        repo.commit({".gitmodules": '[submodule "x"]\n\tpath = elsewhere\n\turl = ../role\n'})

        sync(repo.path)
        assert "roles/role is a submodule without a URL in .gitmodules: left empty" in output


def test_delete_on_update_fetches_and_exports_everything_anew(
    cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path
) -> None:
    revision = sync(repo.path).revision
    mark = tmp_path / "cache/1/repo.git/mark"
    mark.touch()

    assert sync(repo.path, delete_on_update=True).changed
    assert not mark.exists()
    assert cache.has(1, revision)


class TestPruneAndRemove:
    def test_prune_keeps_what_is_wanted_and_what_is_new(
        self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path
    ) -> None:
        old, new = sync(repo.path).revision, sync(repo.path, branch=repo.commit({"x": "y"})).revision

        assert cache.prune(1, set())
        assert cache.has(1, old)
        assert cache.prune(1, {new}, spare=0)
        assert not cache.has(1, old)
        cache.checkout(1, new, tmp_path / "job")
        assert sync(repo.path, branch=old).revision == old

    def test_prune_drops_exports_that_were_replaced(
        self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path
    ) -> None:
        revision = sync(repo.path).revision
        sync(repo.path, delete_on_update=True)
        exports = tmp_path / "cache/1/revisions"
        assert len(list(exports.iterdir())) == 3

        cache.prune(1, {revision}, spare=0)
        assert len(list(exports.iterdir())) == 2
        cache.checkout(1, revision, tmp_path / "job")

    def test_prune_forgets_history_too(self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path) -> None:
        revisions = [sync(repo.path, branch=repo.commit({"x": str(number)})).revision for number in range(3)]
        cache.prune(1, {revisions[1]}, spare=0)

        refs = tmp_path / "cache/1/repo.git/refs/revisions"
        assert [path.name for path in refs.iterdir()] == [revisions[1]]
        assert sync(repo.path, branch=revisions[0]).changed

    def test_of_a_project_that_is_not_here(self, cache: ProjectCache) -> None:
        assert cache.prune(7, set())
        cache.remove(7)

    def test_remove_leaves_nothing(self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path) -> None:
        sync(repo.path)
        cache.remove(1)

        assert list((tmp_path / "cache").iterdir()) == []
        assert list((tmp_path / "private").iterdir()) == []
        assert sync(repo.path).changed


class TestIsolation:
    def test_hooks_filters_and_the_users_configuration_do_not_run(
        self, sync: Sync, repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touched = tmp_path / "touched"
        home = tmp_path / "home"
        home.mkdir()
        (home / ".gitconfig").write_text(
            f'[filter "evil"]\n\tsmudge = touch {touched}\n[url "file:///nonexistent"]\n\tinsteadOf = {repo.path}\n'
            f"[core]\n\thooksPath = {home}\n"
        )
        for hook in ("post-checkout", "reference-transaction"):
            (home / hook).write_text(f"#!/bin/sh\ntouch {touched}\n")
            (home / hook).chmod(0o755)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
        monkeypatch.setenv("GIT_DIR", "/nonexistent")
        sync(repo.path, branch=repo.commit({".gitattributes": "* filter=evil\n"}))

        assert not touched.exists()

    def test_a_submodule_of_a_served_project_cannot_read_this_hosts_disk(
        self, sync: Sync, repo: GitRepo, http: GitHttp
    ) -> None:
        GitRepo(repo.path.parent / "local").commit({"secret": "x"})
        repo.git("submodule", "--quiet", "add", str(repo.path.parent / "local"), "stolen")
        repo.commit({})

        with pytest.raises(ScmError, match=r"Submodule stolen: .* is not allowed here") as caught:
            sync(f"{http.url}/repo", ScmCredential("alice", "s3cret"))
        assert caught.value.reason is ScmReason.INVALID

    def test_a_manual_project_cannot_be_synced(self, cache: ProjectCache) -> None:
        with pytest.raises(ScmError, match="manual project"):
            cache.sync(1, ScmSource(""))


def test_git_is_not_installed(sync: Sync, repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(ScmError, match="git is not installed") as caught:
        sync(repo.path)
    assert caught.value.reason is ScmReason.TOOL


def test_a_full_disk_is_told_as_such(cache: ProjectCache, repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "cache" / "1").write_text("in the way")

    with pytest.raises(ScmError, match="This host cannot store the project") as caught:
        cache.sync(1, ScmSource("git", str(repo.path)))
    assert caught.value.transient
