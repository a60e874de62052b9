"""Passwords, sessions, tokens and the brake on guessing, on a real database."""

import time
from datetime import timedelta

import pytest
from argon2 import extract_parameters
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import TooManyRequests
from models.base import now
from models.users import (
    FAILURES_PER_ADDRESS,
    FAILURES_PER_USER,
    HASH_OF_NOBODY,
    LoginFailures,
    OAuth2Token,
    User,
    UserSession,
    check_password,
    count_login_failures,
    create_session,
    create_token,
    create_user,
    end_session,
    end_sessions,
    find_session,
    find_token,
    forget_login_failures,
    hash_password,
    record_login_failure,
)

SECRETS = Secrets("a secret of the tests")
AGE = timedelta(minutes=30)


@pytest.fixture
def user(session: Session) -> User:
    return create_user(session, "ada", "lovelace")


def sessions_of(session: Session, user: User) -> list[UserSession]:
    session.expire_all()
    return list(session.scalars(select(UserSession).where(UserSession.user_id == user.id)))


def open_session(session: Session, user: User) -> str:
    return create_session(session, SECRETS, user.id, age=AGE, ip="192.0.2.1", user_agent="Firefox")


class TestPasswords:
    def test_right_one_is_accepted_and_stored_as_argon2(self, user: User) -> None:
        assert check_password(user, "lovelace")
        assert user.password.startswith("$argon2id$")

    @pytest.mark.parametrize("password", ["", "Lovelace", "lovelace ", "x" * 10_000])
    def test_wrong_one_is_refused(self, user: User, password: str) -> None:
        assert not check_password(user, password)

    def test_inactive_user_is_refused(self, user: User) -> None:
        user.is_active = False

        assert not check_password(user, "lovelace")

    def test_user_without_password_cannot_sign_in(self, session: Session) -> None:
        user = create_user(session, "robot", "")

        assert not check_password(user, "")

    def test_unknown_user_costs_as_much_as_a_known_one(self, user: User) -> None:
        assert extract_parameters(HASH_OF_NOBODY) == extract_parameters(hash_password("x"))
        known, unknown = (min(cost(candidate) for _ in range(5)) for candidate in (user, None))

        assert unknown == pytest.approx(known, rel=0.5)


def cost(user: User | None) -> float:
    """CPU seconds of this thread: what a busy machine does besides does not count."""
    began = time.thread_time()
    check_password(user, "wrong")
    return time.thread_time() - began


class TestSessions:
    def test_is_found_by_its_key_which_is_not_stored(self, session: Session, user: User) -> None:
        key = open_session(session, user)

        found = find_session(session, SECRETS, key, age=AGE)

        assert found is not None
        row, owner = found
        assert owner.username == "ada"
        assert key not in (row.key_hash, row.user_agent)
        assert find_session(session, SECRETS, row.key_hash, age=AGE) is None

    def test_slides_while_it_is_used(self, session: Session, user: User) -> None:
        key = open_session(session, user)
        session.execute(update(UserSession).values(expires=now() + timedelta(minutes=5)))

        find_session(session, SECRETS, key, age=AGE)

        [row] = sessions_of(session, user)
        assert row.expires > now() + timedelta(minutes=29)

    def test_use_in_quick_succession_writes_nothing(self, session: Session, user: User) -> None:
        key = open_session(session, user)
        [before] = [row.modified for row in sessions_of(session, user)]

        find_session(session, SECRETS, key, age=AGE)

        assert [row.modified for row in sessions_of(session, user)] == [before]

    def test_expired_one_is_gone(self, session: Session, user: User) -> None:
        key = open_session(session, user)
        session.execute(update(UserSession).values(expires=now() - timedelta(seconds=1)))

        assert find_session(session, SECRETS, key, age=AGE) is None
        open_session(session, user)
        assert len(sessions_of(session, user)) == 1

    def test_ended_one_is_gone(self, session: Session, user: User) -> None:
        key = open_session(session, user)

        end_session(session, SECRETS, key)

        assert find_session(session, SECRETS, key, age=AGE) is None

    def test_all_but_one_are_ended_at_once(self, session: Session, user: User) -> None:
        here, elsewhere = open_session(session, user), open_session(session, user)
        found = find_session(session, SECRETS, here, age=AGE)
        assert found is not None

        end_sessions(session, user.id, keep=found[0].id)

        assert find_session(session, SECRETS, here, age=AGE)
        assert not find_session(session, SECRETS, elsewhere, age=AGE)
        end_sessions(session, user.id)
        assert not find_session(session, SECRETS, here, age=AGE)

    def test_of_a_disabled_user_counts_no_more(self, session: Session, user: User) -> None:
        key = open_session(session, user)
        user.is_active = False
        session.flush()

        assert find_session(session, SECRETS, key, age=AGE) is None


class TestTokens:
    def test_is_found_and_marked_as_used_without_being_modified(self, session: Session, user: User) -> None:
        row, token = create_token(session, SECRETS, user.id, description="ci", expires=now() + AGE)
        modified = row.modified

        found = find_token(session, SECRETS, token)

        assert found is not None
        assert found[1].id == user.id
        session.refresh(row)
        assert row.last_used is not None
        assert row.modified == modified
        assert token not in row.token_hash

    def test_unknown_or_expired_one_is_not_found(self, session: Session, user: User) -> None:
        _, token = create_token(session, SECRETS, user.id, expires=now() - timedelta(seconds=1))

        assert find_token(session, SECRETS, token) is None
        assert find_token(session, SECRETS, "nonsense") is None

    def test_goes_with_its_user(self, session: Session, user: User) -> None:
        create_token(session, SECRETS, user.id, expires=now() + AGE)

        session.delete(user)
        session.flush()

        assert session.scalar(select(OAuth2Token.id).where(OAuth2Token.user_id == user.id)) is None


class TestBrake:
    def fail(self, session: Session, times: int, username: str = "ada", ip: str = "192.0.2.1") -> None:
        for _ in range(times):
            record_login_failure(session, SECRETS, username, ip)

    def test_blocks_one_name_from_one_address(self, session: Session) -> None:
        self.fail(session, FAILURES_PER_USER - 1)
        assert count_login_failures(session, SECRETS, "ada", "192.0.2.1") == FAILURES_PER_USER - 1
        self.fail(session, 1)

        with pytest.raises(TooManyRequests) as blocked:
            count_login_failures(session, SECRETS, "ada", "192.0.2.1")

        assert 290 < blocked.value.retry_after <= 300
        assert count_login_failures(session, SECRETS, "ada", "192.0.2.2") == 0
        assert count_login_failures(session, SECRETS, "bob", "192.0.2.1") == 0

    def test_blocks_an_address_that_tries_many_names(self, session: Session) -> None:
        for number in range(FAILURES_PER_ADDRESS):
            self.fail(session, 1, f"user{number}")

        with pytest.raises(TooManyRequests):
            count_login_failures(session, SECRETS, "somebody", "192.0.2.1")

    def test_success_forgets_the_name_but_not_the_address(self, session: Session) -> None:
        self.fail(session, FAILURES_PER_ADDRESS, "ada")
        forget_login_failures(session, SECRETS, "ada", "192.0.2.1")

        with pytest.raises(TooManyRequests):
            count_login_failures(session, SECRETS, "ada", "192.0.2.1")

    def test_the_window_ends_and_its_rows_go(self, session: Session) -> None:
        self.fail(session, FAILURES_PER_USER)
        session.execute(update(LoginFailures).values(window_ends=now() - timedelta(seconds=1)))

        assert count_login_failures(session, SECRETS, "ada", "192.0.2.1") == 0
        self.fail(session, 1, "bob", "192.0.2.9")
        old = select(func.count()).select_from(LoginFailures).where(LoginFailures.window_ends < now())
        assert session.scalar(old) == 0
