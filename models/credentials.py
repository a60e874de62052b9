"""Credential types and credentials. A secret input is stored encrypted, bound to its credential and field."""

from typing import Any

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Json, Named, cascade, nullify

KINDS_FOR_JOBS = frozenset({"ssh", "vault", "cloud", "net", "kubernetes"})  # the others are for projects and the like


class CredentialType(Named):
    __tablename__ = "credential_types"
    __table_args__ = (UniqueConstraint("name", "kind"),)

    kind: Mapped[str] = mapped_column(String(32))
    namespace: Mapped[str | None] = mapped_column(String(1024), unique=True)
    managed: Mapped[bool] = mapped_column(default=False, server_default="false")
    inputs: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    injectors: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")


class Credential(Named):
    __tablename__ = "credentials"
    __table_args__ = (UniqueConstraint("organization_id", "name", "credential_type_id"),)

    organization_id: Mapped[int | None] = nullify("organizations.id")
    credential_type_id: Mapped[int] = cascade("credential_types.id")
    managed: Mapped[bool] = mapped_column(default=False, server_default="false")
    inputs: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
