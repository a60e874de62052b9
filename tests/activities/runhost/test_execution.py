"""What the terminal of a run survives; without ansible, in a process of its own as the real one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

SCRIPT = """
import os, sys, orjson
from pathlib import Path
from activities.runhost.events import EventLog, Output
from activities.runhost.execution import Execution
from activities.runhost.protocol import RunDir

order = orjson.loads(sys.argv[1])
run = RunDir(Path(order["base"]), "job-1")
log = EventLog(run)
output = Output(log, str(run.artifacts))
execution = Execution(output, log, run.home)
info = execution.run(order["command"], "/", os.environ, passwords=order["passwords"], timeout=20, idle_timeout=0)
output.close()
print(orjson.dumps(info).decode())
"""


def execute(base: Path, shell: str, passwords: dict[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """How it ended, and the stdout of its events."""
    run = base / "job-1"
    run.mkdir()
    (run / "events.jsonl").touch()
    order = {"base": str(base), "command": ["sh", "-c", shell], "passwords": passwords or {}}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, orjson.dumps(order).decode()], capture_output=True, check=True, timeout=60
    )
    events = [orjson.loads(line) for line in (run / "events.jsonl").read_bytes().splitlines()]
    return orjson.loads(done.stdout), [event["stdout"] for event in events]


def test_invalid_utf8_and_nul(base: Path) -> None:
    info, output = execute(base, r"printf 'caf\351\nnul \000 end\n\346\227'; printf '\245 cut \346'")

    assert info == {"status": "successful", "rc": 0, "error": ""}
    assert output == ["caf\ufffd", "nul \ufffd end", "日 cut \ufffd"]


def test_long_line(base: Path) -> None:
    _, output = execute(base, "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after")

    assert [len(text) for text in output] == [5_000_000, 5]


def test_nobody_waits_for_a_daemon_that_keeps_the_terminal(base: Path) -> None:
    info, output = execute(base, "(setsid sleep 60 &) ; echo done")

    assert info["status"] == "successful"
    assert output == ["done"]


@pytest.mark.parametrize(("answer", "rc"), [("right", 0), ("wrong", 1)])
def test_prompt_far_to_the_right_is_found(base: Path, answer: str, rc: int) -> None:
    ask = "printf '%0300d Password: ' 0; read answer; echo; test $answer = right"

    info, output = execute(base, ask, {r"Password:\s*$": answer})

    assert info["rc"] == rc
    assert answer not in "".join(output)


def test_signal_is_named(base: Path) -> None:
    info, _ = execute(base, "kill -9 $$")

    assert info["status"] == "failed"
    assert info["rc"] == -9
    assert "SIGKILL" in info["error"]
