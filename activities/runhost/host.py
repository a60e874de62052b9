"""The run host's process: `python -m activities.runhost.host <state_dir>`. It listens on a Unix socket, forks a child
per start request with ansible-runner already imported, and ends by itself when nobody needs it.

It stays small on purpose: one thread, no secrets (the child reads the order from the connection), no state that a
crash could lose (that is in the run directories)."""

import argparse
import fcntl
import gc
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from activities.runhost import child, command, processes
from activities.runhost.protocol import SOCKET_NAME, Op, Reply, receive_header, send

FIRST_CLIENT = 10.0  # seconds that whoever started us may take to connect, on a machine that is busy
TICK = 2.0  # seconds between looks at whether the state dir is still there
REQUEST_TIMEOUT = 5.0  # seconds a client may take to send its request once it began
STOP_TIMEOUT = 15.0  # seconds for the runs to end by themselves; they need at most execution.GRACE + PATIENCE
SIGNALS = (signal.SIGCHLD, signal.SIGTERM)


class Host:
    """`idle_seconds`: how long to stay with neither a run nor a client."""

    def __init__(self, socket_path: Path, idle_seconds: float) -> None:
        self._socket_path = socket_path
        self._idle_seconds = idle_seconds
        self._idle_since = time.monotonic() + FIRST_CLIENT
        self._stop_at: float | None = None  # when stopping: the time to kill what is left
        self._runs: set[int] = set()
        self._clients: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._signals, self._wakeup = socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def listen(self) -> None:
        """Raises OSError."""
        self._socket_path.unlink(missing_ok=True)  # ours to remove: the lock says that no other host is alive
        self._listener.bind(str(self._socket_path))
        self._socket_path.chmod(0o600)
        self._listener.listen(128)
        for end in (self._signals, self._wakeup, self._listener):
            end.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._signals, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        for number in (signal.SIGINT, signal.SIGHUP):  # meant for the worker's terminal
            signal.signal(number, signal.SIG_IGN)

    def serve(self) -> None:
        """Until nobody needs this host any more."""
        while not self._done():
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._signals:
                    self._signals.recv(1024)
                elif isinstance(key.fileobj, socket.socket):
                    self._answer(key.fileobj)
            self._reap()
            if not self._socket_path.exists():
                self._stop()  # the state dir was removed: nobody can reach or find what we run
        self._socket_path.unlink(missing_ok=True)

    def _done(self) -> bool:
        now = time.monotonic()
        if self._stop_at is not None:
            if now >= self._stop_at:
                processes.signal_all(processes.descendants(), signal.SIGKILL)
            return not self._runs
        if self._runs or self._clients:
            self._idle_since = now
        return now >= self._idle_since + self._idle_seconds

    def _patience(self) -> float:
        if self._stop_at is not None:
            return max(0.1, self._stop_at - time.monotonic())
        if self._runs or self._clients:
            return TICK
        return min(TICK, max(0.0, self._idle_since + self._idle_seconds - time.monotonic()))

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it went away again, or we are out of descriptors: the next one may fare better
            return
        if _peer_uid(client) != os.geteuid():
            client.close()
            return
        client.settimeout(REQUEST_TIMEOUT)
        self._clients.add(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _answer(self, client: socket.socket) -> None:
        try:
            header = receive_header(client)
        except (OSError, ValueError):
            header = None
        match header:
            case (Op.START, length) if self._stop_at is None:
                self._start(client, length)
                self._forget(client)  # the child has the connection now
            case (Op.STOP, _):
                self._stop()  # the client waits for our end
            case _:
                self._forget(client)

    def _start(self, client: socket.socket, length: int) -> None:
        # Blocked until the child has handlers of its own: ours would run in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                child.main(client, length)
            self._runs.add(pid)
        except OSError as error:
            send(client, Op.REPLY, Reply(f"No process could be started: {error.strerror}."))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _forget(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._clients.discard(client)
        client.close()

    def _stop(self) -> None:
        """Cancel every run; `serve` ends after the last one. New requests are turned away."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + STOP_TIMEOUT
            for pid in self._runs:
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Collect ended children. One that was killed leaves its processes to us, and we end them."""
        orphans = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            orphans |= status != 0 or pid not in self._runs
            self._runs.discard(pid)
        if orphans:
            processes.signal_all(processes.descendants(but_not=self._runs), signal.SIGKILL)


def _peer_uid(client: socket.socket) -> int:
    if sys.platform != "linux":
        return os.geteuid()  # the socket's mode has to do
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


def main() -> None:
    parser = argparse.ArgumentParser(description="Starts playbook runs for the workers of this host.")
    parser.add_argument("state_dir", type=Path)
    # The name is the client's to say: the sources, and with them ours, may have changed since the worker was started.
    parser.add_argument("--socket-name", default=SOCKET_NAME)
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="leave after so long without run or client")
    parser.add_argument("--detach", action="store_true", help="return as soon as requests are taken")
    options = parser.parse_args()
    os.umask(0o077)
    socket_path = options.state_dir / options.socket_name
    lock = os.open(socket_path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # a run host that is just leaving is waited for
    host = Host(socket_path, options.idle_seconds)
    host.listen()
    if options.detach and os.fork() > 0:
        os._exit(0)
    processes.set_title("forge-runhost")
    processes.adopt_orphans()
    command.preload()  # who asks for a run meanwhile waits in the socket's backlog
    gc.freeze()  # the collector would touch, and so copy, every page that the children share with us
    host.serve()


if __name__ == "__main__":
    main()
