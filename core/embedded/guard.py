"""Started as `python -I -S guard.py MODE PARENT SIGNAL UID GID COMMAND...`: runs COMMAND so that it ends with PARENT.

A separate little program, because what must happen between fork and exec (drop privileges, ask the kernel for a
signal when the parent dies) is not safe to do in a process that has threads. It needs the standard library only.

MODE `exec` (Linux): the kernel sends SIGNAL when PARENT dies; the command takes this process's place.
MODE `watch` (elsewhere): this process stays, looks whether PARENT is still there, and passes signals on."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.2


def drop_privileges(uid: int, gid: int) -> None:
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def become(parent: int, death_signal: int, command: list[str]) -> None:
    # After setuid: a change of credentials clears the setting.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    os.execv(command[0], command)


def watch(parent: int, death_signal: int, command: list[str]) -> int:
    child = subprocess.Popen(command)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, forward)
    told = False
    while child.poll() is None:
        if os.getppid() != parent and not told:
            child.send_signal(death_signal)
            told = True
        time.sleep(POLL_SECONDS)
    return child.returncode


def main() -> int:
    mode, parent, death_signal, uid, gid, *command = sys.argv[1:]
    try:
        drop_privileges(int(uid), int(gid))
        if mode == "watch":
            return watch(int(parent), int(death_signal), command)
        become(int(parent), int(death_signal), command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main())
