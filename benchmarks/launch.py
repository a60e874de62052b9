"""What a launch costs over running the playbook by hand.

A trivial play (one host, two tasks) three ways, side by side, interleaved: POST to `successful` through Forge, bare
`ansible-playbook`, bare `ansible_runner.run()`; then eight at once. A launch ends when the job is stored as
`successful`; a client looks four times a second, ten times as often as AWX's own. Prints medians, ratios, idle memory.

    python -m benchmarks.launch [rounds]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from statistics import median

import ansible_runner

from benchmarks.stack import LOCAL_HOST, Forge, forge, job_template

ROUNDS = 9
AT_ONCE = 8
PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: First
      ansible.builtin.command: "true"
    - name: Second
      ansible.builtin.debug:
        msg: done
"""


class ByHand:
    """The same playbook and inventory without Forge."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "play.yml").write_text(PLAY)
        host_vars = "".join(f"        {line}\n" for line in LOCAL_HOST.splitlines())
        (directory / "inventory.yml").write_text(f"all:\n  hosts:\n    host0:\n{host_vars}")

    def ansible_playbook(self) -> None:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml"]
        subprocess.run(command, cwd=self._directory, check=True, capture_output=True)

    def ansible_runner(self) -> None:
        """In this process, which has the library imported."""
        with tempfile.TemporaryDirectory() as private:
            result = ansible_runner.run(
                private_data_dir=private,
                project_dir=str(self._directory),
                playbook="play.yml",
                inventory=str(self._directory / "inventory.yml"),
                quiet=True,
                envvars={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            )
        if result.rc != 0:
            raise SystemExit(f"ansible-runner ended with {result.rc}")


def launched(running: Forge, template: int) -> float:
    """When the job was `successful`, as the database has it (this machine has one clock)."""
    job = running.wait(running.post(f"job_templates/{template}/launch/")["id"])
    if job["status"] != "successful":
        raise SystemExit(f"job {job['id']} ended {job['status']}: {job['job_explanation']}")
    return datetime.fromisoformat(job["finished"]).timestamp()


def done(work: Callable[[], None]) -> float:
    work()
    return time.time()


def seconds(work: Callable[[], float]) -> float:
    """From now until the moment that `work` returns."""
    started = time.time()
    return work() - started


def at_once(work: Callable[[], float]) -> float:
    """When the last of eight was done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return max(future.result() for future in [pool.submit(work) for _ in range(AT_ONCE)])


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory, forge() as running:
        by_hand = ByHand(Path(directory))
        template = job_template(running, "launch", PLAY, hosts=1)
        time.sleep(5)
        idle = running.resident_bytes()

        ways: dict[str, Callable[[], float]] = {
            "ansible-playbook": lambda: done(by_hand.ansible_playbook),
            "forge": lambda: launched(running, template),
            "ansible_runner.run()": lambda: done(by_hand.ansible_runner),
        }
        for way in ways.values():
            way()  # warms every cache once
        one: dict[str, list[float]] = {name: [] for name in ways}
        eight: dict[str, list[float]] = {name: [] for name in ("ansible-playbook", "forge")}
        for _ in range(rounds):
            for name, taken in one.items():
                taken.append(seconds(ways[name]))
        for _ in range(rounds):
            for name, taken in eight.items():
                taken.append(seconds(lambda name=name: at_once(ways[name])))  # type: ignore[misc]
    report("one", one)
    report(f"{AT_ONCE} at once", eight)
    print(
        f"idle memory: server {idle['server'] / 2**20:.0f} MB + worker {idle['worker'] / 2**20:.0f} MB = "
        f"{sum(idle.values()) / 2**20:.0f} MB (limit 300)"
    )


def report(title: str, measured: dict[str, list[float]]) -> None:
    bare = median(measured["ansible-playbook"])
    print(f"{title} (median of {len(measured['forge'])}):")
    for name, values in measured.items():
        print(f"  {name:22} {median(values) * 1000:7.0f} ms   {median(values) / bare:.2f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
