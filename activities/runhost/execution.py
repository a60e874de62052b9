"""ansible under a pseudo-terminal: its output, its prompts, its time limits, and the end of all its descendants.

`Runner.run()` of ansible-runner does the same with pexpect, at a price that we measured: it keeps the whole output in
memory, looks at cancellation and timeouts every few seconds only, sends no SIGTERM before SIGKILL, does not see
processes that left the group, and sleeps 0.1 s at the end (pexpect's `delayafterclose`)."""

import codecs
import contextlib
import errno
import os
import pty
import re
import selectors
import shutil
import signal
import socket
import termios
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import psutil

from activities.runhost import command as commands
from activities.runhost import processes
from activities.runhost.events import EventLog, Output
from activities.runhost.protocol import ExitInfo, RunStatus

GRACE = 3.0  # seconds between SIGTERM and SIGKILL
PATIENCE = 5.0  # seconds until we give up on processes that SIGKILL does not end (another user's, or stuck in I/O)
READ_SIZE = 256 << 10
PROMPT_SIZE = 1000  # characters of an unfinished line in which prompts are looked for


class Execution:
    """One command. Make it, then `run` it once. SIGTERM to this process cancels it."""

    def __init__(self, output: Output, log: EventLog, home: Path) -> None:
        self._output = output
        self._log = log
        self._home = home
        self._canceled = False
        self._pid = 0
        self._rc: int | None = None
        self._childless = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._selector = selectors.DefaultSelector()
        self._prompts: list[tuple[re.Pattern[str], str]] = []
        self._line = ""  # the unfinished last line of the output: where a prompt would be
        self._last_output = 0.0
        self._watch_signals()

    def run(
        self,
        command: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        *,
        passwords: Mapping[str, str],
        timeout: float,
        idle_timeout: float,
        keys: Collection[int] = (),
    ) -> ExitInfo:
        """Returns when the command and every process it left behind have ended. `keys` are descriptors from which
        ssh-add reads keys first, in the same terminal. Raises OSError if the command cannot start."""
        self._prompts = [(re.compile(pattern), answer) for pattern, answer in passwords.items()]
        if shutil.which(command[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        self._spawn(command, cwd, env, keys)
        try:
            status, error = self._watch(timeout, idle_timeout)
        finally:
            survivors = self._end_processes()
        while self._read() and not survivors:
            pass
        self._output.feed(self._decoder.decode(b"", final=True))
        if survivors:
            error = f"{error} Processes that could not be ended: {', '.join(map(str, survivors))}.".lstrip()
        return ExitInfo(status, self._rc, error)

    def _watch_signals(self) -> None:
        """Signals wake the selector: nothing here polls."""
        self._signals, wakeup = socket.socketpair()
        for end in (self._signals, wakeup):
            end.setblocking(False)
        self._wakeup = wakeup  # the interpreter keeps only its number
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._cancel)
        self._selector.register(self._signals, selectors.EVENT_READ)

    def _cancel(self, *_: object) -> None:
        self._canceled = True

    def _spawn(self, command: Sequence[str], cwd: str, env: Mapping[str, str], keys: Collection[int]) -> None:
        self._terminal, slave = pty.openpty()
        try:
            attributes = termios.tcgetattr(slave)
            attributes[3] &= ~termios.ECHO  # an answered password must not come back as output
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            termios.tcsetwinsize(slave, (24, 80))  # ansible folds its banners and warnings to it, as under AWX
            self._pid = os.fork()  # this process has one thread, so the other one may do anything
            if self._pid == 0:
                commands.become(command, cwd, env, slave, keys)
        finally:
            os.close(slave)
        os.set_blocking(self._terminal, False)
        self._selector.register(self._terminal, selectors.EVENT_READ)

    def _watch(self, timeout: float, idle_timeout: float) -> tuple[RunStatus, str]:
        """Serve the command until it ends or has to be ended; why, and a sentence about it."""
        started = self._last_output = time.monotonic()
        while True:
            now = time.monotonic()
            if self._log.failure:
                return RunStatus.ERROR, f"The events of the run could not be written: {self._log.failure.strerror}."
            if self._rc is not None:
                return _verdict(self._rc)
            if self._canceled:
                return RunStatus.CANCELED, "The run was ended by SIGTERM: it was cancelled, or Forge was stopped."
            if timeout and now >= started + timeout:
                return RunStatus.TIMEOUT, f"The run took longer than its timeout of {timeout:g} s."
            if idle_timeout and now >= self._last_output + idle_timeout:
                return RunStatus.IDLE_TIMEOUT, f"There was no output for {idle_timeout:g} s, the idle timeout."
            deadlines = [started + timeout] if timeout else []
            deadlines += [self._last_output + idle_timeout] if idle_timeout else []
            self._step(min(deadlines, default=None))

    def _step(self, until: float | None) -> None:
        """Wait for output or a signal, no longer than `until`, and take in what came."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._signals:
                self._signals.recv(1024)
            else:
                self._read()
        self._reap()

    def _read(self) -> bool:
        """Take in the output there is, at most READ_SIZE. False when there is no more of it for now."""
        data = bytearray()
        more = True
        while more and len(data) < READ_SIZE:  # a terminal gives 4 kB at a time
            try:
                data += os.read(self._terminal, READ_SIZE)
            except BlockingIOError:
                more = False
            except OSError:  # EIO: no process has the terminal open any more
                more = False
                if self._terminal in self._selector.get_map():
                    self._selector.unregister(self._terminal)
        if data:
            self._last_output = time.monotonic()
            text = self._decoder.decode(data)
            self._output.feed(text)
            self._answer_prompt(text)
        return more

    def _answer_prompt(self, text: str) -> None:
        if not self._prompts:
            return
        self._line = (self._line + text).rpartition("\n")[2][-PROMPT_SIZE:]
        for pattern, answer in self._prompts:
            if pattern.search(self._line):
                self._line = ""
                with contextlib.suppress(OSError):  # who asked is gone already
                    os.write(self._terminal, answer.encode() + b"\n")
                return

    def _reap(self) -> None:
        """Collect children that ended, adopted ones too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                self._childless = False
                return
            if pid == self._pid:
                self._rc = os.waitstatus_to_exitcode(status)

    def _end_processes(self) -> list[int]:
        """SIGTERM to everything there is, SIGKILL to what is left after the grace. The pids that nothing ended."""
        if self._alone():
            return []
        processes.signal_all(self._others(), signal.SIGTERM)
        kill_at = time.monotonic() + GRACE
        give_up_at = kill_at + PATIENCE
        while not self._alone():
            now = time.monotonic()
            if now < kill_at:
                self._step(kill_at)
            elif now < give_up_at and processes.signal_all(self._others(), signal.SIGKILL):
                self._step(now + 0.05)
            else:
                return [process.pid for process in self._others()]
        return []

    def _alone(self) -> bool:
        """True when no process of the run is left. With adoption having no child is proof, and costs nothing."""
        self._reap()
        return self._childless and (processes.LINUX or not self._others())

    def _others(self) -> list[psutil.Process]:
        found = processes.descendants()
        return found if processes.LINUX else list({*found, *processes.of_run(self._home)})


def _verdict(rc: int) -> tuple[RunStatus, str]:
    if rc == 0:
        return RunStatus.SUCCESSFUL, ""
    if rc < 0:
        return RunStatus.FAILED, f"ansible was ended by {signal.Signals(-rc).name}, which Forge did not send."
    return RunStatus.FAILED, ""
