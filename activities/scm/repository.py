"""One project's cached git repository: bare, shallow where it can be, without remotes, URLs or hooks in it.

Every commit that was fetched to be used has a ref `refs/revisions/<sha>`, set after the fetch: what has that ref is
complete and survives git's garbage collection."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from activities.scm.errors import ScmError, ScmReason
from activities.scm.git import Git
from activities.scm.source import Remote, ScmCredential, ScmSource, join_url, parse_remote

FULL_SHA = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
SHORT_SHA = re.compile(r"[0-9a-f]{4,40}", re.IGNORECASE)
MAX_NESTING = 10  # of submodules in submodules; a repository that tracks itself would never end
_ALL_HISTORY = "--depth=2147483647"  # git's own "infinite"; unlike --unshallow it suits a complete repository too
_EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
_NOT_SHALLOW = re.compile(r"does not support shallow|dumb http")
_REFUSED = r"couldn't find remote ref|not our ref|unadvertised object|no such remote ref"


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule as it stands in an export. `ref` is the remote ref it follows, empty if its commit is fixed."""

    path: str
    url: str
    ref: str
    revision: str


class Repository:
    def __init__(self, path: Path, git: Git, credential: ScmCredential) -> None:
        self.path = path
        self._git = git
        self._credential = credential

    def create(self) -> None:
        """Make the empty repository, unless there is one."""
        if not self.path.exists():
            fresh = self.path.with_name(".new-repo")
            self._git.run("init", "--quiet", "--bare", "--template=", str(fresh))
            fresh.rename(self.path)

    def repair(self) -> None:
        """Remove what a killed git leaves behind. The caller knows that no git is at work here."""
        for pattern in ("*.lock", "tmp_*"):
            for leftover in self.path.rglob(pattern):
                leftover.unlink(missing_ok=True)

    def resolve(self, source: ScmSource, remote: Remote) -> str:
        """Fetch what the source names and return its commit. Raises ScmError (revision) if there is no such thing."""
        wanted = source.branch
        if source.refspec:
            self._fetch(remote, *source.refspec.split(), options=("--prune",))
        if not wanted:
            if commit := self._fetch_ref_if_any(remote, "HEAD"):
                return commit
            message = f"{remote.url} is empty or has no default branch. Name a branch in the project."
            raise ScmError(ScmReason.REVISION, message)
        if FULL_SHA.fullmatch(wanted):
            return self.fetch_commit(remote, wanted.lower())
        # A branch goes before a tag of the same name, as in AWX (and unlike in git).
        refs = [wanted] if wanted.startswith("refs/") else [f"refs/heads/{wanted}", f"refs/tags/{wanted}"]
        for ref in refs:
            if commit := self._fetch_ref_if_any(remote, ref):
                return commit
        if source.refspec and (commit := self._commit(f"refs/remotes/origin/{wanted}") or self._commit(wanted)):
            return self._keep(commit)
        if SHORT_SHA.fullmatch(wanted):
            if not self._commit(wanted):
                self._fetch(remote, *_EVERYTHING, depth=_ALL_HISTORY)
            if commit := self._commit(wanted):
                return self._keep(commit)
        raise ScmError(ScmReason.REVISION, f"{remote.url} has no branch, tag or commit {wanted!r}.")

    def fetch_commit(self, remote: Remote, commit: str) -> str:
        """Have `commit` here: alone if the server hands out single commits, else with everything."""
        if self._commit(f"refs/revisions/{commit}"):
            return commit
        try:
            self._fetch(remote, commit, unheard=_REFUSED)
        except ScmError as error:
            if error.reason is not ScmReason.REVISION:
                raise
            self._fetch(remote, *_EVERYTHING, depth=_ALL_HISTORY)
        if not self._commit(commit):
            raise ScmError(ScmReason.REVISION, f"{remote.url} has no commit {commit}.")
        return self._keep(commit)

    def tip(self, submodule: Submodule) -> str:
        """The commit that a tracked submodule's branch has now."""
        with _about_submodule(submodule.path):
            return self._fetch_ref(self._remote(submodule.url), submodule.ref)

    def export(self, revision: str, target: Path, source: ScmSource, remote: Remote) -> list[Submodule]:
        """Write the files of a revision and of all its submodules below `target`, which is new. No `.git` in it."""
        self._unpack(revision, target)
        return list(self._export_submodules(revision, target, "", source, remote, nesting=0))

    def forget(self, revisions: set[str]) -> None:
        """Drop all history but that of `revisions`, and let git reclaim the space when it finds that worth it."""
        refs = self._in("for-each-ref", "--format=%(refname)").split()
        kept = {f"refs/revisions/{revision}" for revision in revisions}
        self._in("update-ref", "--stdin", stdin="".join(f"delete {ref}\n" for ref in refs if ref not in kept))
        self._in("-c", "gc.auto=6700", "-c", "gc.pruneExpire=now", "gc", "--auto", "--quiet")

    def _export_submodules(
        self, revision: str, root: Path, parent: str, source: ScmSource, remote: Remote, nesting: int
    ) -> Iterator[Submodule]:
        modules = root / parent / ".gitmodules"
        if modules.is_symlink() or not modules.is_file():
            return
        if nesting == MAX_NESTING:
            raise ScmError(ScmReason.INVALID, f"{remote.url}: submodules are nested deeper than {MAX_NESTING} levels.")
        settings = self._submodule_settings(revision)
        for path, commit in self._gitlinks(revision):
            here = f"{parent}/{path}".lstrip("/")
            setting = settings.get(path)
            if setting is None or "url" not in setting:
                self._git.say(f"{here} is a submodule without a URL in .gitmodules: left empty")
                continue
            if setting.get("update") == "none":
                continue
            with _about_submodule(here):
                yield from self._export_submodule(root, here, commit, setting, source, remote, nesting)

    def _export_submodule(
        self,
        root: Path,
        path: str,
        commit: str,
        setting: dict[str, str],
        source: ScmSource,
        parent: Remote,
        nesting: int,
    ) -> Iterator[Submodule]:
        self._git.say(f"Submodule {path}")
        url = join_url(parent.url, setting["url"])
        remote = self._remote(url)
        ref = ""
        if source.track_submodules:
            branch = source.branch if setting.get("branch") == "." else setting.get("branch", "")
            ref = f"refs/heads/{branch}" if branch else "HEAD"
            commit = self._fetch_ref(remote, ref)
        else:
            self.fetch_commit(remote, commit)
        target = root / path
        if not target.resolve().is_relative_to(root.resolve()):
            raise ScmError(ScmReason.INVALID, "its path leads out of the project.")
        self._unpack(commit, target)
        yield Submodule(path, url, ref, commit)
        yield from self._export_submodules(commit, root, path, source, remote, nesting + 1)

    def _submodule_settings(self, revision: str) -> dict[str, dict[str, str]]:
        """What .gitmodules says (url, branch, update) by path."""
        text = self._in("config", "--blob", f"{revision}:.gitmodules", "-z", "--get-regexp", r"^submodule\.")
        modules: dict[str, dict[str, str]] = {}
        for entry in filter(None, text.split("\0")):
            key, _, value = entry.partition("\n")
            name, _, attribute = key.removeprefix("submodule.").rpartition(".")
            modules.setdefault(name, {})[attribute] = value
        return {module["path"].rstrip("/"): module for module in modules.values() if "path" in module}

    def _gitlinks(self, revision: str) -> list[tuple[str, str]]:
        """(path, commit) of the submodules that a revision holds."""
        listing = self._in("ls-tree", "-r", "-z", "--full-tree", revision)
        entries = (entry.partition("\t") for entry in listing.split("\0"))
        return [(path, meta.split()[2]) for meta, _, path in entries if meta.startswith("160000 ")]

    def _unpack(self, revision: str, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        index = self.path / "export-index.lock"  # named so that `repair` finds it
        places = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(target)}
        try:
            self._in("read-tree", "--reset", "-u", revision, quiet=False, environment=places)
        finally:
            index.unlink(missing_ok=True)

    def _fetch_ref_if_any(self, remote: Remote, ref: str) -> str | None:
        try:
            return self._fetch_ref(remote, ref)
        except ScmError as error:
            if error.reason is not ScmReason.REVISION:
                raise
            return None

    def _fetch_ref(self, remote: Remote, ref: str) -> str:
        self._fetch(remote, ref, unheard=_REFUSED)
        commit = self._commit("FETCH_HEAD")
        if commit is None:
            raise ScmError(ScmReason.REVISION, f"{ref} of {remote.url} is not a commit.")
        return self._keep(commit)

    def _fetch(
        self,
        remote: Remote,
        *refspecs: str,
        depth: str = "--depth=1",
        options: tuple[str, ...] = (),
        unheard: str = "",
    ) -> None:
        arguments = ["--git-dir", str(self.path), "fetch", "--progress", "--no-tags", "--force", *options]
        what = ["--", remote.url, *refspecs]
        try:
            self._git.run(*arguments, depth, *what, about=remote, unheard=unheard)
        except ScmError as error:
            if not _NOT_SHALLOW.search(error.message):
                raise
            self._git.run(*arguments, *what, about=remote, unheard=unheard)

    def _commit(self, name: str) -> str | None:
        """The commit that a local name stands for."""
        try:
            return self._in("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
        except ScmError as error:
            if error.reason in (ScmReason.TIMEOUT, ScmReason.CANCELED, ScmReason.TOOL):
                raise
            return None

    def _keep(self, commit: str) -> str:
        self._in("update-ref", f"refs/revisions/{commit}", commit)
        return commit

    def _remote(self, url: str) -> Remote:
        """A submodule's remote. Whoever writes .gitmodules chooses the host, so the credential's password is not for
        it; git has it already for submodules on the project's own server."""
        remote = parse_remote(url, ScmCredential())
        if remote.kind == "ssh" and not remote.username:
            remote = replace(remote, username=self._credential.username)
        self._git.admit(remote)
        return remote

    def _in(
        self, *arguments: str, quiet: bool = True, environment: dict[str, str] | None = None, stdin: str = ""
    ) -> str:
        arguments = ("--git-dir", str(self.path), *arguments)
        return self._git.run(*arguments, quiet=quiet, environment=environment, stdin=stdin)


@contextlib.contextmanager
def _about_submodule(path: str) -> Iterator[None]:
    try:
        yield
    except ScmError as error:
        raise ScmError(error.reason, f"Submodule {path}: {error.message}") from error


def discard(path: Path) -> None:
    """Remove a directory that readers may see: out of their sight at once, then file by file."""
    if path.exists():
        trash = path.with_name(f".new-trash-{path.name}")
        shutil.rmtree(trash, ignore_errors=True)
        path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
