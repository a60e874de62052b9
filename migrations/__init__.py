"""The schema's history. `upgrade` brings a database to the newest revision; safe to call from several processes.

Revisions are numbered like their files: 0001, 0002, ... Alembic itself is imported only to migrate: a server or worker,
which merely checks, would carry 8 MB of it for nothing."""

from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from core.db import Database
from core.errors import StartupError

_HERE = Path(__file__).parent


def upgrade(database_url: str) -> None:
    """Migrate to head, unless a newer Forge has been here; a second process waits on an advisory lock and then finds
    nothing to do."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["url"] = database_url
    command.upgrade(config, "head")


def head() -> str:
    """The newest revision that this code knows."""
    return max(path.name[:4] for path in (_HERE / "versions").glob("[0-9]*.py"))


def revision(database: Connection | Session) -> str | None:
    """The one that the database is at; None before its first migration."""
    if not database.scalar(text("SELECT to_regclass('alembic_version')")):
        return None
    current: str | None = database.scalar(text("SELECT max(version_num) FROM alembic_version"))
    return current


def open_database(url: str | None, pool_size: int) -> Database:
    """A database that answers and has this code's schema. Raises StartupError."""
    if not url:
        raise StartupError("No database to use: set FORGE_DATABASE_URL (postgresql://...), or start `forge up`.")
    database = Database(url, pool_size)
    try:
        with database.transaction() as session:
            check(session)
    except OperationalError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[0]
        raise StartupError(f"Cannot use the database {shown} ({reason}): check FORGE_DATABASE_URL.") from error
    return database


def check(session: Session) -> None:
    """Raises StartupError when we may not read the schema, or it is older than this code. A newer one is fine: changes
    are additive first."""
    try:
        current = revision(session)
    except ProgrammingError as error:  # of a database that belongs to another user
        reason = str(error.orig).splitlines()[0]
        raise StartupError(
            f"PostgreSQL does not let us read the database ({reason}): let the user in FORGE_DATABASE_URL own it."
        ) from error
    if current is None or current < head():
        state = f"is at revision {current}" if current else "has no schema yet"
        raise StartupError(f"The database {state} and this Forge needs {head()}: run `forge migrate`.")
