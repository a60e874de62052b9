"""What `forge doctor` finds, and how it says so."""

import socket
from pathlib import Path

import pytest
from cli_process import forge


def test_all_is_well(data_dir: Path, fresh_database_url: str, temporal_address: str) -> None:
    done = forge(
        "doctor", data_dir=data_dir, FORGE_DATABASE_URL=fresh_database_url, FORGE_TEMPORAL_ADDRESS=temporal_address
    )

    assert done.returncode == 0, done.stdout
    assert "Nothing is broken" in done.stdout
    assert "external, version 18" in done.stdout


def test_before_the_first_start(tmp_path: Path) -> None:
    done = forge("doctor", data_dir=tmp_path / "new")

    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "new").exists()


def test_no_such_namespace(data_dir: Path, fresh_database_url: str, temporal_address: str) -> None:
    done = forge(
        "doctor",
        data_dir=data_dir,
        FORGE_DATABASE_URL=fresh_database_url,
        FORGE_TEMPORAL_ADDRESS=temporal_address,
        FORGE_TEMPORAL_NAMESPACE="nowhere",
    )

    assert done.returncode == 1
    assert "has no namespace 'nowhere'" in done.stdout


def test_another_key(data_dir: Path, fresh_database_url: str) -> None:
    settings = {"FORGE_DATABASE_URL": fresh_database_url, "FORGE_SECRET_KEY": "first"}
    assert forge("migrate", data_dir=data_dir, **settings).returncode == 0
    assert "the one that the database was created with" in forge("doctor", data_dir=data_dir, **settings).stdout
    settings["FORGE_SECRET_KEY"] = "second"

    for command in ("migrate", "doctor"):
        done = forge(command, data_dir=data_dir, **settings)

        assert done.returncode == 1
        assert "encrypted with another key" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_host_that_was_not_given_the_key(data_dir: Path, fresh_database_url: str) -> None:
    created = forge(
        "migrate", data_dir=data_dir, FORGE_DATABASE_URL=fresh_database_url, FORGE_SECRET_KEY="of the database"
    )
    assert created.returncode == 0, created.stderr

    done = forge("doctor", data_dir=data_dir, FORGE_DATABASE_URL=fresh_database_url)

    assert done.returncode == 1
    assert "Give this host the key that the database was created with." in done.stdout
    assert not (data_dir / "secret_key").exists()


def test_a_data_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = forge("doctor", data_dir=tmp_path / "file")

    assert done.returncode == 1
    assert done.stdout.count(f"{tmp_path}/file") == 1
    assert "is not a directory" in done.stdout


def test_somebody_elses_directory_is_not_to_be_closed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)

    done = forge("doctor", data_dir=tmp_path)

    assert done.returncode == 1
    assert "holds files that are not Forge's" in done.stdout
    assert "chmod" not in done.stdout
    assert "1 of " in done.stdout


@pytest.mark.parametrize(
    "variable", ["FORGE_PORT", "FORGE_POSTGRES_PORT", "FORGE_TEMPORAL_PORT", "FORGE_TEMPORAL_UI_PORT"]
)
def test_a_taken_port(data_dir: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        done = forge("doctor", data_dir=data_dir, **{variable: str(taken)})

    assert done.returncode == 1
    assert f"Port {taken} is taken" in done.stdout
    assert f"End what uses it, or set {variable} to another port." in done.stdout


def test_a_projects_root_that_is_no_directory(data_dir: Path) -> None:
    done = forge("doctor", data_dir=data_dir, FORGE_PROJECTS_ROOT="/dev/null")

    assert done.returncode == 1
    assert "/dev/null is not a directory" in done.stdout


def test_nothing_is_cut_off(data_dir: Path) -> None:
    data_dir.chmod(0o755)

    done = forge("doctor", data_dir=data_dir, COLUMNS="40")

    assert f"chmod go-rwx {data_dir}" in done.stdout


def test_each_finding_has_its_remedy(data_dir: Path, postgres_url: str) -> None:
    data_dir.chmod(0o755)

    done = forge(
        "doctor",
        data_dir=data_dir,
        PATH="/nonexistent",
        FORGE_DATABASE_URL=postgres_url.rsplit("/", 1)[0] + "/postgres",
        FORGE_TEMPORAL_ADDRESS="127.0.0.1:1",
    )

    assert done.returncode == 1
    for remedy in (
        "chmod go-rwx",
        "Run `forge migrate`",
        "Check that it runs and can be reached from here",
        "Install git",
        "Install an OpenSSH",
    ):
        assert remedy in done.stdout
