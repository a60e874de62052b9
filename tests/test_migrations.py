"""Databases that are older or newer than this code."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

import migrations
from core.db import Database
from core.errors import StartupError


@pytest.fixture
def database(fresh_database_url: str) -> Iterator[Database]:
    """One at this code's revision."""
    database = Database(fresh_database_url, pool_size=1)
    yield database
    database.dispose()


def test_an_empty_one_is_refused_until_it_is_migrated(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    with database.transaction() as session, pytest.raises(StartupError, match=r"no schema yet .* run `forge migrate`"):
        migrations.check(session)

    migrations.upgrade(database.url)

    with database.transaction() as session:
        migrations.check(session)
        assert migrations.revision(session) == migrations.head()


def test_what_a_newer_forge_has_migrated_is_left_alone(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    migrations.upgrade(database.url)

    with database.transaction() as session:
        migrations.check(session)
        assert migrations.revision(session) == "9999"


def test_one_of_another_user_is_refused(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("SET LOCAL ROLE pg_monitor"))  # any that owns nothing here
        with pytest.raises(StartupError, match=r"permission denied .*: let the user in FORGE_DATABASE_URL own it"):
            migrations.check(session)
