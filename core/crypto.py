"""Secrets at rest: AES-256-GCM under a key derived from the installation's secret, bound to a context.

The context (table, row and field, say) is authenticated with the value, so that a ciphertext copied into another
field does not decrypt there."""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import DecryptionError, StartupError

PREFIX = "$forge$1$"  # marks an encrypted value and the scheme it was made with
KEY_FILE = "secret_key"  # in the data directory
MASK = "$encrypted$"  # what the API shows in place of a secret, and takes back as "unchanged"


class Secrets:
    """Encrypts, decrypts and fingerprints with one master key."""

    def __init__(self, master: str) -> None:
        root = hashlib.sha256(b"forge-master:" + master.encode()).digest()
        self._aead = AESGCM(hmac.digest(root, b"encrypt", "sha256"))
        self._mac_key = hmac.digest(root, b"fingerprint", "sha256")

    def encrypt(self, value: str, context: str) -> str:
        nonce = os.urandom(12)
        sealed = self._aead.encrypt(nonce, value.encode(), context.encode())
        return PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode()

    def decrypt(self, value: str, context: str) -> str:
        """Raises DecryptionError for what was made with another key or for another place."""
        if not value.startswith(PREFIX):
            raise DecryptionError(f"The secret {context} cannot be read: it is not an encrypted value.")
        try:
            raw = base64.urlsafe_b64decode(value[len(PREFIX) :])
            return self._aead.decrypt(raw[:12], raw[12:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise DecryptionError(
                f"The secret {context} cannot be read: it was encrypted with another key. Start Forge with the "
                "FORGE_SECRET_KEY, or the key file (secret_key in the data directory), that it had then."
            ) from error

    def fingerprint(self, value: str) -> str:
        """A keyed hash: for looking up tokens and session keys without storing them."""
        return hmac.new(self._mac_key, value.encode(), "sha256").hexdigest()


def is_encrypted(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def load_master_key(data_dir: Path, secret_key: str | None, *, create: bool = True) -> str:
    """`FORGE_SECRET_KEY` if given, else the key file in the data dir, made on first use with mode 600.

    Without `create` there must be one of them. Raises StartupError."""
    if secret_key:
        return secret_key
    path = data_dir / KEY_FILE
    try:
        if create and not path.exists():
            _create_key_file(path)
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise StartupError(
            f"There is neither FORGE_SECRET_KEY nor a key file {path}, and the database has secrets: "
            "give this host the key that the database was created with."
        ) from error
    except OSError as error:
        raise StartupError(
            f"Cannot use the key file {path} ({error.strerror}): correct that, or set FORGE_SECRET_KEY."
        ) from error
    except UnicodeDecodeError:
        key = ""
    if not key:
        raise StartupError(f"The key file {path} is empty or damaged: put back your copy, or set FORGE_SECRET_KEY.")
    return key


def _create_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{KEY_FILE}.{os.getpid()}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(fd)  # what is encrypted with it is on disk soon, too
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(fresh, path)  # atomic
    finally:
        fresh.unlink(missing_ok=True)
