"""What a launch costs over running the playbook by hand.

A trivial play (one host, two tasks) three ways, side by side, interleaved: POST to `successful` through Forge, bare
`ansible-playbook`, bare `ansible_runner.run()`; then eight at once. Prints medians, ratios and idle memory.

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


def through_forge(running: Forge, template: int) -> float:
    """Seconds from before the POST to the moment at which the job was `successful` (this machine's one clock)."""
    started = time.time()
    job = running.wait(running.post(f"job_templates/{template}/launch/")["id"])
    if job["status"] != "successful":
        raise SystemExit(f"job {job['id']} ended {job['status']}: {job['job_explanation']}")
    return datetime.fromisoformat(job["finished"]).timestamp() - started


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def at_once(work: Callable[[], object]) -> float:
    """Seconds until the last of eight is done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return seconds(lambda: [future.result() for future in [pool.submit(work) for _ in range(AT_ONCE)]] and None)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory, forge() as running:
        by_hand = ByHand(Path(directory))
        template = job_template(running, "launch", PLAY, hosts=1)
        time.sleep(5)
        idle = running.resident_bytes()

        def launch() -> float:
            return through_forge(running, template)

        launch(), by_hand.ansible_playbook(), by_hand.ansible_runner()  # warm every cache once
        one: dict[str, list[float]] = {"forge": [], "ansible-playbook": [], "ansible_runner.run()": []}
        eight: dict[str, list[float]] = {"forge": [], "ansible-playbook": []}
        for _ in range(rounds):
            one["ansible-playbook"].append(seconds(by_hand.ansible_playbook))
            one["forge"].append(launch())
            one["ansible_runner.run()"].append(seconds(by_hand.ansible_runner))
        for _ in range(max(1, rounds // 3)):
            eight["ansible-playbook"].append(at_once(by_hand.ansible_playbook))
            eight["forge"].append(at_once(launch))
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
