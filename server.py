"""The HTTP process: builds the application and serves it until it is told to stop; drives workflows meanwhile."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import uvicorn
import uvloop
from temporalio.client import Client

import migrations
from activities.services import ControlServices
from api.app import create_app
from api.runs import Runs
from api.services import Services
from core.db import Database
from core.errors import StartupError, Unavailable
from core.listening import listen
from core.logging import configure_logging
from core.settings import Settings, get_settings
from core.temporal import connect, ensure_search_attributes
from models.master_key import open_secrets
from workflows.serving import control_worker

logger = logging.getLogger("forge.server")

GRACE_SECONDS = 10  # that open requests get to finish
DECIDERS = 2  # transactions of workflows at once: one decides, the next one is ready
GRACEFUL = timedelta(seconds=5)  # for short transactions to end
LONGEST_STOP = 8  # seconds for the worker to stop, GRACEFUL included


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Main thread only. Raises StartupError."""
    database = migrations.open_database(settings.database_url, settings.database_pool_size)
    listener = listen(settings.host, settings.port)  # before the rest starts: a taken port is one clear sentence
    try:
        uvloop.run(_serve(settings, database, listener))
    finally:
        listener.close()
        database.dispose()


async def _serve(settings: Settings, database: Database, listener: socket.socket) -> None:
    with database.transaction() as session:
        secrets = open_secrets(session, settings)
    try:
        temporal = await connect(settings)
        searchable = await ensure_search_attributes(temporal)
    except Unavailable as error:
        raise StartupError(error.message) from error
    runs = Runs(temporal, asyncio.get_running_loop(), searchable=searchable)
    services = Services(settings=settings, database=database, secrets=secrets, runs=runs)
    config = uvicorn.Config(
        create_app(services),
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # api.middleware writes the line
        server_header=False,
        proxy_headers=False,  # api.app trusts the configured proxies only
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    async with _driving(database.url, temporal, searchable=searchable):
        # uvicorn stops on these signals, and when it has stopped raises them again for whoever had a handler before.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        host, port = listener.getsockname()[:2]
        logger.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        await uvicorn.Server(config).serve(sockets=[listener])
    logger.info("stopped")
    # What is left are threads that wait for a database which may not answer.
    asyncio.get_running_loop().call_later(LONGEST_STOP, os._exit, 0)


@asynccontextmanager
async def _driving(database_url: str, client: Client, *, searchable: bool) -> AsyncIterator[None]:
    """Drive workflows meanwhile. What ends that early must not end the server: workers drive them, too."""
    # Of its own, so that no request waits for a connection because these wait for their turn to decide.
    database = Database(database_url, DECIDERS)
    services = ControlServices(database=database, client=client, searchable=searchable)
    worker = control_worker(services, graceful_shutdown_timeout=GRACEFUL, max_concurrent_local_activities=DECIDERS)
    driving = asyncio.create_task(worker.run())
    driving.add_done_callback(_say_why)
    try:
        yield
    finally:
        stopping = asyncio.create_task(worker.shutdown())
        await asyncio.wait([driving, stopping], timeout=LONGEST_STOP)  # if Temporal is away, say
        database.dispose()


def _say_why(driving: asyncio.Task[None]) -> None:
    if not driving.cancelled() and (error := driving.exception()):
        logger.error("this server does not drive workflows any more: %s", error)


def main() -> int:
    settings = get_settings()
    configure_logging(settings.log_level)
    try:
        serve(settings)
    except StartupError as error:
        logger.error("%s", error.message)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # The threads of Temporal's SDK can abort the interpreter at its exit; everything is closed by now.
    os._exit(code)
