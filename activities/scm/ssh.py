"""How git's ssh signs in: with the credential's key only, never asking, never as the user who runs the worker."""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from activities.scm.errors import ScmError, ScmReason
from activities.scm.source import ScmCredential

# The first value of an option wins, so the host's own file can add (a proxy, its policy for ciphers) but not change.
_CONFIG = """\
BatchMode yes
ConnectTimeout 30
ServerAliveInterval 15
ServerAliveCountMax 4
IdentitiesOnly yes
IdentityAgent none
IdentityFile {identity}
UserKnownHostsFile {known_hosts}
StrictHostKeyChecking accept-new
UpdateHostKeys no
ControlMaster no
ControlPath none
ForwardAgent no
LogLevel ERROR
{user}Include /etc/ssh/ssh_config
"""


def ssh_config(username: str, key: Path | None, known_hosts: Path) -> str:
    """The text of an ssh_config. Without a key the server can only let everybody in. Raises ScmError (invalid)."""
    if re.search(r"[\x00-\x20\x7f\"'\\%$]", username):
        raise ScmError(ScmReason.INVALID, "The user name for SSH contains blanks or quotes.")
    return _CONFIG.format(
        identity=_quoted(key) if key else "none",
        known_hosts=_quoted(known_hosts),
        user=f"User {username}\n" if username else "",
    )


def plain_ssh_key(credential: ScmCredential) -> str:
    """The credential's private key without its passphrase, as OpenSSH reads it. Raises ScmError (credential)."""
    text = credential.ssh_key.replace("\r\n", "\n").strip() + "\n"
    load = load_ssh_private_key if "BEGIN OPENSSH" in text else load_pem_private_key
    passphrase = credential.ssh_key_passphrase.encode() or None
    try:
        load(text.encode(), password=None)
        return text
    except UnsupportedAlgorithm:
        return text  # a kind of key that only OpenSSH itself knows
    except ValueError as error:
        raise ScmError(
            ScmReason.CREDENTIAL, "The credential's SSH key is not a private key that can be read."
        ) from error
    except TypeError as error:
        if passphrase is None:
            message = "The credential's SSH key is encrypted: enter its passphrase in the credential."
            raise ScmError(ScmReason.CREDENTIAL, message) from error
    try:
        key = load(text.encode(), password=passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ScmError(ScmReason.CREDENTIAL, "The passphrase of the credential's SSH key is wrong.") from error
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _quoted(path: Path) -> str:
    return '"{}"'.format(str(path).replace("%", "%%"))
