"""OAuth2 applications: the clients that tokens may belong to."""

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Named, cascade


class OAuth2Application(Named):
    __tablename__ = "oauth2_applications"
    __table_args__ = (UniqueConstraint("name", "organization_id"),)

    organization_id: Mapped[int] = cascade("organizations.id")
    client_id: Mapped[str] = mapped_column(String(100), unique=True)
    client_secret_hash: Mapped[str] = mapped_column(String(64), default="")
    client_type: Mapped[str] = mapped_column(String(32))
    authorization_grant_type: Mapped[str] = mapped_column(String(32))
    redirect_uris: Mapped[str] = mapped_column(Text, default="", server_default="")
    skip_authorization: Mapped[bool] = mapped_column(default=False, server_default="false")
