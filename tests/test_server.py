"""The server as a process: what stops it from starting, and how it stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cli.prepare import prepare
from core.errors import StartupError
from core.settings import Settings
from server import serve

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str, temporal_address: str) -> MakeSettings:
    """`settings(port=...)`: right ones, but for what the test states."""

    def make(**over: object) -> Settings:
        right = {"data_dir": tmp_path, "database_url": postgres_url, "temporal_address": temporal_address, "port": 0}
        return Settings(**(right | over))

    return make


class TestStartupErrors:
    @pytest.fixture
    def taken_port(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as other:
            yield other.getsockname()[1]

    def test_taken_port(self, settings: MakeSettings, taken_port: int) -> None:
        with pytest.raises(StartupError, match=f"Port {taken_port} is taken: .* FORGE_PORT"):
            serve(settings(port=taken_port))

    def test_foreign_address(self, settings: MakeSettings) -> None:
        with pytest.raises(StartupError, match=r"Cannot listen on 192\.0\.2\.1 \(.*\): .* FORGE_HOST"):
            serve(settings(host="192.0.2.1"))

    def test_no_database(self, settings: MakeSettings) -> None:
        with pytest.raises(StartupError, match="FORGE_DATABASE_URL"):
            serve(settings(database_url=None))

    def test_unreachable_database_keeps_its_password(self, settings: MakeSettings) -> None:
        with pytest.raises(StartupError, match="FORGE_DATABASE_URL") as refused:
            serve(settings(database_url="postgresql://forge:hunter2@127.0.0.1:1/forge"))

        assert "127.0.0.1:1/forge" in refused.value.message
        assert "hunter2" not in refused.value.message

    def test_database_without_a_schema(self, settings: MakeSettings, postgres_url: str) -> None:
        with pytest.raises(StartupError, match="forge migrate"):
            serve(settings(database_url=postgres_url.rpartition("/")[0] + "/postgres"))

    def test_another_key_than_the_databases(self, settings: MakeSettings, fresh_database_url: str) -> None:
        url = fresh_database_url
        prepare(settings(database_url=url, secret_key="first", temporal_address=None))

        with pytest.raises(StartupError, match="encrypted with another key: set FORGE_SECRET_KEY"):
            serve(settings(database_url=url, secret_key="second"))

    def test_unreachable_temporal(self, settings: MakeSettings) -> None:
        with pytest.raises(StartupError, match=r"Temporal does not answer at 127\.0\.0\.1:1"):
            serve(settings(temporal_address="127.0.0.1:1"))

    def test_a_process_says_so_and_exits_with_1(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "server"],
            env={"PATH": os.environ["PATH"], "FORGE_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.returncode == 1
        assert "FORGE_DATABASE_URL" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr


class TestStop:
    @pytest.fixture
    def process(self, settings: MakeSettings) -> Iterator[subprocess.Popen[str]]:
        right = settings()
        env = {
            "PATH": os.environ["PATH"],
            "FORGE_DATA_DIR": str(right.data_dir),
            "FORGE_DATABASE_URL": str(right.database_url),
            "FORGE_TEMPORAL_ADDRESS": str(right.temporal_address),
            "FORGE_PORT": "0",
        }
        command = [sys.executable, "-m", "server"]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
            yield process
            process.kill()

    def url(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        for line in process.stdout:
            if " serving on " in line:
                return line.split()[-1]
        pytest.fail("the server did not start")

    def test_open_requests_are_finished_first(self, process: subprocess.Popen[str]) -> None:
        url = httpx.URL(self.url(process))
        body = b'{"username": "nobody", "password": "wrong"}'
        head = f"POST /api/login/ HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((url.host, url.port), timeout=10) as client:
            client.sendall(head.encode() + body[:10])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            client.sendall(body[10:])
            answer = client.recv(65536)

        assert answer.startswith(b"HTTP/1.1 415 ")
        assert process.wait(15) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)

    def test_idle_connections_do_not_hold_it(self, process: subprocess.Popen[str]) -> None:
        with httpx.Client(base_url=self.url(process)) as client:
            client.get("/api/")
            began = time.monotonic()

            process.send_signal(signal.SIGINT)

            assert process.wait(15) == 0
            assert time.monotonic() - began < 5
