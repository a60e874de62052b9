"""Another key than the one that the database was created with is noticed, and none is made in its place."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import StartupError
from core.settings import Settings
from models.master_key import note_key, noted_key, open_secrets


def test_the_noted_key_is_right_and_another_is_refused(session: Session) -> None:
    note_key(session, Secrets("right"))

    open_secrets(session, Settings(secret_key="right"))
    with pytest.raises(StartupError, match="encrypted with another key: set FORGE_SECRET_KEY"):
        open_secrets(session, Settings(secret_key="wrong"))


def test_what_is_noted_stays(session: Session) -> None:
    note_key(session, Secrets("first"))
    note_key(session, Secrets("second"))

    open_secrets(session, Settings(secret_key="first"))


def test_before_the_first_start_a_key_is_made(session: Session, tmp_path: Path) -> None:
    assert noted_key(session) is None

    made = open_secrets(session, Settings(data_dir=tmp_path))

    note_key(session, made)
    open_secrets(session, Settings(data_dir=tmp_path))


def test_a_host_without_the_key_is_refused_and_gets_no_other(session: Session, tmp_path: Path) -> None:
    note_key(session, Secrets("right"))

    with pytest.raises(StartupError, match=r"neither FORGE_SECRET_KEY nor a key file .*: give this host the key"):
        open_secrets(session, Settings(data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
