"""Where the HTTP server listens, and what to say when it cannot."""

import errno
import os
import socket

from core.errors import StartupError

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises StartupError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError as error:  # a name that is none, such as 10..0.1
        raise StartupError(_no_place(host, "not an address")) from error
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                what = f"Port {port} is taken: end what uses it, or set FORGE_PORT to another port."
            case errno.EACCES:
                what = f"This user may not listen on port {port}: set FORGE_PORT to one above 1023."
            case _ if isinstance(error, socket.gaierror):
                what = _no_place(host, error.strerror)
            case number:
                what = _no_place(host, os.strerror(number or 0))  # without the address that `create_server` adds
        raise StartupError(what) from error


def _no_place(host: str, reason: str | None) -> str:
    return f"Cannot listen on {host} ({reason}): set FORGE_HOST to an address of this machine."
