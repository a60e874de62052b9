"""Users, their browser sessions and their OAuth2 tokens. Keys and tokens are stored as keyed hashes only."""

import secrets as random
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import String, Text, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.crypto import Secrets
from core.errors import TooManyRequests
from models.base import Base, Record, Timestamp, cascade, now, nullify


class User(Record):
    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(150), unique=True)
    first_name: Mapped[str] = mapped_column(String(150), default="", server_default="")
    last_name: Mapped[str] = mapped_column(String(150), default="", server_default="")
    email: Mapped[str] = mapped_column(String(254), default="", server_default="")
    is_superuser: Mapped[bool] = mapped_column(default=False, server_default="false")
    is_system_auditor: Mapped[bool] = mapped_column(default=False, server_default="false")
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    password: Mapped[str] = mapped_column(Text, default="", server_default="")  # argon2 hash; "" = cannot sign in
    last_login: Mapped[datetime | None] = mapped_column(Timestamp)


class UserSession(Record):
    """A signed-in browser. `key_hash` is the fingerprint of the cookie; it slides forward while it is used."""

    __tablename__ = "user_sessions"

    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = cascade("users.id")
    expires: Mapped[datetime] = mapped_column(Timestamp, index=True)
    ip: Mapped[str] = mapped_column(String(45), default="")
    user_agent: Mapped[str] = mapped_column(String(512), default="")


class OAuth2Token(Record):
    __tablename__ = "oauth2_tokens"

    user_id: Mapped[int] = cascade("users.id")
    application_id: Mapped[int | None] = nullify("oauth2_applications.id")
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    scope: Mapped[str] = mapped_column(String(32), default="write", server_default="write")
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    refresh_token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    expires: Mapped[datetime] = mapped_column(Timestamp, index=True)
    last_used: Mapped[datetime | None] = mapped_column(Timestamp)


class LoginFailures(Base):
    """Failed sign-ins in a window of time, per user name and address and per address. A crash may forget them."""

    __tablename__ = "login_failures"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(default=1)
    window_ends: Mapped[datetime] = mapped_column(Timestamp)


# 30 to 50 ms and 19 MB per hash: OWASP's second choice for argon2id, so that a few at once fit into a small server.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Of a password that nobody knows, made with the same parameters: what an unknown user's password is compared with.
HASH_OF_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$G2xhvfLuhXOoRaaLyGpzpA$zfUXTvMBWQbRLgCxLSq+uSGzmfutI3xw851s7knqtjY"

LOGIN_WINDOW = timedelta(minutes=5)
FAILURES_PER_USER = 10  # of one user name from one address, within the window
FAILURES_PER_ADDRESS = 100  # of any user name
TOUCH_EVERY = timedelta(minutes=1)  # reading must not mean writing: `last_used` and `expires` are this coarse


# Asked with every request, so they are put together only once.
_LIVE_SESSION = (
    select(UserSession, User)
    .join(User, User.id == UserSession.user_id)
    .where(UserSession.key_hash == bindparam("hash"), UserSession.expires > bindparam("moment"), User.is_active)
)
_LIVE_TOKEN = (
    select(OAuth2Token, User)
    .join(User, User.id == OAuth2Token.user_id)
    .where(OAuth2Token.token_hash == bindparam("hash"), OAuth2Token.expires > bindparam("moment"), User.is_active)
)


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def check_password(user: User | None, password: str) -> bool:
    """Takes the same time for a wrong password, an unknown user, a disabled one and one without a password."""
    stored = user.password if user is not None and user.is_active else ""
    try:
        _hasher.verify(stored or HASH_OF_NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(stored)


def create_user(session: Session, username: str, password: str, *, is_superuser: bool = False, email: str = "") -> User:
    """An empty password makes a user who cannot sign in with one."""
    user = User(
        username=username,
        password=hash_password(password) if password else "",
        is_superuser=is_superuser,
        email=email,
    )
    session.add(user)
    session.flush()
    return user


def end_sessions(session: Session, user_id: int, *, keep: int | None = None) -> None:
    """Sign the user out of all browsers, but for the session with the id `keep`: after a change of password."""
    session.execute(delete(UserSession).where(UserSession.user_id == user_id, UserSession.id.is_distinct_from(keep)))


def find_user(session: Session, username: str) -> User | None:
    return session.scalar(select(User).where(User.username == username))


def count_login_failures(session: Session, secrets: Secrets, username: str, ip: str) -> int:
    """Failures of this name from this address in the window. Raises TooManyRequests, whether or not the user exists."""
    by_user, by_address = _user_key(secrets, username, ip), _address_key(secrets, ip)
    limits = {by_user: FAILURES_PER_USER, by_address: FAILURES_PER_ADDRESS}
    moment = now()
    rows = session.scalars(
        select(LoginFailures).where(LoginFailures.key_hash.in_(limits), LoginFailures.window_ends > moment)
    ).all()
    blocked_until = [row.window_ends for row in rows if row.failures >= limits[row.key_hash]]
    if blocked_until:
        wait = max(1, round((max(blocked_until) - moment).total_seconds()))
        raise TooManyRequests(f"Too many failed logins. Try again in {wait} seconds.", retry_after=wait)
    return sum(row.failures for row in rows if row.key_hash == by_user)


def record_login_failure(session: Session, secrets: Secrets, username: str, ip: str) -> None:
    moment = now()
    old = select(LoginFailures.key_hash).where(LoginFailures.window_ends < moment).with_for_update(skip_locked=True)
    session.execute(delete(LoginFailures).where(LoginFailures.key_hash.in_(old)))
    for key in (_user_key(secrets, username, ip), _address_key(secrets, ip)):
        session.execute(
            upsert(LoginFailures)
            .values(key_hash=key, failures=1, window_ends=moment + LOGIN_WINDOW)
            .on_conflict_do_update(index_elements=["key_hash"], set_={"failures": LoginFailures.failures + 1})
        )


def forget_login_failures(session: Session, secrets: Secrets, username: str, ip: str) -> None:
    """After a success. The count of the address stays: owning one account must not help in guessing others."""
    session.execute(delete(LoginFailures).where(LoginFailures.key_hash == _user_key(secrets, username, ip)))


def _user_key(secrets: Secrets, username: str, ip: str) -> str:
    return secrets.fingerprint(f"login:{ip}:{username}")


def _address_key(secrets: Secrets, ip: str) -> str:
    return secrets.fingerprint(f"login:{ip}")


def create_session(
    session: Session, secrets: Secrets, user_id: int, *, age: timedelta, ip: str, user_agent: str
) -> str:
    """Sign a user in; returns the key for the cookie. What of theirs has expired goes."""
    moment = now()
    session.execute(delete(UserSession).where(UserSession.user_id == user_id, UserSession.expires < moment))
    session.execute(update(User).where(User.id == user_id).values(last_login=moment))
    key = random.token_urlsafe(32)
    session.add(
        UserSession(
            key_hash=secrets.fingerprint(key),
            user_id=user_id,
            expires=moment + age,
            ip=ip[:45],
            user_agent=user_agent[:512],
        )
    )
    return key


def find_session(session: Session, secrets: Secrets, key: str, *, age: timedelta) -> tuple[UserSession, User] | None:
    """The live session with this key and its active user. It then lives for another `age`."""
    moment = now()
    found = session.execute(_LIVE_SESSION, {"hash": secrets.fingerprint(key), "moment": moment}).one_or_none()
    if found is None:
        return None
    row, user = found
    if abs(moment + age - row.expires) >= min(TOUCH_EVERY, age / 10):
        session.execute(update(UserSession).where(UserSession.id == row.id).values(expires=moment + age))
    return row, user


def end_session(session: Session, secrets: Secrets, key: str) -> None:
    session.execute(delete(UserSession).where(UserSession.key_hash == secrets.fingerprint(key)))


def create_token(
    session: Session,
    secrets: Secrets,
    user_id: int,
    *,
    scope: str = "write",
    description: str = "",
    expires: datetime,
) -> tuple[OAuth2Token, str]:
    """Returns the row and the token itself, which is stored nowhere."""
    token = random.token_urlsafe(32)
    row = OAuth2Token(
        user_id=user_id,
        description=description,
        scope=scope,
        token_hash=secrets.fingerprint(token),
        expires=expires,
    )
    session.add(row)
    session.flush()
    return row, token


def find_token(session: Session, secrets: Secrets, token: str) -> tuple[OAuth2Token, User] | None:
    """The unexpired token and its active user."""
    moment = now()
    found = session.execute(_LIVE_TOKEN, {"hash": secrets.fingerprint(token), "moment": moment}).one_or_none()
    if found is None:
        return None
    row, user = found
    if row.last_used is None or moment - row.last_used > TOUCH_EVERY:
        # Not through the object: using a token is no modification of it.
        session.execute(
            update(OAuth2Token).where(OAuth2Token.id == row.id).values(last_used=moment, modified=OAuth2Token.modified)
        )
    return row, user
