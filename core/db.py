"""Engine and sessions. One request or one activity is one `transaction()`: committed once, at its edge."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

# Names of constraints are fixed so that migrations can drop what they created and errors can be told apart by name.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


# How a connection learns that the other host is gone without a word (power, network): within some 20 s.
DEAD_PEER = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 20_000}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


class Database:
    """One per process. `pool_size` is the number of threads that may hold a session at once."""

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url.replace("postgresql://", "postgresql+psycopg2://", 1),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,  # a restarted PostgreSQL costs the next caller a reconnect, not an error
            hide_parameters=True,  # values, secret ones among them, must not get into logs with an error
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={"connect_timeout": 5, "application_name": "forge", **DEAD_PEER},
        )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed when the block ends and rolled back when it raises."""
        with self._sessions() as session, session.begin():
            yield session

    def dispose(self) -> None:
        self.engine.dispose()
