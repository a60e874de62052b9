"""The process settings: everything that comes from the environment (`FORGE_*`), read once.

Settings that an administrator changes while Forge runs live in the database (`models/settings.py`)."""

import os
import socket
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def parts(value: str) -> list[str]:
    """Of a comma-separated value."""
    return [part for part in (each.strip() for each in value.split(",")) if part]


def _some(value: str) -> str:
    if not parts(value):
        raise ValueError("it names nothing")
    return value


def _networks(value: str) -> str:
    # What is neither would be taken for a name, and match no proxy ever.
    for part in parts(value):
        if part != "*":
            ip_network(part)
    return value


LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]


def default_data_dir() -> Path:
    """`/var/lib/forge` for root, else `$XDG_DATA_HOME/forge` (`~/.local/share/forge`)."""
    if os.geteuid() == 0:
        return Path("/var/lib/forge")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "forge"


class Settings(BaseSettings):
    """Field `x` is read from the variable `FORGE_X`; `forge doctor` shows what is in force."""

    model_config = SettingsConfigDict(env_prefix="FORGE_", extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(default_factory=default_data_dir, description="Where Forge keeps everything it owns.")
    host: str = Field("127.0.0.1", description="Address the HTTP server listens on.")
    port: int = Field(8052, description="Port of the HTTP server.", ge=0, le=65535)
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "", description="Proxies whose X-Forwarded-For and -Proto count: addresses, CIDRs; * for all."
    )
    database_url: str | None = Field(None, description="An external PostgreSQL; without it `forge up` runs its own.")
    database_pool_size: int = Field(10, description="Connections kept per process; sized to its threads.", ge=1)
    postgres_port: int = Field(0, description="Port of the embedded PostgreSQL; 0 picks a free one.", ge=0, le=65535)
    temporal_address: str | None = Field(None, description="An external Temporal (host:port); without it, embedded.")
    temporal_namespace: str = Field("default", description="Temporal namespace.")
    temporal_tls: bool = Field(False, description="Use TLS to Temporal; implied by an API key or a client certificate.")
    temporal_tls_ca: Path | None = Field(None, description="CA certificate (PEM) that Temporal's is checked against.")
    temporal_tls_cert: Path | None = Field(None, description="Client certificate (PEM) for mutual TLS.")
    temporal_tls_key: Path | None = Field(None, description="Key (PEM) of the client certificate.")
    temporal_api_key: str | None = Field(None, description="API key, for Temporal Cloud.", repr=False)
    temporal_port: int = Field(0, description="Port of the embedded Temporal; 0 picks a free one.", ge=0, le=65535)
    temporal_ui_port: int = Field(0, description="Port of the embedded Temporal UI; 0 picks one.", ge=0, le=65535)
    temporal_ui_url: str | None = Field(None, description="Base URL of Temporal UI, which `forge up` tells.")
    secret_key: str | None = Field(None, description="Key for secrets at rest; else a key file.", repr=False)
    admin_password: str | None = Field(None, description="Password of the first admin; else generated.", repr=False)
    node_name: str = Field(
        default_factory=socket.gethostname, description="Name of this host as an instance.", max_length=250
    )
    instance_groups: Annotated[str, AfterValidator(_some)] = Field(
        "default", description="Groups this worker serves, comma-separated."
    )
    capacity: int = Field(0, description="Forks this worker may run at once; 0 computes it from CPU and memory.", ge=0)
    projects_root: Path | None = Field(None, description="Folder of manual projects; default <data_dir>/projects.")
    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def manual_projects_dir(self) -> Path:
        return self.projects_root or self.data_dir / "projects"


@cache
def get_settings() -> Settings:
    """The settings of this process. Tests build their own `Settings(...)` and pass it on."""
    return Settings()
