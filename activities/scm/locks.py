"""Locks between processes on one host. The kernel frees them when their holder dies, however it dies."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil


@contextlib.contextmanager
def file_lock(path: Path, *, shared: bool = False, blocking: bool = True) -> Iterator[int]:
    """Hold a lock on the file `path`, made if need be; gives its descriptor. A child that inherits the descriptor holds
    the lock too, until it ends. Raises BlockingIOError if the lock is taken and not `blocking`."""
    descriptor = _acquire(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if blocking else fcntl.LOCK_NB))
    try:
        if not shared:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps([os.getpid(), _started(os.getpid())]).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def end_orphans(path: Path, home: Path) -> None:
    """If the process that took the lock on `path` was killed, end the children it left behind, which hold it still:
    those that have `home` as their home directory."""
    try:
        holder = path.read_text()
        pid, started = json.loads(holder)
    except (OSError, ValueError):
        return
    if _started(pid) == started:
        return
    orphans = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, FileNotFoundError):
            # Somebody may have taken the lock while we looked around: then these are that process's children.
            if process.environ().get("HOME") == str(home) and path.read_text() == holder:
                process.kill()
                orphans.append(process)
    psutil.wait_procs(orphans, timeout=1)


def _acquire(path: Path, operation: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # The file was removed between our open and our lock: again, with the new one.


def _started(pid: int) -> float | None:
    """When a process started. With the pid it tells a process from a later one that got the same number."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
