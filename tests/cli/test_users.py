"""`forge users` on a real database."""

from pathlib import Path

import pytest
from cli_process import forge

from migrations import head


def test_a_users_life(data_dir: Path, fresh_database_url: str) -> None:
    def users(*arguments: str, stdin: str = "") -> tuple[int, str]:
        done = forge("users", *arguments, data_dir=data_dir, stdin=stdin, FORGE_DATABASE_URL=fresh_database_url)
        return done.returncode, done.stdout + done.stderr

    assert users("create", "ada", "--superuser", "--email", "ada@example.org", stdin="engine\n")[0] == 0
    assert users("create", "ada", stdin="again\n") == (
        1,
        "forge: There is a user ada already: choose another name.\n",
    )
    assert users("set-password", "ada", stdin="other\n") == (0, "The password of ada is set.\n")
    code, listed = users("list")

    assert code == 0
    assert "ada@example.org" in listed
    assert "superuser" in listed


def test_before_the_database_is_migrated(data_dir: Path, postgres_url: str) -> None:
    done = forge("users", "list", data_dir=data_dir, FORGE_DATABASE_URL=postgres_url.rsplit("/", 1)[0] + "/postgres")

    assert done.returncode == 1
    assert done.stderr == f"forge: The database has no schema yet and this Forge needs {head()}: run `forge migrate`.\n"


def test_an_unknown_user(data_dir: Path, fresh_database_url: str) -> None:
    done = forge("users", "set-password", "bob", data_dir=data_dir, stdin="x\n", FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert "There is no user bob" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([" "], "A user's name has 1 to 150 characters"),
        (["x" * 151], "A user's name has 1 to 150 characters"),
        (["bob", "--email", "x" * 255], "An email address has up to 254 characters"),
    ],
)
def test_what_does_not_fit(data_dir: Path, fresh_database_url: str, arguments: list[str], sentence: str) -> None:
    done = forge("users", "create", *arguments, data_dir=data_dir, stdin="x\n", FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert done.stderr.startswith(f"forge: {sentence}")


def test_an_empty_password(data_dir: Path, fresh_database_url: str) -> None:
    done = forge("users", "create", "bob", data_dir=data_dir, stdin="\n", FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert "The password is empty" in done.stderr
