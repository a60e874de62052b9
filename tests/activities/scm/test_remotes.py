"""Syncs over the network: signing in, refusals, secrets, and stopping in the middle."""

import base64
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from gitserver import GitHttp, GitRepo, git_daemon
from sshd import Key, Sshd, make_key, needs_sshd

from activities.scm import ProjectCache, ScmCredential, ScmError, ScmReason, ScmSource, SyncResult
from activities.scm.locks import file_lock

Sync = Callable[..., SyncResult]
ALICE = ScmCredential("alice", "s3cret")
PLAY = "- hosts: all\n"


def refusal(sync: Sync, *arguments: object, **options: object) -> ScmError:
    with pytest.raises(ScmError) as caught:
        sync(*arguments, **options)
    return caught.value


class TestHttp:
    def test_the_credential_signs_in(self, sync: Sync, http: GitHttp, repo: GitRepo) -> None:
        assert sync(f"{http.url}/repo", ALICE).revision == repo.git("rev-parse", "HEAD")
        assert not sync(f"{http.url}/repo", ALICE).changed

    def test_so_does_the_url(self, sync: Sync, http: GitHttp) -> None:
        assert sync(f"http://alice:s3cret@127.0.0.1:{http.port}/repo").changed

    def test_strange_characters_in_a_password(self, sync: Sync, repo: GitRepo) -> None:
        password = "p@ss:w/ö rd%?#'\"$x"
        server = GitHttp(repo.path.parent, "al@ice", password)
        try:
            assert sync(f"{server.url}/repo", ScmCredential("al@ice", password)).changed
        finally:
            server.stop()

    def test_a_token_needs_no_user(self, sync: Sync, repo: GitRepo) -> None:
        server = GitHttp(repo.path.parent, "git", "ghp_token")
        try:
            assert sync(f"{server.url}/repo", ScmCredential(password="ghp_token")).changed
        finally:
            server.stop()

    @pytest.mark.parametrize(("credential", "hint"), [(ScmCredential("alice", "wr0ng"), ""), (None, ": it has none")])
    def test_a_refused_sign_in(
        self, sync: Sync, http: GitHttp, credential: ScmCredential | None, hint: str, output: list[str]
    ) -> None:
        error = refusal(sync, f"{http.url}/repo", credential)

        assert error.reason is ScmReason.AUTHENTICATION
        assert not error.transient
        assert error.message == (
            f"{http.url}/repo refused the sign-in. Check the project's source control credential{hint}."
        )
        assert output[-1].startswith("fatal:")

    def test_a_wrong_path(self, sync: Sync, http: GitHttp) -> None:
        assert refusal(sync, f"{http.url}/gone", ALICE).reason is ScmReason.REPOSITORY

    def test_a_wrong_branch(self, sync: Sync, http: GitHttp, output: list[str]) -> None:
        error = refusal(sync, f"{http.url}/repo", ALICE, branch="nope")

        assert error.message == f"{http.url}/repo has no branch, tag or commit 'nope'."

    def test_a_server_that_is_down(self, sync: Sync) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            error = refusal(sync, f"http://127.0.0.1:{unused.getsockname()[1]}/repo")

        assert (error.reason, error.transient) == (ScmReason.NETWORK, True)

    def test_a_host_that_does_not_exist(self, sync: Sync) -> None:
        assert refusal(sync, "https://nowhere.invalid/repo").reason is ScmReason.HOST

    def test_https_with_a_certificate_of_ones_own(
        self, sync: Sync, repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = GitHttp(repo.path.parent, "alice", "s3cret", tls=tmp_path)
        try:
            assert refusal(sync, f"{server.url}/repo", ALICE).reason is ScmReason.CERTIFICATE
            monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "cert.pem"))
            assert sync(f"{server.url}/repo", ALICE).changed
        finally:
            server.stop()

    def test_a_submodule_on_the_same_server_is_signed_in(self, sync: Sync, http: GitHttp, repo: GitRepo) -> None:
        GitRepo(repo.path.parent / "role").commit({"x": "y"})
        repo.git("submodule", "--quiet", "add", "../role", "roles/role")
        repo.commit({})

        assert sync(f"{http.url}/repo", ALICE).changed

    def test_a_submodule_elsewhere_does_not_get_the_password(self, sync: Sync, http: GitHttp, repo: GitRepo) -> None:
        elsewhere = GitHttp(repo.path.parent, "alice", "s3cret")
        repo.commit({".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = {elsewhere.url}/repo\n'})
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.git('rev-parse', 'HEAD')},x")
        repo.git("commit", "-q", "-m", "submodule")
        try:
            error = refusal(sync, f"{http.url}/repo", ALICE)
        finally:
            elsewhere.stop()

        assert error.reason is ScmReason.AUTHENTICATION
        assert error.message.startswith("Submodule x: ")
        assert not elsewhere.asked.is_set()


def test_a_plain_web_server_has_everything_or_nothing(sync: Sync, repo: GitRepo) -> None:
    repo.commit({"more.yml": PLAY})
    repo.git("update-server-info")
    serve = partial(QuietFiles, directory=str(repo.path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            assert sync(f"http://127.0.0.1:{server.server_address[1]}/.git").playbooks == ["more.yml", "site.yml"]
        finally:
            server.shutdown()
            thread.join()


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_git_protocol(sync: Sync, repo: GitRepo) -> None:
    with git_daemon(repo.path.parent) as url:
        assert sync(f"{url}/repo").changed
        assert refusal(sync, f"{url}/gone").reason is ScmReason.REPOSITORY


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd() as sshd:
        yield sshd


@needs_sshd
class TestSsh:
    @pytest.fixture
    def key(self, sshd: Sshd, tmp_path: Path) -> Key:
        key = make_key(tmp_path / "key")
        sshd.authorize(key.public)
        return key

    @pytest.fixture
    def url(self, sshd: Sshd, repo: GitRepo) -> str:
        return f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{repo.path}"

    def test_a_key_signs_in(self, sync: Sync, url: str, key: Key, private_root: Path) -> None:
        assert sync(url, ScmCredential(ssh_key=key.private)).changed
        assert list(private_root.iterdir()) == []

    def test_the_credential_names_the_user(self, sync: Sync, sshd: Sshd, url: str, key: Key) -> None:
        without_user = url.replace(f"{sshd.user}@", "")

        assert sync(without_user, ScmCredential(username=sshd.user, ssh_key=key.private)).changed
        error = refusal(sync, without_user, ScmCredential(username="nobody-such", ssh_key=key.private))
        assert error.reason is ScmReason.AUTHENTICATION

    @pytest.mark.parametrize("options", [(), ("-m", "PEM", "-t", "ecdsa"), ("-m", "PKCS8", "-t", "ecdsa")])
    def test_a_key_with_a_passphrase(
        self, sync: Sync, sshd: Sshd, url: str, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        key = make_key(tmp_path / "locked", "open sesame", *options)
        sshd.authorize(key.public)

        assert sync(url, ScmCredential(ssh_key=key.private, ssh_key_passphrase="open sesame")).changed
        wrong = refusal(sync, url, ScmCredential(ssh_key=key.private, ssh_key_passphrase="wrong"))
        missing = refusal(sync, url, ScmCredential(ssh_key=key.private))
        assert wrong.message == "The passphrase of the credential's SSH key is wrong."
        assert missing.message == "The credential's SSH key is encrypted: enter its passphrase in the credential."
        assert wrong.reason is missing.reason is ScmReason.CREDENTIAL

    def test_a_key_that_is_none(self, sync: Sync, url: str) -> None:
        assert refusal(sync, url, ScmCredential(ssh_key="ssh-ed25519 AAAA")).reason is ScmReason.CREDENTIAL

    def test_windows_line_ends_in_a_key(self, sync: Sync, url: str, key: Key) -> None:
        assert sync(url, ScmCredential(ssh_key=key.private.replace("\n", "\r\n").strip())).changed

    def test_a_key_nobody_let_in(self, sync: Sync, url: str, tmp_path: Path, output: list[str]) -> None:
        stranger = make_key(tmp_path / "stranger")
        error = refusal(sync, url, ScmCredential(ssh_key=stranger.private))

        assert error.reason is ScmReason.AUTHENTICATION
        assert any("Permission denied" in line for line in output)

    def test_without_a_key_nobody_elses_is_tried(self, sync: Sync, url: str) -> None:
        error = refusal(sync, url)

        assert error.reason is ScmReason.AUTHENTICATION
        assert error.message.endswith("credential: it has none.")

    def test_a_commit_the_server_gives_out_only_with_everything(
        self, sync: Sync, url: str, key: Key, repo: GitRepo
    ) -> None:
        old = repo.git("rev-parse", "HEAD")
        repo.commit({"later.yml": PLAY})

        assert sync(url, ScmCredential(ssh_key=key.private), branch=old).revision == old

    def test_a_wrong_path(self, sync: Sync, url: str, key: Key) -> None:
        assert refusal(sync, f"{url}x", ScmCredential(ssh_key=key.private)).reason is ScmReason.REPOSITORY

    def test_a_changed_host_key_is_refused_until_told_otherwise(
        self, sync: Sync, repo: GitRepo, tmp_path: Path
    ) -> None:
        key = make_key(tmp_path / "own")
        credential = ScmCredential(ssh_key=key.private)
        with Sshd() as sshd:
            sshd.authorize(key.public)
            url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{repo.path}"
            sync(url, credential)
            sshd.replace_host_key()
            sshd.restart()
            error = refusal(sync, url, credential)

            assert error.reason is ScmReason.HOST_KEY
            assert "'delete on update'" in error.message
            assert sync(url, credential, delete_on_update=True).changed


class TestSecrets:
    # In a URL, so that git would repeat it; with characters that need encoding.
    PASSWORD = "Tr0ub4dor &3/ü"

    @pytest.fixture
    def http(self, repo: GitRepo) -> Iterator[GitHttp]:
        server = GitHttp(repo.path.parent, "alice", self.PASSWORD)
        yield server
        server.stop()

    def forms(self) -> list[str]:
        basic = base64.b64encode(f"alice:{self.PASSWORD}".encode()).decode()
        return [self.PASSWORD, quote(self.PASSWORD), quote(self.PASSWORD, safe=""), basic]

    def test_they_are_on_no_command_line_while_git_runs(self, sync: Sync, http: GitHttp, private_root: Path) -> None:
        http.hold()
        url = http.url.replace("//", f"//alice:{quote(self.PASSWORD, safe='')}@")
        thread = threading.Thread(target=sync, args=(f"{url}/repo",))
        thread.start()
        assert http.asked.wait(20)
        try:
            commands = command_lines(psutil.Process().children(recursive=True))
            (home,) = private_root.iterdir()
            modes = {path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}
        finally:
            http.held.clear()
            thread.join()

        assert "git" in commands
        assert not any(form in commands for form in self.forms())
        assert modes == {0o700, 0o600}
        assert not home.exists()

    def test_they_are_not_in_the_cache_the_output_or_the_errors(
        self, sync: Sync, http: GitHttp, tmp_path: Path, output: list[str]
    ) -> None:
        url = http.url.replace("//", f"//alice:{quote(self.PASSWORD, safe='')}@")
        sync(f"{url}/repo")
        error = refusal(sync, f"{url}/gone")
        error_of_url = refusal(sync, f"{url}:99999/gone")

        said = "\n".join([*output, error.message, str(error.__cause__), error_of_url.message])
        kept = b"\n".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
        for form in self.forms():
            assert form not in said
            assert form.encode() not in kept

    def test_what_a_server_repeats_is_masked(self, sync: Sync, repo: GitRepo, output: list[str]) -> None:
        token = "ghp_verysecret"
        with git_daemon(repo.path.parent) as url:
            refusal(sync, f"{url}/{token}", ScmCredential(password=token))
            refusal(sync, f"{url}/repo", ScmCredential(password="main"), branch="refs/heads/nope/main")

        from_git = [line for line in output if line.startswith("fatal:")]
        assert any("$encrypted$" in line for line in from_git)
        assert token not in "\n".join(from_git)


def command_lines(processes: list[psutil.Process]) -> str:
    lines = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            lines += process.cmdline()
    return "\n".join(lines)


class TestStopping:
    def test_cancel_ends_git_within_two_seconds(self, sync: Sync, http: GitHttp, private_root: Path) -> None:
        http.hold()
        start: list[float] = []

        def cancelled() -> bool:
            if http.asked.is_set() and not start:
                start.append(time.monotonic())
            return bool(start)

        error = refusal(sync, f"{http.url}/repo", ALICE, cancelled=cancelled)

        assert (error.reason, error.transient) == (ScmReason.CANCELED, False)
        assert time.monotonic() - start[0] < 2
        assert "remote-http" not in command_lines(psutil.Process().children(recursive=True))
        assert list(private_root.iterdir()) == []

    def test_a_timeout(self, sync: Sync, http: GitHttp) -> None:
        http.hold()
        start = time.monotonic()
        error = refusal(sync, f"{http.url}/repo", ALICE, timeout=1)

        assert error.reason is ScmReason.TIMEOUT
        assert time.monotonic() - start < 3

        http.held.clear()
        assert sync(f"{http.url}/repo", ALICE).changed

    def test_cancel_while_another_sync_runs(self, sync: Sync, repo: GitRepo, tmp_path: Path) -> None:
        sync(repo.path)
        with file_lock(tmp_path / "cache" / "1.lock"):
            assert refusal(sync, repo.path, cancelled=lambda: True).reason is ScmReason.CANCELED
            assert refusal(sync, repo.path, timeout=0.3).reason is ScmReason.TIMEOUT

    def test_a_caller_that_fails_leaves_nothing_running(self, cache: ProjectCache, http: GitHttp) -> None:
        def emit(line: str) -> None:
            if not line.startswith("Fetching"):
                raise RuntimeError(line)

        with pytest.raises(RuntimeError):
            cache.sync(1, ScmSource("git", f"{http.url}/repo"), ALICE, emit)
        assert "remote-http" not in command_lines(psutil.Process().children(recursive=True))


SYNC = """
import sys
from pathlib import Path
from activities.scm import ProjectCache, ScmCredential, ScmSource
root, private, url = sys.argv[1:]
cache = ProjectCache(Path(root), Path(private))
result = cache.sync(1, ScmSource("git", url), ScmCredential("alice", "s3cret"), lambda line: print(line, flush=True))
print(result.revision)
"""


class TestProcesses:
    """Several processes, and processes that are killed."""

    @pytest.fixture
    def start(self, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
        """`start(url)` syncs project 1 in a process of its own."""
        processes = []

        def start(url: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", SYNC, str(tmp_path / "cache"), str(tmp_path / "private"), url]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            return process

        yield start
        for process in processes:
            process.kill()
            with process:
                pass

    def test_two_at_once_take_turns(
        self, start: Callable[[str], subprocess.Popen[str]], http: GitHttp, repo: GitRepo
    ) -> None:
        http.hold()
        first = start(f"{http.url}/repo")
        assert http.asked.wait(20)
        second = start(f"{http.url}/repo")
        assert second.stdout
        waiting = second.stdout.readline()
        http.held.clear()

        assert waiting == "Waiting for another update of this project on this host\n"
        revision = repo.git("rev-parse", "HEAD")
        assert first.communicate()[0].splitlines()[-1] == revision
        assert second.communicate()[0].splitlines()[-2:] == [f"Revision {revision}: unchanged", revision]

    def test_prune_leaves_a_running_sync_alone(
        self, cache: ProjectCache, start: Callable[[str], subprocess.Popen[str]], http: GitHttp
    ) -> None:
        http.hold()
        process = start(f"{http.url}/repo")
        assert http.asked.wait(20)

        assert not cache.prune(1, set(), spare=0)
        http.held.clear()
        process.communicate()
        assert process.returncode == 0

    def test_a_killed_sync_leaves_no_secret_and_no_lock(
        self, start: Callable[[str], subprocess.Popen[str]], http: GitHttp, tmp_path: Path, private_root: Path
    ) -> None:
        http.hold()
        process = start(f"{http.url}/repo")
        assert http.asked.wait(20)
        (home,) = private_root.iterdir()
        process.kill()
        process.wait()
        assert (home / ".git-credentials").exists()

        cache = ProjectCache(tmp_path / "cache", private_root)
        assert list(private_root.iterdir()) == []
        http.held.clear()
        (tmp_path / "cache/1/repo.git/shallow.lock").touch()
        assert cache.sync(1, ScmSource("git", f"{http.url}/repo"), ALICE, timeout=20).changed

    def test_a_sync_right_after_a_killed_one_takes_over(
        self, cache: ProjectCache, start: Callable[[str], subprocess.Popen[str]], http: GitHttp
    ) -> None:
        http.hold()
        process = start(f"{http.url}/repo")
        assert http.asked.wait(20)
        process.kill()
        process.wait()
        http.held.clear()
        http.hold()
        timer = threading.Timer(1, http.held.clear)
        timer.start()

        assert cache.sync(1, ScmSource("git", f"{http.url}/repo"), ALICE, timeout=20).changed
        timer.join()

    @pytest.mark.parametrize("delay", [0.0, 0.03, 0.06])
    def test_killed_at_any_moment_the_next_sync_is_whole(
        self,
        start: Callable[[str], subprocess.Popen[str]],
        cache: ProjectCache,
        repo: GitRepo,
        tmp_path: Path,
        delay: float,
    ) -> None:
        revision = repo.commit({f"roles/r{n}/files/data": str(n) * 2000 for n in range(150)})
        process = start(str(repo.path))
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()

        assert cache.sync(1, ScmSource("git", str(repo.path)), timeout=20).revision == revision
        cache.checkout(1, revision, tmp_path / "job")
        assert len(list((tmp_path / "job").rglob("data"))) == 150
        assert not list((tmp_path / "cache/1").rglob(".new-*"))

    def test_a_damaged_repository_is_fetched_anew(
        self, cache: ProjectCache, sync: Sync, repo: GitRepo, tmp_path: Path, output: list[str]
    ) -> None:
        sync(repo.path)
        for path in (tmp_path / "cache/1/repo.git/objects").rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"")
        newest = repo.commit({"more.yml": PLAY})

        assert sync(repo.path).revision == newest
        assert any("is damaged. Fetching it anew." in line for line in output)
