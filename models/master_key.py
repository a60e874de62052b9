"""Which key the secrets in this database are encrypted with: noted at its first start, compared at every other. A
fingerprint tells it from another key and nothing else."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from core.crypto import Secrets
from core.errors import StartupError
from models.base import now
from models.settings import Setting

NOTED_AS = "MASTER_KEY_FINGERPRINT"  # among the settings, and none that anybody sees or sets


def check_master_key(session: Session, secrets: Secrets) -> None:
    """Raises StartupError when this is not the key that the database's secrets are encrypted with."""
    noted = session.scalar(select(Setting.value).where(Setting.key == NOTED_AS))
    if noted is not None and noted != secrets.fingerprint(NOTED_AS):
        raise StartupError(
            "The secrets in the database are encrypted with another key: set FORGE_SECRET_KEY, or put back the key "
            "file (secret_key in the data directory), as it was when the database was created."
        )


def note_master_key(session: Session, secrets: Secrets) -> None:
    """For those who come later; what is noted stays."""
    values = {"key": NOTED_AS, "value": secrets.fingerprint(NOTED_AS), "modified": now()}
    session.execute(upsert(Setting).values(values).on_conflict_do_nothing(index_elements=["key"]))
