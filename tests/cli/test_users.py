"""`forge users` on a real database."""

from pathlib import Path

from cli_process import forge


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


def test_an_unknown_user(data_dir: Path, fresh_database_url: str) -> None:
    done = forge("users", "set-password", "bob", data_dir=data_dir, stdin="x\n", FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert "There is no user bob" in done.stderr


def test_an_empty_password(data_dir: Path, fresh_database_url: str) -> None:
    done = forge("users", "create", "bob", data_dir=data_dir, stdin="\n", FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert "The password is empty" in done.stderr
