"""A socket, or one sentence."""

import socket

import pytest

from core.errors import StartupError
from core.listening import listen


def test_a_free_port_is_found() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(StartupError, match=f"Port {port} is taken: end what uses it, or set FORGE_PORT"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "127..0.1"])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(StartupError, match=rf"Cannot listen on {host} \([\w ]+\): set FORGE_HOST to an address of"):
        listen(host, 0)
