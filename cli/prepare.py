"""Bring the database to this version and fill it for a first start. `forge up` does this in a process of its own, so
that the process that watches the others all day need not load the tables."""

import asyncio
import sys
from dataclasses import asdict
from datetime import timedelta

import orjson
from psycopg2 import errorcodes
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import migrations
from cli.console import say
from cli.prepared import Prepared
from core.crypto import Secrets
from core.db import Database
from core.errors import StartupError
from core.settings import Settings
from models.base import now
from models.bootstrap import DEMO_TEMPLATE, ensure_first_rows
from models.job_templates import JobTemplate
from models.jobs import Job
from models.master_key import note_key, open_secrets
from models.users import User, create_token

DEMO_TOKEN_AGE = timedelta(minutes=15)
REMEDIES = {  # by PostgreSQL's error code
    errorcodes.DISK_FULL: "Free some space on the disk of the database.",
    errorcodes.INSUFFICIENT_PRIVILEGE: "Let the user in FORGE_DATABASE_URL own the database.",
    errorcodes.LOCK_NOT_AVAILABLE: "Something uses the tables to be changed: stop the servers and workers, try again.",
    errorcodes.READ_ONLY_SQL_TRANSACTION: "Point FORGE_DATABASE_URL at the primary server, not at a replica.",
}


def prepare(settings: Settings, *, demo: bool = False) -> Prepared:
    """`settings.database_url` must answer, and Temporal if it is set. The demo is due at a first start, too.

    Raises StartupError."""
    if settings.temporal_address:
        asyncio.run(_prepare_temporal(settings))
    try:
        return _prepare_database(settings, settings.database_url or "", demo=demo)
    except DBAPIError as error:
        remedy = REMEDIES.get(getattr(error.orig, "pgcode", None) or "")
        if remedy is None:
            raise
        raise StartupError(f"PostgreSQL says: {str(error.orig).splitlines()[0]}. {remedy}") from error


async def _prepare_temporal(settings: Settings) -> None:
    from core.temporal import connect, ensure_search_attributes  # half a second that the embedded one does not need

    await ensure_search_attributes(await connect(settings))


def _prepare_database(settings: Settings, url: str, *, demo: bool) -> Prepared:
    migrations.upgrade(url)
    database = Database(url, pool_size=1)
    try:
        with database.transaction() as session:
            secrets = open_secrets(session, settings)
            note_key(session, secrets)
            first_start = session.scalar(select(User.id).limit(1)) is None
            password = ensure_first_rows(session, settings)
            token = _create_demo_token(session, secrets) if demo or first_start else None
            newest_job = session.scalar(select(func.max(Job.id)))
            revision = migrations.revision(session) or ""
            template = session.scalar(select(JobTemplate.id).where(JobTemplate.name == DEMO_TEMPLATE).limit(1))
    finally:
        database.dispose()
    return Prepared(revision, password, token, template, newest_job)


def _create_demo_token(session: Session, secrets: Secrets) -> str | None:
    """None if nobody may launch the demo."""
    admins = select(User.id).where(User.is_superuser, User.is_active).order_by(User.id)
    admin_id = session.scalar(admins.limit(1))
    if admin_id is None:
        return None
    expires = now() + DEMO_TOKEN_AGE
    _, token = create_token(session, secrets, admin_id, description="Demo of `forge up`", expires=expires)
    return token


def tell(prepared: Prepared) -> None:
    say(f"The database is at revision {prepared.revision}.")
    if prepared.admin_password:
        say(f"Created the user admin with the password {prepared.admin_password} (shown this once).")


def print_report(prepared: Prepared) -> None:
    # On standard output alone, never in a file: there are secrets in it.
    sys.stdout.buffer.write(orjson.dumps(asdict(prepared)))
