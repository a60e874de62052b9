"""The real servers that tests share: one PostgreSQL and one Temporal per run, one database per xdist worker.

With xdist the controller starts them, because it outlives all workers, and tells the workers where they are; without,
the first test that asks does. They end with the process that started them, however that ends."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.orm import Session
from temporalio.client import Client

import migrations
from core.datadir import prepare_data_dir
from core.db import Database
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.temporal import EmbeddedTemporal
from core.settings import Settings
from core.temporal import connect, ensure_search_attributes

TEMPLATE = "forge_template"
TEMPLATE_LOCK = 4711


class Servers:
    """Started on first use."""

    def __init__(self) -> None:
        self._data_dir: Path | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._temporal: EmbeddedTemporal | None = None

    @property
    def data_dir(self) -> Path:
        if self._data_dir is None:
            self._data_dir = make_data_dir()
        return self._data_dir

    @property
    def postgres_url(self) -> str:
        if self._postgres is None:
            self._postgres = EmbeddedPostgres(self.data_dir)
            self._postgres.start()
            relax_durability(self._postgres.url)
        return self._postgres.url

    @property
    def temporal_address(self) -> str:
        if self._temporal is None:
            self._temporal = EmbeddedTemporal(self.data_dir)
            self._temporal.start()
        return self._temporal.address

    def stop(self) -> None:
        for server in (self._temporal, self._postgres):
            if server:
                server.stop()
        if self._data_dir:
            shutil.rmtree(self._data_dir)


class RemoteServers:
    """What the xdist controller started."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.postgres_url: str = told["forge_postgres_url"]
        self.temporal_address: str = told["forge_temporal_address"]


def make_data_dir() -> Path:
    """Not below pytest's own directory: that is closed to the unprivileged user that PostgreSQL runs as for root."""
    data_dir = Path(tempfile.mkdtemp(prefix="forge-test-"))
    prepare_data_dir(data_dir)
    return data_dir


SERVERS = pytest.StashKey[Servers | RemoteServers]()


def pytest_configure(config: pytest.Config) -> None:
    told = getattr(config, "workerinput", None)
    config.stash[SERVERS] = RemoteServers(told) if told is not None else Servers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    servers = node.config.stash[SERVERS]
    node.workerinput["forge_postgres_url"] = servers.postgres_url
    node.workerinput["forge_temporal_address"] = servers.temporal_address


def pytest_unconfigure(config: pytest.Config) -> None:
    servers = config.stash[SERVERS]
    if isinstance(servers, Servers):
        servers.stop()


def relax_durability(url: str) -> None:
    """Tests need no data after a power failure; without waiting for the disk they are faster."""
    run_sql(
        url,
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET synchronous_commit = off",
        "SELECT pg_reload_conf()",
    )


def run_sql(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def sibling(url: str, database: str) -> str:
    return f"{url.rsplit('/', 1)[0]}/{database}"


@pytest.fixture(scope="session")
def clone_database(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """`clone_database(name)` makes a database migrated to head and returns its URL."""
    server_url = pytestconfig.stash[SERVERS].postgres_url

    def clone(name: str) -> str:
        connection = psycopg2.connect(server_url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                # The template is made by the first; nobody may be connected to it while it is copied.
                cursor.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {TEMPLATE}_new")
                    migrations.upgrade(sibling(server_url, f"{TEMPLATE}_new"))
                    cursor.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")
                cursor.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        finally:
            connection.close()
        return sibling(server_url, name)

    return clone


@pytest.fixture(scope="session")
def postgres_url(clone_database: Callable[[str], str], worker_id: str) -> str:
    """This worker's database, migrated to head. What a test commits there stays for the following ones."""
    return clone_database(f"test_{worker_id}")


@pytest.fixture(scope="session")
def database(postgres_url: str) -> Iterator[Database]:
    """For tests of code that commits by itself: give what you create names of its own."""
    database = Database(postgres_url)
    yield database
    database.dispose()


@pytest.fixture
def fresh_database_url(clone_database: Callable[[str], str], postgres_url: str) -> Iterator[str]:
    """A database of this test alone, for tests that count rows or start processes."""
    url = clone_database(f"{postgres_url.rsplit('/', 1)[1]}_fresh")
    yield url
    run_sql(postgres_url, f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")


@pytest.fixture(scope="module")
def own_database(clone_database: Callable[[str], str], postgres_url: str) -> Iterator[Database]:
    """A database of one module's own, where nobody else has committed anything: for tests of what looks at all rows.
    `database`, and with it `session`, can be overridden with it."""
    url = clone_database(f"{postgres_url.rsplit('/', 1)[1]}_own")
    database = Database(url)
    yield database
    database.dispose()
    run_sql(postgres_url, f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """Everything is rolled back at the end, also what the test commits: a commit only ends a savepoint."""
    with database.engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        outer.rollback()


@pytest.fixture(scope="session")
def new_data_dir() -> Iterator[Callable[[], Path]]:
    """`new_data_dir()` makes one more data directory; all of them go at the end."""
    made: list[Path] = []

    def make() -> Path:
        made.append(make_data_dir())
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data_dir(new_data_dir: Callable[[], Path]) -> Path:
    """A data directory of this test alone."""
    return new_data_dir()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for all async tests and fixtures of this worker."""
    return "asyncio"


@pytest.fixture(scope="session")
def temporal_address(pytestconfig: pytest.Config) -> str:
    """A Temporal with Forge's search attributes. Shared: give workflows and queues names of their own."""
    address = pytestconfig.stash[SERVERS].temporal_address

    async def prepare() -> None:
        await ensure_search_attributes(await connect(Settings(), address))

    asyncio.run(prepare())
    return address


@pytest.fixture(scope="session")
async def temporal_client(temporal_address: str, anyio_backend: str) -> Client:
    return await connect(Settings(), temporal_address)
