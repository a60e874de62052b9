"""`forge doctor`: looks at everything a start needs and says what to do about what is missing. Changes nothing."""

import asyncio
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.markup import escape

import migrations
from cli.console import say
from cli.running import check_database
from core import datadir
from core.db import Database
from core.embedded import postgres, temporal
from core.embedded.processes import require_port
from core.errors import ForgeError, StartupError
from core.listening import listen
from core.settings import Settings
from core.temporal import connect
from models.master_key import noted_key, open_secrets


class Verdict(Enum):
    """The values are colours."""

    OK = "green"
    BROKEN = "red"


@dataclass(frozen=True)
class Finding:
    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(settings: Settings) -> int:
    """Print the findings; the exit code: 1 if anything is broken."""
    findings = [finding for check in CHECKS for finding in check(settings)]
    width = max(len(each.what) for each in findings)
    for each in findings:
        say(f"[{each.verdict.value}]{each.verdict.name.lower():<6}[/]  {each.what:<{width}}  {escape(each.found)}")
        if each.remedy:
            say(f"{'':<{width + 8}}  {escape(each.remedy)}")
    broken = sum(each.verdict is Verdict.BROKEN for each in findings)
    say(f"{broken} of {len(findings)} are broken." if broken else "Nothing is broken.")
    return 1 if broken else 0


def check_python(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", Verdict.OK, f"{platform.python_version()}, {sys.prefix}")


def check_data_dir(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    what = "Data directory"
    try:
        present = datadir.check_data_dir(path)
        if present != path:
            yield Finding(what, Verdict.OK, f"{path}, to be created")
        elif path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o066:
            remedy = f"chmod go-rwx {shlex.quote(str(path))}"
            yield Finding(what, Verdict.BROKEN, f"{path} is open to other users", remedy)
        else:
            running = ", in use by `forge up`" if datadir.is_locked(path) else ""
            yield Finding(what, Verdict.OK, f"{path}{running}")
        what = "Free space"
        first_start = not settings.database_url and not (path / "postgres" / "data").exists()
        needed = postgres.CREATE_BYTES if first_start else datadir.MIN_FREE_BYTES
        free = datadir.require_space(present, needed)
        yield Finding(what, Verdict.OK, f"{free >> 20} MB")
    except StartupError as error:
        yield Finding(what, Verdict.BROKEN, *_sentence(error))


def check_projects_root(settings: Settings) -> Iterator[Finding]:
    root = settings.projects_root
    if root and not os.path.isdir(root):  # False also where we may not look
        remedy = "Create it, or set FORGE_PROJECTS_ROOT to another directory."
        yield Finding("Manual projects", Verdict.BROKEN, f"{root} is not a directory", remedy)


def check_ports(settings: Settings) -> Iterator[Finding]:
    if datadir.is_locked(settings.data_dir):
        return  # `forge up` listens there itself
    what = "HTTP port"
    try:
        listen(settings.host, settings.port).close()
        place = f"{settings.host}:{settings.port} is free" if settings.port else f"a free one on {settings.host}"
        yield Finding(what, Verdict.OK, place)
    except StartupError as error:
        yield Finding(what, Verdict.BROKEN, *_sentence(error))
    embedded = []
    if not settings.database_url:
        embedded.append(("PostgreSQL's port", settings.postgres_port, "FORGE_POSTGRES_PORT"))
    if not settings.temporal_address:
        embedded.append(("Temporal's port", settings.temporal_port, "FORGE_TEMPORAL_PORT"))
        embedded.append(("Temporal UI's port", settings.temporal_ui_port, "FORGE_TEMPORAL_UI_PORT"))
    for what, port, variable in embedded:
        if not port:
            continue  # a free one is taken
        try:
            require_port(port, variable)
            yield Finding(what, Verdict.OK, f"127.0.0.1:{port} is free")
        except StartupError as error:
            yield Finding(what, Verdict.BROKEN, *_sentence(error))


def check_postgres(settings: Settings) -> Iterator[Finding]:
    what = "PostgreSQL"
    if not settings.database_url and not _usable(settings.data_dir):
        return
    try:
        url = settings.database_url or postgres.running_url(settings.data_dir)
        if url is None:
            postgres.find_wheel()
            postgres.server_account(settings.data_dir)
            yield Finding(what, Verdict.OK, "embedded, to be started by `forge up`")
            return
        version = check_database(url)
        kind = "external" if settings.database_url else "embedded"
        yield Finding(what, Verdict.OK, f"{kind}, version {version}, answers")
        database = Database(url, pool_size=1)
        try:
            with database.transaction() as session:
                what = "Database schema"
                migrations.check(session)
                yield Finding(what, Verdict.OK, f"revision {migrations.revision(session)}")
                if noted_key(session):  # else the first start makes one, which is not for us
                    what = "Secret key"
                    open_secrets(session, settings)
                    yield Finding(what, Verdict.OK, "the one that the database was created with")
        finally:
            database.dispose()
    except ForgeError as error:
        yield Finding(what, Verdict.BROKEN, *_sentence(error))


def check_temporal(settings: Settings) -> Iterator[Finding]:
    what = "Temporal"
    if not settings.temporal_address and not _usable(settings.data_dir):
        return
    try:
        address = settings.temporal_address or temporal.running_address(settings.data_dir)
        if address is None:
            yield Finding(what, Verdict.OK, f"embedded, to be started by `forge up` ({temporal.find_binary().name})")
            return
        asyncio.run(connect(settings, address))
        kind = "external" if settings.temporal_address else "embedded"
        yield Finding(what, Verdict.OK, f"{kind}, {address} answers")
    except ForgeError as error:
        yield Finding(what, Verdict.BROKEN, *_sentence(error))


def _usable(data_dir: Path) -> bool:
    """Without a data directory no server of ours can be looked for: that has been said, and is said once."""
    try:
        datadir.check_data_dir(data_dir)
    except StartupError:
        return False
    return True


def check_programs(settings: Settings) -> Iterator[Finding]:
    # The environment's own programs come first, as they do for the jobs.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    for name, remedy in PROGRAMS.items():
        found = shutil.which(name, path=path)
        yield Finding(name, Verdict.OK, found) if found else Finding(name, Verdict.BROKEN, "not found", remedy)


def _sentence(error: ForgeError) -> tuple[str, str]:
    """What is found, and the remedy after the colon that our start-up messages have."""
    found, _, remedy = error.message.rpartition(": ")
    return (found, remedy[:1].upper() + remedy[1:]) if found else (error.message, "")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_python,
    check_data_dir,
    check_projects_root,
    check_ports,
    check_postgres,
    check_temporal,
    check_programs,
)
PROGRAMS = {
    "ansible-playbook": "Install this environment anew: `make clean install`.",
    "git": "Install git: projects come from it.",
    "ssh": "Install an OpenSSH client: managed hosts are reached with it.",
}
