"""Execution environments: the images that runs may be isolated in."""

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Named, nullify


class ExecutionEnvironment(Named):
    __tablename__ = "execution_environments"
    __table_args__ = (UniqueConstraint("name"),)

    organization_id: Mapped[int | None] = nullify("organizations.id")
    image: Mapped[str] = mapped_column(String(1024))
    credential_id: Mapped[int | None] = nullify("credentials.id", use_alter=True)
    pull: Mapped[str] = mapped_column(String(16), default="", server_default="")
    managed: Mapped[bool] = mapped_column(default=False, server_default="false")
