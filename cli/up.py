"""`forge up` and `forge demo`: everything on one machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
from rich.markup import escape

from cli.app import PREFIX
from cli.console import say, step, warn
from cli.demo import Api, DemoResult, run_demo_job
from cli.prepared import Prepared
from cli.running import check_database
from cli.stack import PythonService, Stack
from core.datadir import lock_data_dir, prepare_data_dir, prepare_projects_root
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.processes import choose_port
from core.embedded.temporal import EmbeddedTemporal
from core.errors import ForgeError, StartupError, Unavailable
from core.listening import listen
from core.logging import message_of
from core.settings import Settings
from core.version import VERSION

HEALTH_SECONDS = 60
TEND_SECONDS = 0.25
INTERRUPTED = 130  # the exit code that shells know for it


@dataclass(frozen=True)
class Running:
    """What runs now, as a person wants to know it."""

    url: str
    temporal_ui_url: str | None
    admin_password: str | None
    demo_token: str | None
    demo_template: int | None
    newest_job: int | None


def serve(settings: Settings, *, demo: bool) -> int:
    """Until Ctrl-C or SIGTERM, which is the normal end once everything runs; returns the exit code."""
    serving = False
    try:
        with _stack(settings) as stack:
            running = _start(settings, stack, demo=demo)
            result = _run_demo(running, stack)
            serving = True
            _tell(settings, running, result)
            while True:
                time.sleep(TEND_SECONDS)
                stack.tend()
    except KeyboardInterrupt:
        return 0 if serving else INTERRUPTED


def run_demo(settings: Settings) -> int:
    """Returns the exit code: 0 if the job was successful."""
    try:
        with _stack(settings) as stack:
            running = _start(settings, stack, demo=True)
            result = _run_demo(running, stack)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0 if result and result.successful else 1


@contextmanager
def _stack(settings: Settings) -> Iterator[Stack]:
    """The data directory is ours and the processes run; afterwards nothing of it is left running."""
    data_dir = settings.data_dir
    prepare_data_dir(data_dir)
    with lock_data_dir(data_dir):
        prepare_projects_root(settings.manual_projects_dir)  # else the worker would be restarted again and again
        stack = Stack(data_dir)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, _interrupt)
        try:
            yield stack
        finally:
            stack.stop()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _start(settings: Settings, stack: Stack, *, demo: bool) -> Running:
    data_dir = settings.data_dir
    port = _server_port(settings)
    env = {"FORGE_DATA_DIR": str(data_dir.absolute()), "FORGE_HOST": settings.host, "FORGE_PORT": str(port)}
    if settings.database_url:
        check_database(settings.database_url)
        env["FORGE_DATABASE_URL"] = settings.database_url
    else:
        with step("Starting PostgreSQL"):
            postgres = EmbeddedPostgres(data_dir, settings.postgres_port)
            stack.start(postgres)
            env["FORGE_DATABASE_URL"] = postgres.url

    with step("Preparing the database"), _preparing(env, demo=demo) as preparing:
        ui_url = settings.temporal_ui_url
        if settings.temporal_address:
            env["FORGE_TEMPORAL_ADDRESS"] = settings.temporal_address
        else:
            temporal = EmbeddedTemporal(
                data_dir, settings.temporal_port, settings.temporal_ui_port, settings.temporal_namespace
            )
            stack.start(temporal)
            env["FORGE_TEMPORAL_ADDRESS"] = temporal.address
            ui_url = ui_url or temporal.ui_url
        if ui_url:
            env["FORGE_TEMPORAL_UI_URL"] = ui_url
        prepared = _finish_preparing(preparing, data_dir / "logs" / "migrate.log")
    if prepared.admin_password:  # said at once: whatever happens next, nothing but its hash is left of it
        say(f"The admin's password is [bold]{escape(prepared.admin_password)}[/] (user admin; shown this once)")

    url = f"http://{_visible_host(settings.host)}:{port}"
    with step("Starting worker and server"):
        worker, server = (PythonService(name, data_dir, env) for name in ("worker", "server"))
        stack.start(worker)
        stack.start(server)
        _wait_until_healthy(url, (worker, server))
    return Running(
        url, ui_url, prepared.admin_password, prepared.demo_token, prepared.demo_template, prepared.newest_job
    )


def _server_port(settings: Settings) -> int:
    port = settings.port or choose_port(settings.data_dir / "run" / "port", 0, "FORGE_PORT")
    listen(settings.host, port).close()  # what the server could not do is said before anything is started
    return port


def _visible_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextmanager
def _preparing(env: dict[str, str], *, demo: bool) -> Iterator[subprocess.Popen[str]]:
    """`forge migrate` in a process of its own: it loads all tables, and we stay small for as long as we serve."""
    command = [sys.executable, "-P", "-m", "cli", "migrate", "--report", *(["--demo"] if demo else [])]
    with subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _finish_preparing(process: subprocess.Popen[str], log: Path) -> Prepared:
    output, complaint = process.communicate()
    if process.returncode == 0:
        return Prepared(**json.loads(output))
    if complaint.startswith(PREFIX):
        raise StartupError(complaint.removeprefix(PREFIX).strip())
    log.write_text(complaint)
    raise StartupError(f"The database could not be prepared: {complaint.strip().splitlines()[-1]} (see {log}).")


def _wait_until_healthy(url: str, services: tuple[PythonService, ...]) -> None:
    api = Api(url)
    deadline = time.monotonic() + HEALTH_SECONDS
    while True:
        for service in services:
            if service.child and not service.child.running:
                said = message_of(service.child.last_words()).removesuffix(".")
                raise StartupError(f"The {service.name} ended at once: {said} (see {service.child.log}).")
        try:
            api.get("/api/v2/ping/")
            return
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise StartupError(f"The server does not become healthy: {error.message}") from error
            time.sleep(0.05)


def _run_demo(running: Running, stack: Stack) -> DemoResult | None:
    """None if it is not due. That the demo does not work is no reason not to serve."""
    if running.demo_token is None:
        return None
    say("\n[bold]Demo Job Template[/], launched over the REST API:")
    try:
        result = run_demo_job(Api(running.url, running.demo_token), meanwhile=stack.tend)
    except ForgeError as error:
        warn(f"The demo could not be run. {error.message}")
        return None
    style = "green" if result.successful else "red"
    say(f"[{style}]Job {result.job_id} ended {result.status}.[/] {escape(result.explanation)}")
    if result.first_line_at:
        say(f"The first line of its output came {result.first_line_at - _started_at():.1f} s after the start.")
    return result


def _started_at() -> float:
    """When `make` was started, or this process; seconds of wall clock."""
    with contextlib.suppress(ValueError):
        return float(os.environ.get("FORGE_STARTED_AT", ""))
    return psutil.Process().create_time()


def _tell(settings: Settings, running: Running, result: DemoResult | None) -> None:
    """Where everything is, and what to do next."""
    say(f"\n[bold]Forge {VERSION} serves.[/]\n")
    say(f"  API          {running.url}/api/v2/")
    say(f"  API docs     {running.url}/api/docs")
    if running.temporal_ui_url:
        say(f"  Temporal UI  {running.temporal_ui_url}")
    say(f"  Data, logs   {escape(str(settings.data_dir))}")
    say(f"  Sign in      {running.url}/api/login/ as admin; forge users set-password admin sets another password")
    say("\nWhat next")
    for line in _what_next(settings, running, result.job_id if result else running.newest_job):
        say(f"  {escape(line)}")
    say("\nCtrl-C stops everything.")


def _what_next(settings: Settings, running: Running, job: int | None) -> Iterator[str]:
    """Three lines to paste into a shell: look around, launch, read output. Where we know no password, curl asks."""
    login = "admin"
    if running.admin_password:
        login = f"admin:{running.admin_password}"
    elif settings.admin_password:
        login = '"admin:$FORGE_ADMIN_PASSWORD"'
    curl, api = f"curl -u {login}", f"{running.url}/api/v2"
    yield f"{curl} '{api}/job_templates/'"
    if running.demo_template:
        yield f"{curl} -X POST '{api}/job_templates/{running.demo_template}/launch/'"
    else:
        yield f"{curl} '{api}/projects/'"
    yield f"{curl} '{api}/jobs/{job}/stdout/?format=txt'" if job else f"{curl} '{api}/jobs/'"
