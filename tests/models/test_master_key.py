"""Another key than the one that the database was created with is noticed."""

import pytest
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import StartupError
from models.master_key import check_master_key, note_master_key


def test_the_noted_key_is_right_and_another_is_refused(session: Session) -> None:
    note_master_key(session, Secrets("right"))

    check_master_key(session, Secrets("right"))
    with pytest.raises(StartupError, match="encrypted with another key: set FORGE_SECRET_KEY"):
        check_master_key(session, Secrets("wrong"))


def test_what_is_noted_stays(session: Session) -> None:
    note_master_key(session, Secrets("first"))
    note_master_key(session, Secrets("second"))

    check_master_key(session, Secrets("first"))


def test_before_the_first_start_any_key_will_do(session: Session) -> None:
    check_master_key(session, Secrets("any"))
