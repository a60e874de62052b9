"""`forge users`: what the API does too, for when nobody can sign in."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

import migrations
from cli.console import console, say
from cli.running import located_database
from core.errors import Conflict, Invalid, NotFound
from core.settings import Settings
from models import users
from models.users import User


@contextmanager
def _transaction(settings: Settings) -> Iterator[Session]:
    database = migrations.open_database(located_database(settings).database_url, pool_size=1)
    try:
        with database.transaction() as session:
            yield session
    finally:
        database.dispose()


def create(settings: Settings, username: str, password: str, *, superuser: bool, email: str) -> None:
    _require(password)
    if not username.strip() or len(username) > 150:
        raise Invalid("A user's name has 1 to 150 characters: choose another one.")
    if len(email) > 254:
        raise Invalid("An email address has up to 254 characters: give another one.")
    with _transaction(settings) as session:
        if users.find_user(session, username):
            raise Conflict(f"There is a user {username} already: choose another name.")
        users.create_user(session, username, password, is_superuser=superuser, email=email)
    say(f"Created {username}.")


def change_password(settings: Settings, username: str, password: str) -> None:
    _require(password)
    with _transaction(settings) as session:
        user = users.find_user(session, username)
        if user is None:
            raise NotFound(f"There is no user {username}: `forge users list` shows who there is.")
        user.password = users.hash_password(password)
        users.end_sessions(session, user.id)
    say(f"The password of {username} is set.")


def show(settings: Settings) -> None:
    table = Table("User", "Kind", "Active", "Email", "Last login")
    with _transaction(settings) as session:
        for user in session.scalars(select(User).order_by(User.username)):
            kind = "superuser" if user.is_superuser else "auditor" if user.is_system_auditor else "user"
            last_login = f"{user.last_login:%Y-%m-%d %H:%M}" if user.last_login else "never"
            table.add_row(user.username, kind, "yes" if user.is_active else "no", user.email, last_login)
    console.print(table)


def _require(password: str) -> None:
    if not password:
        raise Invalid("The password is empty: enter one, or give it on standard input.")
