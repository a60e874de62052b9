"""Runs as an activity sees them: start, follow, attach, cancel, clean up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import psutil
import pytest
from sshd import make_key

from activities.runhost import client
from activities.runhost.client import Run, RunHost, RunVanished, private_runs_dir
from activities.runhost.protocol import ExitInfo, FileSpec, RunSpec, RunStatus, SshKey
from core.errors import StartupError, Unavailable

from .conftest import read_events, stdout

Order = Callable[..., RunSpec]


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def is_running(pid: int) -> bool:
    """Zombies do not count: whoever adopted them may be slow to collect them."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_of(run: Run, host: RunHost) -> int:
    return int((host.file_path(run.run_id, "").parent / "lock").read_text())


def host_pid(base: Path) -> int:
    """The run host that serves the state dir."""
    for process in psutil.process_iter():
        try:
            if str(base / "state") in process.cmdline() and process.name() == "forge-runhost":
                return process.pid
        except psutil.Error:
            continue
    raise AssertionError("no run host")


class TestStart:
    def test_run_ends_with_all_events_in_order(self, host: RunHost, order: Order) -> None:
        run = host.start(order("hello", extra_vars={"who": "Forge"}))

        events = read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert [event["counter"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["event"] == "playbook_on_start"
        assert events[-1]["event"] == "playbook_on_stats"
        assert "hello Forge" in stdout(events)
        assert "\x1b[0;32m" in stdout(events)
        assert run.started is not None
        assert run.started.command[0] == "ansible-playbook"
        assert run.started.cwd.endswith("/hello")

    def test_ad_hoc_command(self, host: RunHost, order: Order) -> None:
        run = host.start(order("hello", playbook=None, module="debug", module_args="msg='at once'", hosts="all"))

        events = read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert "at once" in stdout(events)

    def test_same_id_is_started_once(self, host: RunHost, order: Order, base: Path) -> None:
        spec = order("slow", extra_vars={"journal": base / "journal", "steps": 1, "pause": 0})
        # Each has its own client, and none has a run host yet.
        clients = [RunHost(base / "state", base / "runs") for _ in range(6)]

        with ThreadPoolExecutor(6) as threads:
            runs = list(threads.map(lambda client: client.start(spec), clients))
        for run in runs:
            read_events(run)
        again = host.start(spec)

        assert again.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert lines(base / "journal") == ["0"]
        for each in clients:
            each.close()

    def test_unusable_directory_is_reported(self, base: Path, order: Order) -> None:
        (base / "file").touch()
        host = RunHost(base / "state", base / "file", idle_seconds=0.1)

        with pytest.raises(Unavailable, match=r"could not be started\. (File exists|Not a directory)"):
            host.start(order("hello"))

        host.close()

    def test_path_too_long_for_sockets_is_refused(self, base: Path) -> None:
        with pytest.raises(StartupError, match="shorter path"):
            RunHost(base / "state", base / ("x" * 60))

    def test_private_directory(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", extra_vars={"journal": base / "journal", "steps": 1}))
        directory = host.file_path(run.run_id, "").parent

        modes = {path.name: path.stat().st_mode & 0o777 for path in [directory, *directory.iterdir()]}

        assert {modes[name] for name in (run.run_id, "files", "home", "tmp", "cp")} == {0o700}
        assert all(mode & 0o077 == 0 for mode in modes.values())


class TestFailure:
    @pytest.mark.parametrize(
        ("over", "said"),
        [
            ({"playbook": "nowhere.yml"}, "could not be found"),
            ({"project": "broken"}, "YAML parsing failed"),
            ({"args": ["--no-such-option"]}, "unrecognized arguments"),
        ],
    )
    def test_bad_playbook_fails_with_ansibles_words(
        self, host: RunHost, order: Order, over: dict[str, object], said: str
    ) -> None:
        run = host.start(order(**{"project": "hello", **over}))

        events = read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.FAILED
        assert said in stdout(events)

    @pytest.mark.parametrize(
        ("over", "said"),
        [
            ({"project_dir": "/nonexistent"}, "No such file or directory: /nonexistent"),
            ({"env": {"PATH": "/nonexistent"}}, "No such file or directory: ansible-playbook"),
        ],
    )
    def test_run_that_cannot_start_is_an_error(
        self, host: RunHost, order: Order, over: dict[str, object], said: str
    ) -> None:
        run = host.start(order("hello", **over))

        events = read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.ERROR
        assert said in run.exit.error
        assert said in stdout(events)

    def test_odd_output_is_kept_and_storable(self, host: RunHost, order: Order) -> None:
        # By default this ansible refuses such output of a module; older ones and this setting let it through.
        run = host.start(order("odd_output", args=["-v"], env={"ANSIBLE_MODULE_STRICT_UTF8_RESPONSE": "false"}))

        events = read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        printed, _, facts = (event["event_data"]["res"] for event in events if event["event"] == "runner_on_ok")
        assert printed["stdout"] == "caf? nul\ufffdend"
        assert facts["ansible_facts"]["weird"] == [None, str(2**70)]
        assert max(len(event["stdout"]) for event in events) > 5_000_000
        assert [event["counter"] for event in events] == list(range(1, len(events) + 1))


class TestAttach:
    def test_another_process_reads_on_after_kill_9(self, host: RunHost, order: Order, base: Path) -> None:
        host.ensure_started()
        spec = order("slow", extra_vars={"journal": base / "journal", "steps": 3, "pause": 0.3})
        script = f"""
import orjson
from pathlib import Path
from activities.runhost.client import RunHost
from activities.runhost.protocol import RunSpec
spec = RunSpec.from_plain(orjson.loads({orjson.dumps(spec)!r}))
run = RunHost(Path({str(base / "state")!r}), Path({str(base / "runs")!r})).start(spec)
for batch in run.events():
    for line in batch:
        print(orjson.loads(line)["counter"], flush=True)
"""
        worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        seen = [int(worker.stdout.readline()) for _ in range(3)]
        worker.kill()
        worker.communicate()

        run = host.start(spec)
        rest = read_events(run, after=seen[-1])

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert seen == [1, 2, 3]
        assert [event["counter"] for event in rest] == list(range(4, 4 + len(rest)))
        assert lines(base / "journal") == ["0", "1", "2"]

    def test_run_goes_on_without_run_host(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", extra_vars={"journal": base / "journal", "steps": 2, "pause": 0.3}))
        os.kill(host_pid(base), signal.SIGKILL)

        events = read_events(run)
        other = host.start(order("hello", run_id="job-2"))  # a new run host takes over

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert [event["counter"] for event in events] == list(range(1, len(events) + 1))
        assert lines(base / "journal") == ["0", "1"]
        assert other.alive()

    def test_find(self, host: RunHost, order: Order, base: Path) -> None:
        host.start(order("hello"))
        (base / "runs" / "not-a-run").mkdir()

        assert host.find("job-1") is not None
        assert host.find("job-2") is None
        assert [run.run_id for run in host.runs()] == ["job-1"]

    def test_sweep_leaves_what_lives_and_what_is_not_a_runs(self, host: RunHost, order: Order, base: Path) -> None:
        host.start(order("slow", extra_vars={"journal": base / "journal", "pause": 60}))
        for name in ("job-2", "job-3"):  # ended, by the look of it
            (base / "runs" / name).mkdir()
            (base / "runs" / name / "lock").touch()
        dead = subprocess.Popen(["true"])
        dead.wait()
        for name in (f".job-4.{dead.pid}", f".job-5.{os.getpid()}", ".trash.job-6.1.1", "p-12"):
            (base / "runs" / name).mkdir()

        swept = host.sweep(keep={"job-3"})

        assert swept == ["job-2"]
        assert {p.name for p in (base / "runs").iterdir()} == {"job-1", "job-3", f".job-5.{os.getpid()}", "p-12"}

    def test_quiet_run_lets_the_reader_breathe(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", extra_vars={"journal": base / "journal", "steps": 1, "pause": 1.3}))

        batches = list(run.events())

        assert [] in batches

    def test_batch_is_bounded_by_its_size(
        self, host: RunHost, order: Order, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "CHUNK", 1000)
        monkeypatch.setattr(client, "MOST_BYTES", 2000)
        run = host.start(order("hello"))
        run.wait(30)

        batches = [batch for batch in run.events() if batch]

        longest = max(len(line) for batch in batches for line in batch)
        assert len(batches) > 2
        assert max(sum(map(len, batch)) for batch in batches) <= 2000 + 1000 + longest

    def test_killed_run_has_vanished(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("stubborn", extra_vars={"pids": base / "pids"}))
        wait_for(lambda: len(lines(base / "pids")) == 2)

        os.kill(pid_of(run, host), signal.SIGKILL)
        with pytest.raises(RunVanished):
            read_events(run)

        assert run.exit is None
        assert not run.alive()
        wait_for(lambda: not any(psutil.pid_exists(int(pid)) for pid in lines(base / "pids")))

    def test_cleanup_ends_what_a_vanished_run_left(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("stubborn", extra_vars={"pids": base / "pids"}))
        wait_for(lambda: len(lines(base / "pids")) == 2)
        os.kill(host_pid(base), signal.SIGKILL)
        os.kill(pid_of(run, host), signal.SIGKILL)
        wait_for(lambda: not run.alive())

        swept = host.sweep(keep=set())

        assert swept == ["job-1"]
        assert host.find("job-1") is None
        wait_for(lambda: not any(is_running(int(pid)) for pid in lines(base / "pids")))


class TestEnd:
    def test_cancel_ends_hidden_and_stubborn_processes(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("stubborn", extra_vars={"pids": base / "pids"}))
        wait_for(lambda: len(lines(base / "pids")) == 2)

        began = time.monotonic()
        run.cancel()
        read_events(run)

        assert time.monotonic() - began < 10
        assert run.exit is not None
        assert run.exit.status is RunStatus.CANCELED
        assert not any(psutil.pid_exists(int(pid)) for pid in lines(base / "pids"))

    def test_cancel_needs_no_run_host(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", extra_vars={"journal": base / "journal", "pause": 60}))
        wait_for(lambda: lines(base / "journal"))
        os.kill(host_pid(base), signal.SIGKILL)

        run.cancel()
        read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.CANCELED

    def test_cancel_right_after_the_start(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", extra_vars={"journal": base / "journal"}))

        run.cancel()
        read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.CANCELED

    def test_nothing_is_left_running_after_a_normal_end(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("background", extra_vars={"pids": base / "pids"}))

        read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        (pid,) = lines(base / "pids")
        assert not psutil.pid_exists(int(pid))

    def test_timeout(self, host: RunHost, order: Order, base: Path) -> None:
        run = host.start(order("slow", timeout=1.5, extra_vars={"journal": base / "journal", "pause": 30}))

        read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.TIMEOUT
        assert "1.5 s" in run.exit.error

    def test_unanswered_prompt_is_an_idle_timeout(self, host: RunHost, order: Order) -> None:
        run = host.start(order("hello", args=["--ask-become-pass"], idle_timeout=2))

        events = read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.IDLE_TIMEOUT
        assert "BECOME password:" in stdout(events)

    def test_prompt_is_answered(self, host: RunHost, order: Order) -> None:
        run = host.start(
            order("hello", args=["--ask-become-pass"], passwords={r"BECOME password.*:\s*?$": "s3cret-answer"})
        )

        events = read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert "s3cret-answer" not in stdout(events)


class TestSecrets:
    def test_in_no_command_line_and_on_no_disk_after_the_end(self, host: RunHost, order: Order, base: Path) -> None:
        secret = "s3cret-in-a-file"
        go = base / "go"
        run = host.start(
            order(
                "secrets",
                extra_vars={"go": go, "vars_file": str(host.file_path("job-1", "env/secret.yml"))},
                files={"env/secret.yml": FileSpec(f"secret: {secret}\n")},
            )
        )
        wait_for(lambda: run.started)
        command_lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        written = host.file_path("job-1", "env/secret.yml").read_text()
        go.touch()
        read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        assert secret in written
        assert not any(secret in line for line in command_lines)
        assert not any(secret.encode() in path.read_bytes() for path in base.rglob("*") if path.is_file())

        host.cleanup("job-1")
        assert list((base / "runs").iterdir()) == []

    def test_keys_are_in_the_runs_agent(self, host: RunHost, order: Order, base: Path) -> None:
        keys = [make_key(base / "plain"), make_key(base / "sealed", "open sesame")]
        pasted = keys[0].private.strip().replace("\n", "\r\n")

        run = host.start(order("agent", ssh_keys=[SshKey(pasted), SshKey(keys[1].private, "open sesame")], args=["-v"]))
        events = read_events(run)

        assert run.exit == ExitInfo(RunStatus.SUCCESSFUL, 0)
        (listed,) = (e["event_data"]["res"]["stdout_lines"] for e in events if e["event"] == "runner_on_ok")
        assert len(listed) == 2
        assert "open sesame" not in stdout(events)

    def test_wrong_passphrase_fails_the_run(self, host: RunHost, order: Order, base: Path) -> None:
        key = make_key(base / "key", "open sesame")

        run = host.start(order("agent", ssh_keys=[SshKey(key.private, "open barley")]))
        events = read_events(run)

        assert run.exit is not None
        assert run.exit.status is RunStatus.FAILED
        assert "Bad passphrase" in stdout(events)
        assert "barley" not in stdout(events)

    def test_run_sees_nothing_of_the_worker(
        self, host: RunHost, order: Order, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORGE_DATABASE_URL", "postgresql://secret")
        monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent-of-the-worker")
        run = host.start(order("environment", env={"OWN": "yes"}))

        results = [e["event_data"]["res"] for e in read_events(run) if e["event"] == "runner_on_ok"]

        environment, ssh = (result["stdout"].splitlines() for result in results)
        assert "OWN=yes" in environment
        assert f"HOME={base}/runs/job-1/home" in environment
        assert not any(line.startswith(("FORGE_", "SSH_AUTH_SOCK")) for line in environment)
        assert [line for line in ssh if line.startswith("identityfile")] == ["identityfile none"]
        assert f"userknownhostsfile {base}/runs/job-1/known_hosts" in ssh


class TestPrivateRunsDir:
    def test_differs_by_data_dir_and_is_stable(self, base: Path) -> None:
        first, second = private_runs_dir(base / "a"), private_runs_dir(base / "b")

        assert first != second
        assert first == private_runs_dir(base / "a")
