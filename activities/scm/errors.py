"""What can go wrong with a project's source, told apart by what git and ssh last said (in the C locale)."""

import re
from enum import StrEnum

from core.errors import ForgeError


class ScmReason(StrEnum):
    INVALID = "invalid"  # the project's own settings: URL, branch, refspec, local path
    CREDENTIAL = "credential"  # the SSH key cannot be used: wrong passphrase, not a key
    AUTHENTICATION = "authentication"
    REPOSITORY = "repository"  # the server answers, but has no such repository
    REVISION = "revision"  # the repository has no such branch, tag or commit
    CERTIFICATE = "certificate"
    HOST_KEY = "host_key"
    HOST = "host"  # the name cannot be resolved
    NETWORK = "network"
    STORAGE = "storage"  # this host's disk
    TOOL = "tool"  # git or ssh is not installed
    DAMAGED = "damaged"  # the cached repository; a sync repairs it by itself
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    OTHER = "other"


TRANSIENT = frozenset({ScmReason.HOST, ScmReason.NETWORK, ScmReason.STORAGE, ScmReason.DAMAGED})


class ScmError(ForgeError):
    """`message` says what happened and what to do, without secrets."""

    code = "scm_error"

    def __init__(self, reason: ScmReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def transient(self) -> bool:
        """True if the same sync may succeed later although nobody changed the project."""
        return self.reason in TRANSIENT


# In order: the first sign that is in any line decides, because ssh and curl name the cause before git sums up. The
# advice may name {url}, {cause} (that line) and {missing}.
_SIGNS: list[tuple[ScmReason, str, str]] = [
    (
        ScmReason.REVISION,
        r"couldn't find remote ref|not our ref|unadvertised object|unknown revision|Needed a single revision"
        r"|no such remote ref|not a valid object name",
        "{url} has no such branch, tag or commit.",
    ),
    (
        ScmReason.HOST_KEY,
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The SSH host key of {url} is not the one seen before. If the server was really given a new key, sync once "
        "with 'delete on update' switched on.",
    ),
    (
        ScmReason.CERTIFICATE,
        r"SSL certificate problem|certificate verif|unable to get local issuer|CAfile|self[- ]signed certificate",
        "The TLS certificate of {url} is not trusted by this host. Add its CA to the host's trust store or name it "
        "in GIT_SSL_CAINFO of the worker.",
    ),
    (
        ScmReason.HOST,
        r"Could not resolve (host|proxy)|Name or service not known|unable to look up|Temporary failure in name"
        r"|nodename nor servname|No address associated",
        "The host of {url} cannot be found. Check the spelling of the URL, and the worker's DNS.",
    ),
    (
        ScmReason.AUTHENTICATION,
        r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|Permission denied \("
        r"|Access denied|error: 40[13]|Invalid username or|Too many authentication failures"
        r"|no mutual signature algorithm|Load key ",
        "{url} refused the sign-in. Check the project's source control credential{missing}.",
    ),
    (
        ScmReason.TOOL,
        r"cannot run ssh|ssh: not found|ssh: command not found|remote-https?' is not a git command"
        r"|unable to find remote helper",
        "This host lacks a program that git needs for {url}: install the complete git and an OpenSSH client.",
    ),
    (ScmReason.INVALID, r"transport '.*' not allowed", "{url}: this kind of URL is not allowed here."),
    (
        ScmReason.STORAGE,
        r"No space left on device|Disk quota exceeded|Read-only file system|Input/output error|Too many open files",
        "This host cannot store the project: {cause}. Free some space in Forge's data directory.",
    ),
    (
        ScmReason.NETWORK,
        r"Connection (refused|timed out|reset|closed)|Failed to connect|Couldn't connect|No route to host"
        r"|Network is unreachable|Operation (timed out|too slow)|early EOF|unexpected disconnect|hung up unexpectedly"
        r"|RPC failed|error: (429|5\d\d)|kex_exchange_identification|Empty reply|Recv failure|SSL_(read|ERROR|connect)"
        r"|gnutls",
        "{url} cannot be reached: {cause}. Check the address and port, and that this host may connect to it.",
    ),
    (
        ScmReason.REPOSITORY,
        r"[Rr]epository .*not found|does not appear to be a git repository|error: (404|410)|does not exist"
        r"|not exported|could not be found|not valid: is this a git repository",
        "There is no git repository at {url}, or the credential may not see it. Check the URL.",
    ),
    (
        ScmReason.DAMAGED,
        r"^(?!remote:).*("
        r"loose object .* is corrupt|object file .* is empty|bad (object|tree|index)|unable to read (tree|sha1)"
        r"|did not send all necessary|missing (blob|tree|commit)|packfile .* (cannot|invalid|does not)"
        r"|not a git repository|unresolved deltas|bad config|inflate: data stream error|Could not read [0-9a-f]{40}"
        r"|shallow file|bad signature)",
        "The cached copy of {url} on this host is damaged.",
    ),
]


def classify(output: str, url: str, has_credential: bool) -> ScmError:
    """The error behind git's last lines. `output` has its secrets masked already and is in the C locale."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for reason, pattern, advice in _SIGNS:
        if cause := next((line for line in lines if re.search(pattern, line)), None):
            missing = "" if has_credential else ": it has none"
            return ScmError(reason, advice.format(url=url, cause=_plain(cause), missing=missing))
    last = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), "")
    last = last or (lines[-1] if lines else "it ended without a word")
    return ScmError(ScmReason.OTHER, f"git failed on {url}: {_plain(last)}.")


def _plain(line: str) -> str:
    return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")
