"""Which key the secrets in this database are encrypted with: noted at its first start, compared at every other. A
fingerprint tells it from another key and nothing else."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from core.crypto import Secrets, load_master_key
from core.errors import StartupError
from core.settings import Settings
from models.base import now
from models.settings import Setting

NOTED_AS = "MASTER_KEY_FINGERPRINT"  # among the settings, and none that anybody sees or sets


def open_secrets(session: Session, settings: Settings) -> Secrets:
    """The secrets of this database, with the key that the settings name. A key file is made only for a database that
    knows no key yet. Raises StartupError when there is no key, or another than the database's."""
    noted = noted_key(session)
    secrets = Secrets(load_master_key(settings.data_dir, settings.secret_key, create=noted is None))
    if noted is not None and noted != secrets.fingerprint(NOTED_AS):
        raise StartupError(
            "The secrets in the database are encrypted with another key: set FORGE_SECRET_KEY, or put back the key "
            "file (secret_key in the data directory), as it was when the database was created."
        )
    return secrets


def noted_key(session: Session) -> str | None:
    """The fingerprint of the database's key; None before its first start."""
    return session.scalar(select(Setting.value).where(Setting.key == NOTED_AS))


def note_key(session: Session, secrets: Secrets) -> None:
    """For those who come later; what is noted stays."""
    values = {"key": NOTED_AS, "value": secrets.fingerprint(NOTED_AS), "modified": now()}
    session.execute(upsert(Setting).values(values).on_conflict_do_nothing(index_elements=["key"]))
