"""Runs do not lend each other their SSH access. Against a real sshd on loopback."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sshd import Sshd, make_key, needs_sshd

from activities.runhost.client import RunHost
from activities.runhost.protocol import FileSpec, RunSpec, RunStatus, SshKey

from .conftest import read_events, stdout

pytestmark = needs_sshd


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    with Sshd() as server:
        yield server


def test_run_without_a_key_does_not_profit_from_the_one_before(
    host: RunHost, order: Callable[..., RunSpec], sshd: Sshd, base: Path
) -> None:
    key = make_key(base / "key", "open sesame")
    sshd.authorize(key.public)
    variables = f"ansible_host=127.0.0.1 ansible_port={sshd.port} ansible_user={sshd.user}"
    hosts = FileSpec(f"there {variables} ansible_python_interpreter={sys.executable}\n")
    ssh_keys = [SshKey(key.private, "open sesame")]

    first = host.start(order("remote", files={"hosts": hosts}, ssh_keys=ssh_keys))
    output = stdout(read_events(first))
    masters = [p.pid for p in psutil.process_iter(["cmdline"]) if str(base) in " ".join(p.info["cmdline"] or [])]
    second = host.start(order("remote", run_id="job-2", files={"hosts": hosts}))
    refusal = stdout(read_events(second))

    assert first.exit is not None
    assert first.exit.status is RunStatus.SUCCESSFUL, output
    assert len(masters) == 1  # the run host alone: ssh's persistent connection and the agent ended with the run
    assert second.exit is not None
    assert second.exit.status is RunStatus.FAILED
    assert "Permission denied" in refusal
