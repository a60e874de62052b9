"""What a line of the log says, without what is before it."""

import logging

import pytest

from core.logging import configure_logging, message_of


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> str:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging("INFO")
        logging.getLogger("forge.server").error("Port %d is taken: set FORGE_PORT.", 80)
        return capsys.readouterr().out.strip()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)


def test_the_message_of_a_line(logged: str) -> None:
    assert logged.endswith("Z ERROR   forge.server: Port 80 is taken: set FORGE_PORT.")
    assert message_of(logged) == "Port 80 is taken: set FORGE_PORT."


def test_of_a_foreign_line() -> None:
    assert message_of("OSError: [Errno 5] Input/output error") == "OSError: [Errno 5] Input/output error"
