"""The projects cached on this host. Per project, below `root`:

    <id>.lock                 held (flock) by whoever changes the project, and by every git process of that sync
    <id>.readers              held shared while a job's copy is made, exclusively while an export is taken away
    <id>/repo.git             see repository.py
    <id>/known_hosts          SSH host keys: the first one seen is trusted, a changed one is not
    <id>/unfinished           there while something is changed; who finds it knows that the last one was stopped
    <id>/revisions/<sha>            a link to the export in force
    <id>/revisions/<sha>.<suffix>/  an export, never changed: `files/` and `content.json`

New things are made under a name that starts with `.new-` and renamed, so a kill at any moment leaves nothing half."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from activities.scm.errors import ScmError, ScmReason
from activities.scm.git import Control, Git
from activities.scm.locks import end_orphans, file_lock
from activities.scm.repository import FULL_SHA, Repository, Submodule, discard
from activities.scm.source import Remote, ScmCredential, ScmSource, parse_remote
from core.project_content import find_inventory_files, find_playbooks

LOCK_TICK = 0.1  # seconds between two attempts at a lock that somebody else holds
RECENT = 3600.0  # seconds for which `prune` spares an export that was made or used


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The commit that the source names now and what is in it (paths relative to the project).

    `changed` is False if this host had it already."""

    revision: str
    playbooks: list[str]
    inventory_files: list[str]
    changed: bool


@dataclass(frozen=True, slots=True)
class _Export:
    """`content.json`: what an export was made from and what was found in it."""

    tracked: bool
    submodules: list[Submodule]
    playbooks: list[str]
    inventory_files: list[str]

    @classmethod
    def read(cls, export: Path) -> "_Export":
        data = json.loads((export / "content.json").read_text())
        return cls(**data | {"submodules": [Submodule(**submodule) for submodule in data["submodules"]]})


class ProjectCache:
    """`private_root` holds a directory per running sync with its credential; those of killed syncs are removed here and
    when the project is synced again."""

    def __init__(self, root: Path, private_root: Path, closed: Path | None = None) -> None:
        """No local URL may lead into `closed`, by default `root`."""
        self._root = root
        self._closed = closed or root
        self._private_root = private_root
        # Several caches (data directories) may share a private root: they must not sweep each other's.
        self._prefix = f"scm-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]}-"
        for directory in (root, private_root):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def sync(
        self,
        project_id: int,
        source: ScmSource,
        credential: ScmCredential | None = None,
        emit: Callable[[str], None] = lambda line: None,
        cancelled: Callable[[], bool] = lambda: False,
        timeout: float | None = None,
    ) -> SyncResult:
        """Fetch what `source` names and export it, if this host lacks it. `timeout` is in seconds, None is none.

        `emit` gets the output, a line at a time without secrets; `cancelled` is asked several times a second. There is
        no "current" revision in the cache: a job with a branch of its own syncs that branch and moves nothing. A source
        whose branch is a full commit that is here already costs no network. Raises ScmError."""
        source.check()
        credential = credential or ScmCredential()
        remote = parse_remote(source.url, credential)
        control = Control(emit, cancelled, None if timeout is None else time.monotonic() + timeout)
        control.check()
        with _storage_errors(), self._changing(project_id, control) as lock, self._private(project_id) as home:
            project = self._project(project_id)
            known_hosts = project / "known_hosts"
            git = Git(
                home,
                known_hosts,
                credential,
                control,
                local=remote.kind == "local",
                closed=self._closed,
                keep_open=(lock,),
            )
            git.admit(remote)
            repository = Repository(project / "repo.git", git, credential)
            with _whole(project, repository):
                if source.delete_on_update:
                    discard(repository.path)
                    known_hosts.unlink(missing_ok=True)
                try:
                    return self._sync(project, repository, source, remote, git.say)
                except ScmError as error:
                    if error.reason is not ScmReason.DAMAGED:
                        raise
                    git.say(f"{error.message} Fetching it anew.")
                    discard(repository.path)
                    return self._sync(project, repository, source, remote, git.say)

    def has(self, project_id: int, revision: str) -> bool:
        return self._files(project_id, revision).is_dir()

    def checkout(self, project_id: int, revision: str, dest: Path) -> None:
        """Copy a revision to `dest` (new, or an empty directory) for one job: its own files, free to be changed.

        Raises ScmError (revision) if this host lacks it: sync with the revision as the branch, then try again."""
        with _storage_errors(), file_lock(self._readers(project_id), shared=True):
            files = self._files(project_id, revision)
            if not files.is_dir():
                raise ScmError(ScmReason.REVISION, f"Revision {revision} of the project is not on this host.")
            os.utime(files.parent)  # in use: see `prune`
            copy_tree(files, dest)

    def prune(self, project_id: int, keep: set[str], spare: float = RECENT) -> bool:
        """Remove the exports (and history) of all revisions but `keep` and those used in the last `spare` seconds.

        False if a sync is running: nothing was done then, the next call will."""
        if not self._project(project_id).is_dir():
            return True
        try:
            with (
                _storage_errors(),
                file_lock(self._lock(project_id), blocking=False),
                self._private(project_id) as home,
            ):
                known_hosts = self._project(project_id) / "known_hosts"
                git = Git(home, known_hosts, ScmCredential(), Control(lambda line: None, lambda: False, None))
                repository = Repository(self._project(project_id) / "repo.git", git, ScmCredential())
                with _whole(self._project(project_id), repository):
                    self._prune(project_id, repository, keep, time.time() - spare)
        except BlockingIOError:
            return False
        return True

    def project_ids(self) -> set[int]:
        """The projects that this host has something of."""
        return {int(entry.name) for entry in self._root.iterdir() if entry.name.isdecimal()}

    def remove(self, project_id: int) -> None:
        """Forget a deleted project. Waits for a running sync."""
        with file_lock(self._lock(project_id)), file_lock(self._readers(project_id)):
            discard(self._project(project_id))
            self._readers(project_id).unlink(missing_ok=True)
            self._lock(project_id).unlink(missing_ok=True)

    def _sync(
        self, project: Path, repository: Repository, source: ScmSource, remote: Remote, say: Callable[[str], None]
    ) -> SyncResult:
        repository.create()
        revision = source.branch.lower()
        here = FULL_SHA.fullmatch(revision) and (project / "revisions" / revision).is_dir()
        if not here or source.delete_on_update:
            say(f"Fetching {remote.url} ({source.branch or 'default branch'})")
            revision = repository.resolve(source, remote)
        link = project / "revisions" / revision
        if link.is_dir() and not source.delete_on_update:
            export = _Export.read(link)
            if _is_current(export, source, repository):
                say(f"Revision {revision}: unchanged")
                return SyncResult(revision, export.playbooks, export.inventory_files, changed=False)
        repository.fetch_commit(remote, revision)
        export = self._export(link, repository, source, remote)
        say(f"Revision {revision}: playbooks found: {len(export.playbooks)}")
        return SyncResult(revision, export.playbooks, export.inventory_files, changed=True)

    def _export(self, link: Path, repository: Repository, source: ScmSource, remote: Remote) -> _Export:
        """Export the revision that `link` is named after and point `link` at it."""
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=link.parent))
        try:
            files = fresh / "files"
            submodules = repository.export(link.name, files, source, remote)
            export = _Export(source.track_submodules, submodules, find_playbooks(files), find_inventory_files(files))
            (fresh / "content.json").write_text(json.dumps(asdict(export)))
            target = link.with_name(f"{link.name}.{fresh.name.removeprefix('.new-')}")
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        new_link = link.with_name(f".new-{link.name}")
        new_link.unlink(missing_ok=True)
        new_link.symlink_to(target.name)
        new_link.rename(link)
        return export

    def _prune(self, project_id: int, repository: Repository, keep: set[str], used_before: float) -> None:
        revisions = self._project(project_id) / "revisions"
        in_force: set[Path] = {link.resolve() for link in revisions.iterdir() if link.is_symlink()}
        wanted: set[str] = set()
        for export in [path for path in revisions.glob("[!.]*") if not path.is_symlink()]:
            revision = export.name.partition(".")[0]
            keeps = revision in keep and export.resolve() in in_force
            if keeps or export.stat().st_mtime >= used_before:
                wanted |= {revision, *(submodule.revision for submodule in _Export.read(export).submodules)}
                continue
            with file_lock(self._readers(project_id)):
                link = revisions / revision
                if link.resolve() == export.resolve():
                    link.unlink()
                discard(export)
        if repository.path.is_dir():
            repository.forget(wanted)

    def _project(self, project_id: int) -> Path:
        return self._root / str(project_id)

    def _files(self, project_id: int, revision: str) -> Path:
        if not FULL_SHA.fullmatch(revision):
            raise ScmError(ScmReason.REVISION, f"{revision!r} is not a revision.")
        return (self._project(project_id) / "revisions" / revision.lower()).resolve() / "files"

    @contextlib.contextmanager
    def _changing(self, project_id: int, control: Control) -> Iterator[int]:
        """Hold the project's lock, waiting as long as `control` allows. Gives the lock's file descriptor."""
        with contextlib.ExitStack() as stack:
            said = False
            while True:
                try:
                    descriptor = stack.enter_context(file_lock(self._lock(project_id), blocking=False))
                    break
                except BlockingIOError:
                    control.check()
                if not said:
                    control.emit("Waiting for another update of this project on this host")
                    said = True
                end_orphans(self._lock(project_id), self._home(project_id))
                time.sleep(LOCK_TICK)
            yield descriptor

    def _lock(self, project_id: int) -> Path:
        return self._root / f"{project_id}.lock"

    def _readers(self, project_id: int) -> Path:
        return self._root / f"{project_id}.readers"

    def _home(self, project_id: int) -> Path:
        return self._private_root / f"{self._prefix}{project_id}"

    @contextlib.contextmanager
    def _private(self, project_id: int) -> Iterator[Path]:
        """A directory for secrets, mode 700, gone afterwards. The caller holds the project's lock."""
        home = self._home(project_id)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700, parents=True)
        try:
            yield home
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed processes left: private directories, and projects half removed."""
        for trash in self._root.glob(".new-*"):
            shutil.rmtree(trash, ignore_errors=True)
        for home in self._private_root.glob(f"{self._prefix}*"):
            lock = self._lock(int(home.name.removeprefix(self._prefix)))
            end_orphans(lock, home)
            with contextlib.suppress(BlockingIOError), file_lock(lock, blocking=False):
                shutil.rmtree(home, ignore_errors=True)


def copy_tree(source: Path, dest: Path) -> None:
    """Copy a directory's contents, on write where the file system can; symlinks, times and modes are kept."""
    command = ["cp", "-a", "--reflink=auto", "--no-target-directory", "--", str(source), str(dest)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["cp failed"])[-1]
        raise ScmError(ScmReason.STORAGE, f"The project cannot be copied for the job: {reason}.")


def _is_current(export: _Export, source: ScmSource, repository: Repository) -> bool:
    """Whether an export of the right revision has the right submodules in it too."""
    if not source.track_submodules:
        return not export.tracked
    if not export.tracked:
        return not export.submodules
    return all(repository.tip(submodule) == submodule.revision for submodule in export.submodules)


@contextlib.contextmanager
def _whole(project: Path, repository: Repository) -> Iterator[None]:
    """Clear away what the last change left if it was stopped, and mark the project while this one lasts.

    The caller holds the project's lock."""
    (project / "revisions").mkdir(parents=True, exist_ok=True)
    mark = project / "unfinished"
    if mark.exists():
        repository.repair()
        for leftover in [*project.glob(".new-*"), *project.glob("revisions/.new-*")]:
            if leftover.is_symlink():
                leftover.unlink()
            else:
                shutil.rmtree(leftover, ignore_errors=True)
    mark.touch()
    yield
    mark.unlink()


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        hint = " Free some space in Forge's data directory." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        message = f"This host cannot store the project: {error.strerror or error}.{hint}"
        raise ScmError(ScmReason.STORAGE, message) from error
