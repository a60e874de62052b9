"""Which databases will do."""

import pytest

from cli import running
from core.errors import StartupError


def test_one_that_answers(postgres_url: str) -> None:
    assert running.check_database(postgres_url).startswith("18.")


def test_one_that_is_too_old(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "OLDEST_POSTGRES", 99)

    with pytest.raises(StartupError, match=r"is version 18\.\d+, and Forge needs 99 or newer: upgrade it"):
        running.check_database(postgres_url)


@pytest.mark.parametrize("url", ["forge", "mysql://host/forge", "postgresql://host:port/forge", "postgresql://host"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(StartupError, match="is not of the form postgresql://"):
        running.check_database(url)
