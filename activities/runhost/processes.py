"""Finding and ending every process of a run, however it tried to get away."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

LINUX = sys.platform == "linux"
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
ROOM = {"FORGE_RUNHOST_ROOM": "." * 128}  # for `show_home`: to be in the environment that a process is executed with


def adopt_orphans() -> None:
    """From now on a descendant whose parent dies becomes our child, so that double forks and new sessions do not hide
    it. Linux only; elsewhere `of_run` has to find such processes."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_title(title: str) -> None:
    """What `ps` and `top` show as the command's name: at most 15 characters, Linux only."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_NAME, title.encode(), 0, 0, 0)


def show_home(home: Path) -> None:
    """Let others see in /proc that this process and what it forks belong to the run with this HOME, as `of_run` does.
    Linux only.

    The kernel shows the memory in which a process found its environment when it was executed, whatever it has set
    since. Nothing in the process may refer to it any more: clear `os.environ` and set it anew first."""
    if LINUX:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start and env_end; the state, number 3, is the first here
        shown = b"HOME=" + os.fsencode(home)
        if len(shown) < end - start:
            ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def descendants(*, but_not: Iterable[int] = ()) -> list[psutil.Process]:
    """All descendants of this process, except the children `but_not` and theirs."""
    excluded = set(but_not)
    found = []
    for child in psutil.Process().children():
        if child.pid not in excluded:
            found.append(child)
            with contextlib.suppress(psutil.NoSuchProcess):  # then its children are ours; the next look finds them
                found += child.children(recursive=True)
    return found


def of_run(home: Path) -> list[psutil.Process]:
    """The processes that were given `home` as HOME: those of one run, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("HOME") == str(home):
                found.append(process)
        except psutil.Error:
            pass  # gone, a zombie, or another user's
    return found


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> int:
    """How many could be sent the signal. psutil checks the start time, so a reused pid is safe."""
    reached = 0
    for process in processes:
        try:
            process.send_signal(number)
            reached += 1
        except psutil.Error:
            pass  # gone, or (after become) another user's
    return reached
