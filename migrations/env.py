"""Alembic's entry: one transaction, one migrating process at a time, and never a long wait for a lock."""

from alembic import context
from sqlalchemy import create_engine, text

import models  # noqa: F401  fills Base.metadata
from core.db import Base
from migrations import head, revision

MIGRATION_LOCK = 0x466F7267  # "Forg"


def include_name(name: str | None, type_: str, _parents: object) -> bool:
    # Daily partitions of job_events come and go at run time; they are not part of the schema's history.
    return not (type_ == "table" and name is not None and name.startswith("job_events_"))


def run() -> None:
    url = context.config.attributes["url"].replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = create_engine(url, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            # A migration that cannot get its lock quickly must fail rather than queue every request behind it.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            # Alembic cannot place a revision that it has no file of; and what a newer Forge made is fine for this one.
            if (revision(connection) or "") > head():
                return
            context.configure(connection=connection, target_metadata=Base.metadata, include_name=include_name)
            context.run_migrations()
    finally:
        engine.dispose()


run()
