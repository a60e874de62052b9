"""The command line: quick, and one clear sentence when something is wrong."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import forge

from core.version import VERSION


def test_help_names_the_commands(tmp_path: Path) -> None:
    shown = forge("--help", data_dir=tmp_path).stdout

    for name in ("up", "demo", "server", "worker", "migrate", "doctor", "users", "docs/operating.md"):
        assert name in shown


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, cli.app; print(*{'sqlalchemy', 'temporalio', 'pydantic', 'fastapi'} & sys.modules.keys())"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"


def test_version(tmp_path: Path) -> None:
    assert forge("version", data_dir=tmp_path).stdout == f"forge {VERSION}\n"


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"FORGE_PORT": "many"}, "FORGE_PORT is 'many' (input should be a valid integer"),
        ({"FORGE_DATABASE_POOL_SIZE": "-1"}, "FORGE_DATABASE_POOL_SIZE is '-1' (input should be greater than"),
        ({"FORGE_LOG_LEVEL": "loud"}, "(input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'): correct or unset it."),
        ({"FORGE_INSTANCE_GROUPS": " ,"}, "FORGE_INSTANCE_GROUPS is ' ,' (it names nothing): correct or unset it."),
        ({"FORGE_TRUSTED_PROXIES": "10.0.0.1, proxy"}, "('proxy' does not appear to be an IPv4 or IPv6 network)"),
        ({"FORGE_DATA_DIR": "~no-such-user/forge"}, "home directory that the data directory is to be in is unknown"),
        ({"FORGE_HOST": "192.0.2.1"}, "Cannot listen on 192.0.2.1 (Cannot assign requested address): set FORGE_HOST"),
        ({"FORGE_DATA_DIR": "/proc/forge"}, "/proc/forge"),
        ({"FORGE_PROJECTS_ROOT": "/dev/null"}, "Cannot use /dev/null (not a directory): set FORGE_PROJECTS_ROOT"),
        ({"FORGE_DATABASE_URL": "mysql://localhost/forge"}, "FORGE_DATABASE_URL is not of the form postgresql://"),
        ({"FORGE_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/f"}, "PostgreSQL at 127.0.0.1:1 does not let us"),
    ],
)
def test_up_refuses_what_cannot_work(data_dir: Path, settings: dict[str, str], sentence: str) -> None:
    refused = forge("up", data_dir=data_dir, **{"FORGE_DATA_DIR": str(data_dir), **settings})

    assert_one_sentence(refused, sentence)
    assert "secret" not in refused.stderr


def test_up_refuses_a_taken_port(data_dir: Path, taken_port: str) -> None:
    refused = forge("up", data_dir=data_dir, FORGE_PORT=taken_port)

    assert_one_sentence(refused, f"Port {taken_port} is taken: end what uses it, or set FORGE_PORT")


def test_up_refuses_a_silent_temporal(data_dir: Path, postgres_url: str) -> None:
    refused = forge("up", data_dir=data_dir, FORGE_DATABASE_URL=postgres_url, FORGE_TEMPORAL_ADDRESS="127.0.0.1:1")

    assert_one_sentence(refused, "Temporal does not answer at 127.0.0.1:1")


@pytest.mark.parametrize("command", ["migrate", "server", "worker"])
def test_a_part_alone_needs_a_database(data_dir: Path, command: str) -> None:
    assert_one_sentence(forge(command, data_dir=data_dir), "No database to connect to: set FORGE_DATABASE_URL")


def test_a_part_alone_needs_a_temporal(data_dir: Path, postgres_url: str) -> None:
    refused = forge("worker", data_dir=data_dir, FORGE_DATABASE_URL=postgres_url)

    assert_one_sentence(refused, "No Temporal to connect to: set FORGE_TEMPORAL_ADDRESS")


def assert_one_sentence(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("forge: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
