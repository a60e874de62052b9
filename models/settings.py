"""Settings that an administrator changes while Forge runs: stored per key, defaults declared here."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, Text, func, literal, literal_column, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Json, Timestamp, now


class Setting(Base):
    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[Any] = mapped_column(Json, nullable=True)
    modified: Mapped[datetime] = mapped_column(Timestamp, default=now, onupdate=now, server_default=func.now())


# Only what something reads is declared: a setting that is stored and ignored would be a lie.
DEFAULTS: dict[str, Any] = {
    "INSTALL_UUID": "",
    "SESSION_COOKIE_AGE": 1800,  # seconds without a request after which a session ends
    "AUTH_BASIC_ENABLED": True,
    "LOCAL_PASSWORD_MIN_LENGTH": 0,
    "OAUTH2_ACCESS_TOKEN_EXPIRE_SECONDS": 31_536_000_000,
    "DEFAULT_JOB_TIMEOUT": 0,  # seconds; 0 = none
    "DEFAULT_JOB_IDLE_TIMEOUT": 0,
    "DEFAULT_PROJECT_UPDATE_TIMEOUT": 0,
    "MAX_FORKS": 200,
    "STDOUT_MAX_BYTES_DISPLAY": 1_048_576,
    "EVENT_STDOUT_MAX_BYTES_DISPLAY": 1024,
    "AWX_TASK_ENV": {},
}


def setting_text(key: str) -> ColumnElement[str]:
    """SQL: what `get_setting` returns, as text; for a statement that is made once and executed for years."""
    value = Setting.__table__.alias().c
    stored = select(value.value.op("#>>", return_type=Text())(literal_column("'{}'"))).where(value.key == key)
    return func.coalesce(stored.scalar_subquery(), literal(str(DEFAULTS[key])))


def get_setting(session: Session, key: str) -> Any:
    """The stored value or the declared default; KeyError for a key nobody declared."""
    default = DEFAULTS[key]
    stored = session.execute(select(Setting.value).where(Setting.key == key)).one_or_none()
    return default if stored is None else stored[0]
