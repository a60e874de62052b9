"""Where a project comes from and who may read it: URLs, branches and refspecs as users write them, made safe."""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from activities.scm.errors import ScmError, ScmReason

SSH_SCHEMES = frozenset({"ssh", "git+ssh", "ssh+git"})
HTTP_SCHEMES = frozenset({"http", "https"})
_SCP_LIKE = re.compile(
    r"(?:(?P<user>[^/@:]+)@)?(?P<host>[^/:@]+|\[[0-9a-fA-F:.]+\]):(?P<path>[^/:].*|/(?!/).*)", re.DOTALL
)
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
# What git itself forbids in a ref name; it also keeps refspec syntax (":", "*", "^") out of a branch.
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|\.lock$|^@$")


@dataclass(frozen=True, slots=True)
class ScmSource:
    """A project's source control fields. `branch` is a branch, tag or (short) commit; empty is the remote's HEAD.

    `clean` asks for local changes to be dropped: here a job only ever sees a copy of an unmodified export, so every
    sync is clean and the flag changes nothing."""

    scm_type: Literal["git", ""]
    url: str = ""
    branch: str = ""
    refspec: str = ""
    clean: bool = False
    delete_on_update: bool = False
    track_submodules: bool = False

    def check(self) -> None:
        """Raises ScmError (invalid) for a branch or refspec that git could take for something else."""
        if self.scm_type != "git":
            raise ScmError(ScmReason.INVALID, "A manual project has no source to sync.")
        if self.branch and _BAD_REF.search(self.branch):
            raise ScmError(ScmReason.INVALID, f"{self.branch!r} is not the name of a branch, tag or commit.")
        for spec in self.refspec.split():
            if spec.startswith("-") or re.search(r"[\x00-\x20\x7f]", spec):
                raise ScmError(ScmReason.INVALID, f"{spec!r} is not a refspec.")


@dataclass(frozen=True, slots=True)
class ScmCredential:
    """A source control credential, decrypted. A token goes into `password`, with any or no `username`."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    ssh_key_passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Remote:
    """A URL split into what may be shown (`url`) and who signs in. Users in the URL win over the credential's."""

    url: str
    kind: Literal["http", "ssh", "git", "local"]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port of an http URL: the scope of a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def parse_remote(text: str, credential: ScmCredential) -> Remote:
    """Raises ScmError (invalid). The message never repeats a password."""
    url = text.strip()
    if not url:
        raise ScmError(ScmReason.INVALID, "The project has no source control URL.")
    if url.startswith("-") or _UNSAFE.search(url):
        raise ScmError(ScmReason.INVALID, "The source control URL starts with '-' or contains blanks.")
    if url.startswith("/"):
        return Remote(url, "local")
    if "://" not in url:
        if (match := _SCP_LIKE.fullmatch(url)) and not match["host"].startswith("-"):
            return Remote(url, "ssh", username=match["user"] or credential.username)
        raise ScmError(
            ScmReason.INVALID,
            "The source control URL is not one git understands here: use https://, ssh://, git://, file:// or "
            "user@host:path.",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ScmError(ScmReason.INVALID, "The source control URL has a malformed host or port.") from error
    scheme = parts.scheme.lower()
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    host = parts.netloc.rpartition("@")[2].lower()
    if scheme == "file" and parts.path:
        # As a plain path: git would decode a URL once more, and then it is not the path that `admit` has looked at.
        return Remote(unquote(parts.path), "local")
    if not parts.hostname or parts.hostname.startswith("-"):
        raise ScmError(ScmReason.INVALID, "The source control URL has no host.")
    if scheme in HTTP_SCHEMES:
        if not username and not password:
            username, password = credential.username, credential.password
        if password and not username:
            username = "git"  # servers that take a token as the password accept any name, but want one
        query = f"?{parts.query}" if parts.query else ""
        return Remote(f"{scheme}://{host}{parts.path}{query}", "http", username, password)
    if scheme in SSH_SCHEMES:
        name = parts.netloc.rpartition("@")[0].partition(":")[0]
        shown = f"{name}@{host}" if name else host
        return Remote(f"{scheme}://{shown}{parts.path}", "ssh", username or credential.username, password)
    if scheme == "git":
        return Remote(f"git://{parts.hostname}{f':{port}' if port else ''}{parts.path}", "git")
    raise ScmError(ScmReason.INVALID, f"{scheme}:// is not a kind of source control URL that git projects can use.")


def join_url(base: str, relative: str) -> str:
    """A submodule's URL that starts with `./` or `../`, seen from its parent's; any other is returned as it is.

    >>> join_url("https://host/team/app.git", "../roles.git")
    'https://host/team/roles.git'
    """
    if not relative.startswith(("./", "../")):
        return relative
    scheme, mark, rest = base.rpartition("://")
    host, separator, path = rest.partition("/" if mark or base.startswith("/") else ":")
    segments = PurePosixPath(path).parts
    lead = "/" if segments[:1] == ("/",) else ""
    segments = segments[len(lead) :]
    for step in PurePosixPath(relative).parts:
        segments = segments[:-1] if step == ".." else (*segments, step)
    return f"{scheme}{mark}{host}{separator}{lead}{'/'.join(segments)}"
