"""The data directory: its layout, its permissions, the lock of the one `forge up` that runs on it, and what to say
when the disk does not cooperate."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from core.errors import StartupError

# Everything Forge ever puts there. A directory with other things and none of these is somebody else's: Forge would
# take away its permissions (think of FORGE_DATA_DIR=/tmp), so it refuses.
ENTRIES = frozenset(
    {"cache", "checkouts", "forge.lock", "logs", "postgres", "projects", "run", "runs", "secret_key", "temporal"},
)
MIN_FREE_BYTES = 50 * 1024 * 1024


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an `OSError` about `path` into one sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise StartupError(explain(error, path)) from error


def explain(error: OSError, path: Path) -> str:
    where = error.filename or path
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"The disk that holds {where} is full: free some space, or set FORGE_DATA_DIR to another disk."
        case errno.EACCES | errno.EPERM:
            return f"This user may not use {where}: change its owner, or set FORGE_DATA_DIR to a directory of yours."
        case errno.EROFS:
            return f"{where} is on a read-only file system: set FORGE_DATA_DIR to a writable directory."
        case errno.ENOTDIR | errno.EEXIST:
            return f"{where} is not a directory: set FORGE_DATA_DIR to a directory."
        case _:
            return f"Cannot use {where} ({error.strerror or error}): set FORGE_DATA_DIR to a usable directory."


def prepare_data_dir(data_dir: Path) -> None:
    """Create the directory, or check that it is ours, with mode 700 (the embedded PostgreSQL of root widens it)."""
    with explained(data_dir):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(data_dir)
        status = data_dir.stat()
        # Of a volume that is ours through a group only, whoever mounts it decides.
        if status.st_uid == os.geteuid() and status.st_mode & 0o777 not in (0o700, 0o711):
            data_dir.chmod(0o700)
        for name in ("logs", "run"):
            (data_dir / name).mkdir(mode=0o700, exist_ok=True)
    require_space(data_dir, MIN_FREE_BYTES)


def check_data_dir(data_dir: Path) -> Path:
    """Raises StartupError where `prepare_data_dir` would, for all that can be told without changing anything.

    Returns the directory, or what it is to be created in."""
    with explained(data_dir):
        present = next(path for path in (data_dir, *data_dir.parents) if path.exists())
        if not present.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(present))
        if not os.access(present, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(data_dir))
        if present == data_dir:
            _refuse_foreign(data_dir)
    return present


def _refuse_foreign(data_dir: Path) -> None:
    present = {entry.name for entry in data_dir.iterdir()} - {"lost+found"}
    if present and not present & ENTRIES:
        raise StartupError(
            f"{data_dir} holds files that are not Forge's: set FORGE_DATA_DIR to an empty or new directory."
        )


def require_space(directory: Path, size: int) -> int:
    """Raises StartupError unless `size` bytes are free there: better now than in the middle of something.

    Returns how many there are."""
    with explained(directory):
        free = shutil.disk_usage(directory).free
    if free < size:
        raise StartupError(
            f"The disk that holds {directory} has {free >> 20} MB free, and Forge needs {size >> 20} MB: "
            "free some space, or set FORGE_DATA_DIR to another disk."
        )
    return free


def prepare_projects_root(root: Path) -> None:
    """Create the folder of manual projects. It may be outside of the data directory, and others' to fill."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise StartupError(f"Cannot use {root} ({reason}): set FORGE_PROJECTS_ROOT to a directory.") from error


def lock_data_dir(data_dir: Path) -> TextIO:
    """Hold the directory for this process; the kernel lets go when the file is closed or the process ends.

    Children do not inherit it, so a survivor of a crash cannot keep the next start out."""
    with explained(data_dir):
        lock = (data_dir / "forge.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise StartupError(
                f"Forge already runs on {data_dir} (process {owner}): stop it first, "
                "or set FORGE_DATA_DIR to another directory."
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    return lock


def is_locked(data_dir: Path) -> bool:
    """Whether a `forge up` runs on it; False also where we may not look."""
    try:
        with (data_dir / "forge.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
