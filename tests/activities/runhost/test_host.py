"""The run host's own life: it is there when needed and gone when not."""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from activities.runhost.client import RunHost
from activities.runhost.protocol import SOCKET_NAME, RunSpec, RunStatus

from .test_client import host_pid, is_running, lines, pid_of, wait_for

Order = Callable[..., RunSpec]


def test_leaves_when_nobody_needs_it(base: Path) -> None:
    host = RunHost(base / "state", base / "runs", idle_seconds=0.2)
    host.ensure_started()
    pid = host_pid(base)
    time.sleep(0.5)
    stayed = is_running(pid)

    host.close()

    assert stayed
    wait_for(lambda: not is_running(pid))
    assert not (base / "state" / SOCKET_NAME).exists()


def test_stays_for_a_run_when_the_worker_is_gone(base: Path, host: RunHost, order: Order) -> None:
    host = RunHost(base / "state", base / "runs", idle_seconds=0.1)
    run = host.start(order("slow", extra_vars={"journal": base / "journal", "steps": 1, "pause": 0.5}))
    pid = host_pid(base)

    host.close()

    assert run.wait(10)
    assert run.exit is not None
    assert run.exit.status is RunStatus.SUCCESSFUL
    wait_for(lambda: not is_running(pid))


def test_stop_ends_all_runs(base: Path, host: RunHost, order: Order) -> None:
    run = host.start(order("slow", extra_vars={"journal": base / "journal", "pause": 60}))
    wait_for(lambda: lines(base / "journal"))
    pid = host_pid(base)

    host.stop()

    assert run.exit is not None
    assert run.exit.status is RunStatus.CANCELED
    wait_for(lambda: not is_running(pid), seconds=1)


def test_leaves_when_its_state_dir_vanishes(base: Path, host: RunHost, order: Order) -> None:
    run = host.start(order("slow", extra_vars={"journal": base / "journal", "pause": 60}))
    pids = [host_pid(base), pid_of(run, host)]

    shutil.rmtree(base / "state")

    wait_for(lambda: not any(is_running(pid) for pid in pids))


def test_ignores_the_terminal(base: Path, host: RunHost) -> None:
    host.ensure_started()
    pid = host_pid(base)

    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.2)

    assert is_running(pid)
    assert os.getsid(pid) != os.getsid(0)


def test_survives_nonsense(base: Path, host: RunHost, order: Order) -> None:
    host.ensure_started()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(base / "state" / SOCKET_NAME))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(10) == b""

    assert host.start(order("hello")).alive()


def test_is_small(base: Path, host: RunHost) -> None:
    host.ensure_started()

    process = psutil.Process(host_pid(base))

    assert process.num_threads() == 1
    assert process.memory_info().rss < 60 << 20
