"""What most tables share: ids, timestamps, names and who made them."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, ForeignKey, String, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from core.db import Base

__all__ = ["Base", "Json", "Named", "Record", "Timestamp", "cascade", "now", "nullify"]

Timestamp = DateTime(timezone=True)
Json = JSONB(none_as_null=True)


def now() -> datetime:
    return datetime.now(UTC)


def cascade(target: str, *, index: bool = True) -> Mapped[int]:
    """A required owner: the row goes with it."""
    return mapped_column(ForeignKey(target, ondelete="CASCADE"), index=index)


def nullify(target: str, *, index: bool = True, use_alter: bool = False) -> Mapped[int | None]:
    """An optional reference: the row outlives its target. `use_alter` breaks a circle between two tables."""
    return mapped_column(ForeignKey(target, ondelete="SET NULL", use_alter=use_alter), index=index, nullable=True)


class Record(Base):
    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime] = mapped_column(Timestamp, default=now, server_default=func.now())
    modified: Mapped[datetime] = mapped_column(Timestamp, default=now, onupdate=now, server_default=func.now())


class Named(Record):
    __abstract__ = True

    name: Mapped[str] = mapped_column(String(512))
    description: Mapped[str] = mapped_column(Text, default="", server_default="")

    @declared_attr
    def created_by_id(cls) -> Mapped[int | None]:
        return nullify("users.id", index=False)

    @declared_attr
    def modified_by_id(cls) -> Mapped[int | None]:
        return nullify("users.id", index=False)
