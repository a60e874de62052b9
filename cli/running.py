"""Where the database and Temporal are: as configured, else those of the `forge up` that runs on this data directory."""

import psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.embedded import postgres, temporal
from core.errors import StartupError, Unavailable
from core.settings import Settings

OLDEST_POSTGRES = 14


def located(settings: Settings) -> Settings:
    """Settings with a database that answers and the address of a Temporal; raises StartupError or Unavailable."""
    settings = located_database(settings)
    if settings.temporal_address:
        return settings
    address = temporal.running_address(settings.data_dir)
    if address is None:
        raise StartupError("No Temporal to connect to: set FORGE_TEMPORAL_ADDRESS (host:port), or start `forge up`.")
    return settings.model_copy(update={"temporal_address": address})


def located_database(settings: Settings) -> Settings:
    url = settings.database_url or postgres.running_url(settings.data_dir)
    if url is None:
        raise StartupError(
            "No database to connect to: set FORGE_DATABASE_URL (postgresql://user:password@host:port/name), "
            "or start `forge up`."
        )
    check_database(url)
    return settings.model_copy(update={"database_url": url})


def check_database(url: str) -> str:
    """Connect once; returns the server's version ("18.6")."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername != "postgresql" or not parsed.database:
        raise StartupError(
            "FORGE_DATABASE_URL is not of the form postgresql://user:password@host:port/name: correct it."
        )
    place = f"{parsed.host or 'localhost'}:{parsed.port or 5432}"
    try:
        connection = psycopg2.connect(url, connect_timeout=5)
    except psycopg2.Error as error:
        said = str(error).strip().splitlines() or ["no reason given"]
        raise Unavailable(
            f"PostgreSQL at {place} does not let us use database {parsed.database!r} ({said[0]}): "
            "check that it runs there, and FORGE_DATABASE_URL."
        ) from error
    try:
        version: int = connection.server_version
    finally:
        connection.close()
    shown = f"{version // 10000}.{version % 10000}"
    if version // 10000 < OLDEST_POSTGRES:
        raise StartupError(
            f"PostgreSQL at {place} is version {shown}, and Forge needs {OLDEST_POSTGRES} or newer: upgrade it, "
            "or set FORGE_DATABASE_URL to another server."
        )
    return shown
