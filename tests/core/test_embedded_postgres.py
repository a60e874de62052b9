"""The real server, killed and restarted as it happens to people."""

import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from core.datadir import prepare_data_dir
from core.embedded import postgres
from core.embedded.postgres import EmbeddedPostgres, running_url
from core.embedded.processes import Account
from core.errors import StartupError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")


def query(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def cluster(new_data_dir: Callable[[], Path]) -> Path:
    """The data directory that `server` runs on: creating one takes longest."""
    return new_data_dir()


@pytest.fixture
def server(cluster: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(cluster)
    server.start()
    yield server
    server.stop()


@contextmanager
def overwritten(path: Path, text: str) -> Iterator[None]:
    kept = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(kept)


@pytest.mark.slow
def test_state_and_url_survive_stop_and_kill(server: EmbeddedPostgres, cluster: Path) -> None:
    url = server.url
    query(url, "CREATE TABLE kept (id int)")
    server.stop()
    assert running_url(cluster) is None

    assert server.start() == url
    query(url, "INSERT INTO kept VALUES (1)")
    assert server.child is not None
    server.child.kill()

    assert server.start() == url
    assert query(url, "SELECT count(*) FROM kept") == 1
    assert running_url(cluster) == url
    assert EmbeddedPostgres(cluster).url.rsplit("@", 1)[0] == url.rsplit("@", 1)[0]


def test_it_is_durable_and_private(server: EmbeddedPostgres, cluster: Path) -> None:
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert query(server.url, f"SHOW {setting}") == "on"
    assert query(server.url, "SHOW listen_addresses") == "127.0.0.1"
    assert query(server.url, "SHOW password_encryption") == "scram-sha-256"
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.url.replace("forge:", "forge:wrong"))
    assert stat.S_IMODE((cluster / "postgres" / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((cluster / "postgres" / "data").stat().st_mode) == 0o700


@as_root
def test_root_runs_it_as_another_user(server: EmbeddedPostgres, cluster: Path) -> None:
    assert server.child is not None

    assert psutil.Process(server.child.pid).uids().real != 0
    assert stat.S_IMODE(cluster.stat().st_mode) == 0o711


@as_root
def test_binaries_that_the_user_cannot_reach_are_copied(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable = postgres._first_unreachable
    wheel = postgres.find_wheel()
    monkeypatch.setattr(
        postgres, "_first_unreachable", lambda path, user: path if wheel in path.parents else reachable(path, user)
    )
    server = EmbeddedPostgres(data_dir)
    try:
        server.start()

        assert server.child is not None
        assert Path(psutil.Process(server.child.pid).exe()).is_relative_to(data_dir)
    finally:
        server.stop()


@as_root
def test_a_place_that_the_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(StartupError, match=r"cannot pass .*: set FORGE_DATA_DIR"):
        EmbeddedPostgres(closed / "data").start()


@as_root
def test_an_ordinary_user_runs_it(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account(nobody.pw_uid, nobody.pw_gid)
    python = Path(sys.executable)
    if closed := postgres._first_unreachable(python, account):
        pytest.skip(f"{closed} keeps other users from this Python")
    home = data_dir / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    data_dir.chmod(0o711)
    script = (
        "import sys; from pathlib import Path; from core.datadir import prepare_data_dir\n"
        "from core.embedded.postgres import EmbeddedPostgres; prepare_data_dir(Path(sys.argv[1]))\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); print(server.start()); server.stop()"
    )

    done = subprocess.run(
        [python, "-c", script, str(home / "forge")],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
    )

    assert done.stdout.startswith("postgresql://forge:"), done.stderr
    assert (home / "forge" / "postgres" / "data").stat().st_uid == account.uid


def test_a_dead_server_that_nobody_collected_is_no_obstacle(server: EmbeddedPostgres, cluster: Path) -> None:
    assert server.child is not None
    os.kill(server.child.pid, signal.SIGKILL)
    second = EmbeddedPostgres(cluster)
    try:
        second.start()

        assert query(second.url, "SELECT 1") == 1
    finally:
        second.stop()


def test_two_side_by_side(server: EmbeddedPostgres, cluster: Path) -> None:
    prepare_data_dir(cluster / "cache" / "second")
    second = EmbeddedPostgres(cluster / "cache" / "second")
    (cluster / "cache").chmod(0o711)
    try:
        second.start()

        query(server.url, "CREATE TABLE mine (id int)")
        assert query(second.url, "SELECT to_regclass('mine')") is None
    finally:
        second.stop()


STARTS_AND_WAITS = """
import sys, time
from pathlib import Path
from core.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
time.sleep(60)
"""


def test_a_killed_parent_leaves_nothing_in_the_way(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(data_dir)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        query(url, "CREATE TABLE kept (id int)")
        parent.kill()
    server = EmbeddedPostgres(data_dir)
    try:
        assert server.start() == url
        assert query(url, "SELECT to_regclass('kept')") == "kept"
    finally:
        server.stop()


@pytest.mark.parametrize("pid", [os.getpid, lambda: 2**22 - 3], ids=["another's", "nobody's"])
def test_a_stale_pid_file_is_no_obstacle(server: EmbeddedPostgres, cluster: Path, pid: Callable[[], int]) -> None:
    assert server.child is not None
    server.child.kill()
    server.child.wait(5)
    path = cluster / "postgres" / "data" / "postmaster.pid"
    path.write_text("\n".join([str(pid()), *path.read_text().splitlines()[1:]]))

    server.start()

    assert query(server.url, "SELECT 1") == 1


def test_files_of_another_major_version_are_refused(server: EmbeddedPostgres, cluster: Path) -> None:
    with (
        overwritten(cluster / "postgres" / "data" / "PG_VERSION", "17\n"),
        pytest.raises(StartupError, match="made by PostgreSQL 17"),
    ):
        server.start()


def test_a_broken_server_says_why(server: EmbeddedPostgres, cluster: Path) -> None:
    with (
        overwritten(cluster / "postgres" / "data" / "postgresql.conf", "nonsense = 1\n"),
        pytest.raises(StartupError, match=r"did not start: .*configuration file.*postgres\.log"),
    ):
        server.start()


def test_a_lost_password_file_is_named(server: EmbeddedPostgres, cluster: Path) -> None:
    server.stop()
    password = cluster / "postgres" / "password"
    kept = password.rename(password.with_name("kept"))
    try:
        with pytest.raises(StartupError, match=r"Cannot use .*/postgres/password \(No such file or directory\)"):
            server.start()
    finally:
        kept.rename(password)
