"""The server, Temporal and PostgreSQL, killed with SIGKILL in the middle of real runs."""

import threading
import time
from contextlib import suppress

import httpx
from e2e.client import Client, Json
from e2e.forge import kill, wait_for
from e2e.plays import System

CLIENT_SECONDS = 10.0  # that the awx.awx collection waits for an answer


def test_a_server_killed_between_commit_and_start(system: System) -> None:
    """With Temporal away it is held exactly there."""
    forge, api = system.forge, system.api
    kill(forge.temporal.child)
    launch = threading.Thread(target=launch_without_answer, args=(api, system.template))
    launch.start()
    wait_for(lambda: forge.sql("SELECT 1 FROM unified_jobs WHERE type = 'job' AND status = 'pending'"), "the row")
    forge.server.kill()
    launch.join()
    forge.temporal.start()
    forge.server.restart()

    job = api.finished(api.get("/api/v2/jobs/", order_by="-id")["results"][0])

    assert job["status"] == "successful", job["job_explanation"]
    assert f"started job {job['id']}, which was committed but never started" in forge.worker.log


def test_a_killed_temporal(system: System) -> None:
    """Running and waiting jobs go on, also after more than a heartbeat, and what is launched meanwhile is not lost."""
    forge, api = system.forge, system.api
    one_by_one = api.template(playbook="steps.yml", ask_variables_on_launch=True, **system.fields)
    running = system.play(template=one_by_one)
    waiting = system.play(steps=1, template=one_by_one)
    running.begin()
    api.until(waiting.job, lambda job: job["status"] == "waiting", "its turn to wait")
    kill(forge.temporal.child)
    began = time.monotonic()
    late = system.play(steps=1)
    assert time.monotonic() - began < CLIENT_SECONDS
    time.sleep(began + 12 - time.monotonic())
    statuses = [api.get(play.job["url"])["status"] for play in (running, waiting, late)]
    forge.temporal.start()

    first, second = running.finish(), waiting.finish()
    late.finish()

    assert statuses == ["running", "waiting", "pending"]
    assert second["started"] >= first["finished"]


def test_a_play_that_ends_while_temporal_is_away(system: System) -> None:
    play = system.play()
    play.begin()
    kill(system.forge.temporal.child)
    play.end_unnoticed()
    system.forge.temporal.start()

    play.finish()


def test_a_killed_postgres(system: System) -> None:
    """The play ends while it is away; nothing of it is lost."""
    play = system.play()
    play.begin()
    kill(system.forge.postgres.child)
    play.end_unnoticed()
    with suppress(httpx.HTTPError):
        assert system.api.http.get(play.job["url"]).status_code >= 500
    system.forge.postgres.start()
    wait_for(lambda: system.api.http.get("/api/v2/me/").is_success, "the server to reconnect")

    play.finish()
    assert system.play(steps=1).finish()["status"] == "successful"


def test_everything_killed_at_once(system: System) -> None:
    """But for the run host and the play: a machine whose operator is angry."""
    forge = system.forge
    play = system.play()
    play.begin()
    for part in (forge.server.child, forge.worker.child, forge.temporal.child, forge.postgres.child):
        kill(part)
    forge.postgres.start()
    forge.temporal.start()
    forge.worker.restart()
    forge.server.restart()

    play.finish()


def launch_without_answer(api: Client, template: Json) -> None:
    with suppress(httpx.HTTPError):
        api.http.post(template["related"]["launch"], json={"extra_vars": {"log": "/dev/null"}})
