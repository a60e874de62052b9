"""A run's command: in the process that was forked for it where that makes no difference, executed where it would."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from activities.runhost import processes
from activities.runhost.client import RunHost
from activities.runhost.command import entry_point
from activities.runhost.protocol import RunSpec

from .conftest import read_events, stdout

Order = Callable[..., RunSpec]
PROGRAMS = Path(sys.executable).parent
PATH = {"PATH": str(PROGRAMS)}


@pytest.mark.parametrize(
    ("program", "env", "module"),
    [
        ("ansible-playbook", {}, "ansible.cli.playbook"),
        ("ansible", {}, "ansible.cli.adhoc"),
        ("python", {}, None),
        ("missing", {}, None),
        ("ansible-playbook", {"PYTHONPATH": "/opt/lib"}, None),  # a starting interpreter would read it
        ("ansible-playbook", {"LD_PRELOAD": "/opt/lib.so"}, None),
    ],
)
def test_entry_point(program: str, env: dict[str, str], module: str | None) -> None:
    assert entry_point([program, "x"], PATH | env) == module


def test_another_ansible_is_executed(tmp_path: Path) -> None:
    other = tmp_path / "ansible-playbook"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)

    assert entry_point(["ansible-playbook"], {"PATH": f"{tmp_path}:{PROGRAMS}"}) is None


def loaded_by(code: str, cwd: Path) -> set[str]:
    code += "\nimport sys\nsys.stderr.write('LOADED ' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("LOADED ")[2].split())


def test_what_ansible_needs_is_there_and_nothing_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks:\n    - command: echo\n")
    run = "import runpy, sys\nsys.argv = ['ansible-playbook', '-i', 'localhost,', '-c', 'local', 'play.yml']\n"
    run += f"try:\n    runpy.run_path('{PROGRAMS}/ansible-playbook', run_name='__main__')\nexcept SystemExit:\n    pass"
    needed = {name for name in loaded_by(run, tmp_path) if not name.startswith(("ansible", "__mp_"))}

    preloaded = loaded_by("from activities.runhost import command, host\ncommand.preload()", Path("/"))

    assert not {name for name in preloaded if name == "ansible" or name.startswith("ansible.")}
    assert len(needed - preloaded) < 10, sorted(needed - preloaded)


def test_each_run_has_its_own_configuration(host: RunHost, order: Order, base: Path) -> None:
    play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - debug:\n"
    play += "        msg: timeout={{ lookup('config', 'DEFAULT_TIMEOUT') }}\n"
    said = []
    for number, timeout in enumerate(("71", "72", "")):
        project = base / f"project{number}"
        project.mkdir()
        (project / "play.yml").write_text(play)
        if timeout:
            (project / "ansible.cfg").write_text(f"[defaults]\ntimeout = {timeout}\n")
        run = host.start(order("hello", f"job-{number}", project_dir=str(project), playbook="play.yml"))
        said.append(stdout(read_events(run)))

    for timeout, output in zip(("71", "72", "10"), said, strict=True):
        assert f"timeout={timeout}" in output


def test_program_with_its_own_environment_runs_all_the_same(host: RunHost, order: Order) -> None:
    run = host.start(order("hello", env={"PYTHONUNBUFFERED": "1"}))

    assert "hello world" in stdout(read_events(run))
    assert run.exit is not None
    assert run.exit.rc == 0


@pytest.mark.skipif(not processes.LINUX, reason="what is forked is executed elsewhere")
def test_orphans_are_found_by_the_home_of_their_run(host: RunHost, order: Order, base: Path) -> None:
    run = host.start(order("slow", extra_vars={"journal": base / "journal", "pause": 60}))
    home = base / "runs" / "job-1" / "home"
    next(batch for batch in run.events() if batch)
    supervisor = int((base / "runs" / "job-1" / "lock").read_text())
    ansible = [process for process in processes.of_run(home) if process.name() == "ansible-playboo"]
    assert ansible

    os.kill(psutil.Process(supervisor).ppid(), signal.SIGKILL)  # the run host, which would see to them
    run.kill()

    assert not processes.of_run(home)
    assert psutil.wait_procs(ansible, timeout=5)[1] == []
