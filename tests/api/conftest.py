"""A real server on a real socket, on this worker's database; what a test creates there stays, so it picks new names."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import count
from typing import cast

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.call import Call
from api.runs import Runs
from api.services import Services
from core.crypto import Secrets
from core.db import Database
from core.settings import Settings
from models.base import now
from models.environments import ExecutionEnvironment
from models.managed_credential_types import upsert_managed_types
from models.users import User, create_token, create_user
from tests.api.world import World

_numbers = count(1)


class RecordedRuns:
    """In place of Temporal: notes what would have been started and cancelled, once it was committed."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.canceled: list[tuple[str, int]] = []

    def start(self, call: Call, run_id: int) -> None:
        call.after_commit(lambda: self.started.append(run_id))

    def cancel(self, call: Call, kind: str, run_id: int) -> None:
        call.after_commit(lambda: self.canceled.append((kind, run_id)))


@pytest.fixture(scope="session")
def runs() -> RecordedRuns:
    return RecordedRuns()


@pytest.fixture(scope="session")
def services(database: Database, runs: RecordedRuns, tmp_path_factory: pytest.TempPathFactory) -> Services:
    data_dir = tmp_path_factory.mktemp("forge")
    return Services(
        settings=Settings(data_dir=data_dir, node_name="node1"),
        database=database,
        secrets=Secrets("a secret of the tests"),
        runs=cast(Runs, runs),
    )


@contextmanager
def _serve(app: FastAPI) -> Iterator[str]:
    config = uvicorn.Config(
        app, port=0, http="httptools", ws="none", log_config=None, access_log=False, proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def serving() -> Callable[[FastAPI], AbstractContextManager[str]]:
    """`with serving(app) as url`: an application in a thread of this process, on a free port."""
    return _serve


@pytest.fixture(scope="session")
def api_url(services: Services) -> Iterator[str]:
    with _serve(create_app(services)) as url:
        yield url


@pytest.fixture
def make_user(database: Database) -> Callable[..., User]:
    """`make_user(is_superuser=True, password=...)`: committed, with a new name; cannot sign in without a password."""

    def make(password: str = "", **over: object) -> User:
        with database.transaction() as session:
            user = create_user(session, f"caller-{next(_numbers)}", password)
            for name, value in over.items():
                setattr(user, name, value)
        return user

    return make


@pytest.fixture
def make_client(api_url: str, services: Services) -> Iterator[Callable[..., httpx.Client]]:
    """`make_client(user, scope=...)`: a client with the user's token, or without any credentials."""
    clients: list[httpx.Client] = []

    def make(user: User | None = None, scope: str = "write") -> httpx.Client:
        client = httpx.Client(base_url=api_url, timeout=30)
        clients.append(client)
        if user is not None:
            with services.database.transaction() as session:
                expires = now() + timedelta(hours=1)
                _, token = create_token(session, services.secrets, user.id, scope=scope, expires=expires)
            client.headers["Authorization"] = f"Bearer {token}"
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def anonymous(make_client: Callable[..., httpx.Client]) -> httpx.Client:
    return make_client()


@pytest.fixture
def admin(make_client: Callable[..., httpx.Client], make_user: Callable[..., User]) -> httpx.Client:
    """A superuser's client."""
    return make_client(make_user(is_superuser=True))


@pytest.fixture(scope="session")
def world(services: Services, api_url: str) -> Iterator[World]:
    """What tests of resources work with; the credential types and the environment that come with Forge are there."""
    with services.database.transaction() as session:
        upsert_managed_types(session)
        session.add(ExecutionEnvironment(name="Default execution environment", image="local", managed=True))
    world = World(services, api_url)
    yield world
    world.close()
