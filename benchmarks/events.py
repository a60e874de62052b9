"""What storing every event costs.

One run of 40 local hosts x 10 tasks through the run host, as a worker drives it: once its events are read and thrown
away, once they are masked, sorted out and stored in PostgreSQL; in pairs, each in turn first. Prints the median of the
ratios of the pairs' wall times, and the worker's CPU per event.

    python -m benchmarks.events [rounds]
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import migrations
from activities.output import EventStore, Masker
from activities.runhost.client import RunHost, private_runs_dir
from activities.runhost.protocol import FileSpec, RunSpec
from core.datadir import prepare_data_dir
from core.db import Database
from core.embedded.postgres import EmbeddedPostgres
from models.jobs import Job
from models.unified import JobStatus

ROUNDS = 9
HOSTS = 40
TASKS = 10
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n" + "".join(
    f"    - name: Task {number}\n      ansible.builtin.debug:\n        msg: 'task {number}'\n"
    for number in range(TASKS)
)


class Bench:
    def __init__(self, directory: Path, database: Database) -> None:
        self._database = database
        self._host = RunHost(directory / "run", private_runs_dir(directory))
        self._project = directory / "project"
        self._project.mkdir()
        (self._project / "play.yml").write_text(PLAY)
        self._number = 0
        self.events = 0

    def run(self, take: Callable[[int], Callable[[list[bytes]], object]]) -> tuple[float, float]:
        """(wall seconds of the run, CPU seconds of this process); `take(run number)` gives what gets the events."""
        self._number += 1
        run_id = f"job-{self._number}"
        hosts = {f"host{number}": {"ansible_connection": "local"} for number in range(HOSTS)}
        spec = RunSpec(
            run_id=run_id,
            project_dir=str(self._project),
            playbook="play.yml",
            inventory=[str(self._host.file_path(run_id, "inventory.json"))],
            args=["--forks=10"],
            files={"inventory.json": FileSpec(json.dumps({"all": {"hosts": hosts}}))},
        )
        receive = take(self._number)
        cpu, wall = time.process_time(), time.perf_counter()
        run = self._host.start(spec)
        count = 0
        for lines in run.events():
            count += len(lines)
            if lines:
                receive(lines)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if run.exit is None or run.exit.rc != 0:
            raise SystemExit(f"{run_id} failed: {run.exit}")
        self.events = count
        self._host.cleanup(run_id)
        return wall, cpu

    def discard(self, _: int) -> Callable[[list[bytes]], object]:
        return lambda lines: None

    def store(self, _: int) -> Callable[[list[bytes]], object]:
        with self._database.transaction() as session:
            job = Job(name="bench", status=JobStatus.RUNNING)
            session.add(job)
            session.flush()
            job_id = job.id
        host_ids = {f"host{number}": number for number in range(HOSTS)}
        return EventStore(self._database, job_id, Masker(["planted-secret"]), host_ids).store

    def stop(self) -> None:
        self._host.stop()


def main(rounds: int) -> None:
    # Not in the default place: that may be closed to the unprivileged user that PostgreSQL runs as for root.
    directory = Path(tempfile.mkdtemp(prefix="forge-bench-"))
    prepare_data_dir(directory)
    postgres = EmbeddedPostgres(directory)
    postgres.start()
    try:
        migrations.upgrade(postgres.url)
        database = Database(postgres.url)
        bench = Bench(directory, database)
        measured: dict[str, list[tuple[float, float]]] = {"discarded": [], "stored": []}
        bench.run(bench.discard), bench.run(bench.store)  # warm every cache once
        ways = {"discarded": bench.discard, "stored": bench.store}
        for number in range(rounds):
            for name in sorted(ways, reverse=number % 2 == 1):
                measured[name].append(bench.run(ways[name]))
        bench.stop()
        database.dispose()
    finally:
        postgres.stop()
        shutil.rmtree(directory)
    report(measured, bench.events)


def report(measured: dict[str, list[tuple[float, float]]], events: int) -> None:
    print(f"{HOSTS} hosts x {TASKS} tasks, {events} events (median of {len(measured['stored'])}):")
    for name, values in measured.items():
        pairs = zip(values, measured["discarded"], strict=True)
        ratio, cpu = median(mine[0] / bare[0] for mine, bare in pairs), median(cpu for _, cpu in values)
        wall = median(wall for wall, _ in values)
        print(f"  {name:10} {wall:6.2f} s   {ratio:.3f}x   worker CPU {cpu / events * 1000:.3f} ms an event")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
