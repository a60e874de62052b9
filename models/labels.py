"""Labels: free words on templates, jobs and inventories."""

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from models.base import Named, cascade


class Label(Named):
    __tablename__ = "labels"
    __table_args__ = (UniqueConstraint("name", "organization_id"),)

    organization_id: Mapped[int] = cascade("organizations.id")
