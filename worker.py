"""The worker process: everything that touches the world. Serves the control queue, the queues of its instance groups
and its own queue; keeps its instance alive. SIGTERM stops it and leaves running playbooks running for the worker that
comes next (an upgrade); SIGINT, which is Ctrl-C, ends them with it."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import resources
from typing import Any

import psutil
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.worker import Worker

import migrations
from activities.playbook import Playbooks, checkouts
from activities.project_update import ProjectUpdates
from activities.runhost.client import RunHost, private_runs_dir
from activities.scm.cache import ProjectCache
from activities.services import WorkerServices
from activities.state import Claims
from core.datadir import prepare_projects_root
from core.db import Database
from core.errors import StartupError, Unavailable
from core.logging import configure_logging
from core.settings import Settings, get_settings, parts
from core.temporal import connect, ensure_search_attributes
from core.version import VERSION
from models import instances
from models.bootstrap import DEMO_PROJECT_DIR
from models.master_key import open_secrets
from models.projects import Project
from models.unified import ACTIVE, UnifiedJob
from workflows.contracts import group_queue, node_queue
from workflows.serving import control_worker, start_maintenance

log = logging.getLogger("forge.worker")

INSTANCE_BEAT = timedelta(seconds=5)  # instances.INSTANCE_LOST_AFTER is six of them
TIDY_EVERY = timedelta(seconds=30)
GRACEFUL = timedelta(seconds=5)  # for short activities to end; playbooks are let go at once
# Cancellation travels with heartbeats: what is throttled here is how long a cancel takes.
HEARTBEAT_THROTTLE = timedelta(seconds=1)
LONGEST_STOP = 12  # seconds, GRACEFUL included
LONGEST_END = 10  # seconds for the playbooks to end with the worker, and their jobs to be written
MOST_PLAYBOOKS = 500  # on one host, whatever its capacity says: each takes a thread that mostly waits
CONTROL_ACTIVITIES = 20


def build_services(settings: Settings, client: Client, database: Database, *, searchable: bool) -> WorkerServices:
    """Raises StartupError."""
    state_dir = settings.data_dir / "run"
    with database.transaction() as session:
        secrets = open_secrets(session, settings)
    runs_dir = private_runs_dir(settings.data_dir)
    return WorkerServices(
        settings=settings,
        database=database,
        secrets=secrets,
        client=client,
        run_host=RunHost(state_dir, runs_dir),
        projects=ProjectCache(settings.data_dir / "cache", runs_dir, closed=settings.data_dir),
        searchable=searchable,
    )


def build_workers(services: WorkerServices, executor: ThreadPoolExecutor) -> list[Worker]:
    """One worker per queue that this host always serves; each says for itself how much it takes at once."""
    playbooks, updates = Playbooks(services), ProjectUpdates(services)
    common = _common(executor)
    control = control_worker(services, [updates.update_project], max_concurrent_activities=CONTROL_ACTIVITIES, **common)
    node = Worker(
        services.client,
        task_queue=node_queue(services.node),
        activities=[playbooks.run_playbook, playbooks.clean_run],
        max_concurrent_activities=MOST_PLAYBOOKS,
        **common,
    )
    return [control, node]


def _common(executor: ThreadPoolExecutor) -> dict[str, Any]:
    return {
        "activity_executor": executor,
        "graceful_shutdown_timeout": GRACEFUL,
        "max_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
        "default_heartbeat_throttle_interval": HEARTBEAT_THROTTLE,
    }


class GroupQueues:
    """The queues of the instance groups that this host is in. An administrator may change which ones while it runs."""

    def __init__(self, services: WorkerServices, executor: ThreadPoolExecutor) -> None:
        self._services = services
        self._executor = executor
        self._claims = Claims(services)
        self._serving: dict[str, tuple[Worker, asyncio.Task[None]]] = {}

    async def serve(self, names: Sequence[str]) -> None:
        """From now on the queues of these groups, and no others. Raises what ended a queue's worker meanwhile."""
        for name in self._serving.keys() - set(names):
            log.info("does not serve instance group %s any more", name)
            await self._end(name)
        for name in names:
            if name not in self._serving:
                worker = Worker(
                    self._services.client,
                    task_queue=group_queue(name),
                    activities=[self._claims.claim_run],
                    **_common(self._executor),
                )
                self._serving[name] = worker, asyncio.create_task(worker.run())
                log.info("serves instance group %s", name)
            elif (task := self._serving[name][1]).done():
                task.result()

    async def close(self) -> None:
        await asyncio.gather(*map(self._end, list(self._serving)))

    async def _end(self, name: str) -> None:
        worker, task = self._serving.pop(name)
        await worker.shutdown()
        await task


def group_names(settings: Settings) -> list[str]:
    return parts(settings.instance_groups)


class Instance:
    """This host's row in `instances`, kept alive while the worker lives."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._id = 0
        self._cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._memory = psutil.virtual_memory().total

    def register(self) -> None:
        with self._database.transaction() as session:
            self._id = instances.register(
                session,
                self._settings.node_name,
                group_names(self._settings),
                version=VERSION,
                ip_address=_own_address(),
                cpus=self._cpus,
                memory=self._memory,
                capacity=self._settings.capacity,
            )

    def beat(self) -> list[str]:
        """Say that this host is still there. Returns the groups that it is in."""
        with self._database.transaction() as session:
            there = instances.beat(session, self._id, self._cpus, self._memory, self._settings.capacity)
        if not there:
            self.register()  # somebody deleted it, but here we are
        return self.groups()

    def groups(self) -> list[str]:
        with self._database.transaction() as session:
            return instances.group_names(session, self._id)

    def leave(self) -> None:
        with self._database.transaction() as session:
            instances.leave(session, self._id)


def _own_address() -> str:
    """The address that this host would use to talk to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def end_stale_runs(services: WorkerServices) -> None:
    """End what still runs here for rows that have ended meanwhile (this host was given up for lost, or the workflow was
    terminated), and remove what such runs left."""
    runs = {run.run_id: run for run in services.run_host.runs()}
    copies = [path for path in checkouts(services).glob("*") if path.name.isdecimal()]
    ids = [int(run_id.removeprefix("job-")) for run_id in runs if run_id.startswith("job-")]
    ids += [int(path.name) for path in copies]
    with services.database.transaction() as session:
        active = select(UnifiedJob.id).where(UnifiedJob.id.in_(ids), UnifiedJob.status.in_(ACTIVE))
        live = {f"job-{run_id}" for run_id in session.scalars(active)}
    for run_id, run in runs.items():
        if run_id not in live:
            log.warning("run %s has ended in the database: ending it here", run_id)
            run.kill()
            services.run_host.cleanup(run_id)
    for path in copies:
        if f"job-{path.name}" not in live:
            shutil.rmtree(path, ignore_errors=True)


def forget_deleted_projects(services: WorkerServices) -> None:
    """A deleted project's repository and exports go from every host that has them."""
    cached = services.projects.project_ids()
    with services.database.transaction() as session:
        known = set(session.scalars(select(Project.id).where(Project.id.in_(cached))))
    for project_id in cached - known:
        log.info("project %s was deleted: forgetting it here", project_id)
        services.projects.remove(project_id)


async def keep_alive(instance: Instance, queues: GroupQueues) -> None:
    while True:
        await asyncio.sleep(INSTANCE_BEAT.total_seconds())
        try:
            groups = await asyncio.to_thread(instance.beat)
        except SQLAlchemyError as error:  # a database that is away, or a pool whose connections all wait for it
            log.warning("heartbeat of this instance not written: %s", error)
        else:
            await queues.serve(groups)


async def keep_tidy(services: WorkerServices) -> None:
    while True:
        await asyncio.sleep(TIDY_EVERY.total_seconds())
        try:
            await asyncio.to_thread(end_stale_runs, services)
            await asyncio.to_thread(forget_deleted_projects, services)
        except (SQLAlchemyError, OSError) as error:
            log.warning("did not tidy up: %s", error)


def ensure_demo_project(settings: Settings) -> None:
    """The files of the Demo Project are where a manual project's files are: on the hosts that run it."""
    root = settings.manual_projects_dir
    prepare_projects_root(root)
    target = root / DEMO_PROJECT_DIR
    if not target.exists():
        source = resources.files("activities") / DEMO_PROJECT_DIR
        try:
            with resources.as_file(source) as directory:
                shutil.copytree(directory, target)
        except OSError as error:  # a folder that is others' to fill, say: no reason not to run what is in it
            log.warning("the files of the Demo Project are not in %s: %s", root, error)


async def work(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    database = migrations.open_database(settings.database_url, settings.database_pool_size)
    instance = Instance(settings, database)
    try:
        client = await connect(settings)
        searchable = await ensure_search_attributes(client)
        services = build_services(settings, client, database, searchable=searchable)
        await asyncio.to_thread(instance.register)
        await asyncio.to_thread(ensure_demo_project, settings)
        await asyncio.to_thread(services.run_host.ensure_started)
        await asyncio.to_thread(end_stale_runs, services)
        await asyncio.to_thread(services.run_host.sweep, {run.run_id for run in services.run_host.runs()})
        stop = _stop_on_signals()
        with ThreadPoolExecutor(MOST_PLAYBOOKS + CONTROL_ACTIVITIES, "activity") as executor:
            async with AsyncExitStack() as stack:
                for worker in build_workers(services, executor):
                    await stack.enter_async_context(worker)
                queues = GroupQueues(services, executor)
                stack.push_async_callback(queues.close)
                await queues.serve(await asyncio.to_thread(instance.groups))
                await start_maintenance(client)
                log.info("ready: instance %s", settings.node_name)
                try:
                    await _until(stop, keep_alive(instance, queues), keep_tidy(services))
                finally:  # also when a chore has failed: a worker that hangs is not started anew
                    longest = LONGEST_STOP + (LONGEST_END if stop.runs_too else 0)
                    asyncio.get_running_loop().call_later(longest, _give_up)
                log.info("stopping")
                if stop.runs_too:
                    await end_runs(services, queues)
        await asyncio.to_thread(instance.leave)
    finally:
        database.dispose()


async def end_runs(services: WorkerServices, queues: GroupQueues) -> None:
    """Take no more runs, and end those there are: the jobs say why. Returns when nothing is left of them."""
    services.ending = True
    deadline = time.monotonic() + LONGEST_END
    await queues.close()
    while await asyncio.to_thread(services.run_host.runs):
        if time.monotonic() > deadline:
            log.warning("not all runs have ended after %s s", LONGEST_END)
            return
        await asyncio.sleep(0.1)


async def _until(stop: asyncio.Event, *chores: Coroutine[Any, Any, None]) -> None:
    """Do the chores until it is time to stop. Raises what ends a chore: a worker that looks well and is not would be
    worse than one that is started anew."""
    tasks = [asyncio.create_task(chore) for chore in chores]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in [stopping, *tasks]:
        task.cancel()
    await asyncio.wait([stopping, *tasks])
    for task in done - {stopping}:
        task.result()


def _give_up() -> None:
    """End at once. Something that cannot be finished (the database is away, say) is Temporal's to give to another
    worker; a worker that does not stop would be killed all the same, later and with less to say."""
    log.warning("not stopped in time: leaving what is under way to other workers")
    logging.shutdown()
    os._exit(1)


class Stop(asyncio.Event):
    """Set when it is time to stop."""

    runs_too = False

    def with_runs(self) -> None:
        self.runs_too = True
        self.set()


def _stop_on_signals() -> Stop:
    stop = Stop()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.with_runs)
    return stop


def run(settings: Settings) -> None:
    """Run the worker process to its end. Raises StartupError or Unavailable with a sentence for the operator."""
    asyncio.run(work(settings))


def main(_: Sequence[str] = ()) -> int:
    settings = get_settings()
    configure_logging(settings.log_level)
    try:
        run(settings)
    except (StartupError, Unavailable) as error:
        log.error("%s", error.message)
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    # The SDK's threads can abort the interpreter at its exit; everything is closed by now.
    os._exit(code)
