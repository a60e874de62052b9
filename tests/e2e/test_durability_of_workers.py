"""Workers, run hosts and playbooks, killed with SIGKILL in the middle of real runs."""

import time

from e2e.client import Client, Json, assert_contiguous
from e2e.forge import name_of, processes_of, wait_for
from e2e.plays import System
from gitserver import GitHttp, GitRepo

LOST_SECONDS = 30.0  # after which a job whose host is gone has ended


def test_a_killed_worker_comes_back_to_the_same_play(system: System) -> None:
    worker = system.forge.worker
    play = system.play(steps=10)
    play.begin()
    worker.kill()
    play.reach(8)  # it goes on without the worker
    worker.restart()
    system.api.until(play.job, lambda job: "TASK [Wait at the gate]" in system.api.stdout(job), "what it missed")

    job = play.finish()

    assert job["execution_node"] == system.api.get("/api/v2/ping/")["active_node"]


def test_a_play_that_ends_while_its_worker_is_dead_is_stored_whole(system: System) -> None:
    play = system.play()
    play.begin()
    system.forge.worker.kill()
    play.end_unnoticed()
    system.forge.worker.restart()

    play.finish()


def test_a_cancel_while_the_worker_is_dead(system: System) -> None:
    play = system.play()
    play.begin()
    system.forge.worker.kill()
    system.api.cancel(play.job)
    system.forge.worker.restart()

    job = system.api.finished(play.job)

    assert job["status"] == "canceled"
    assert processes_of(system.forge.worker.runs_dir / f"job-{job['id']}") == []
    assert_contiguous(system.api.events(job))


def test_a_project_update_outlives_its_worker(system: System, repo: GitRepo) -> None:
    server = GitHttp(repo.path.parent, "deploy", "s3cret")
    credential = system.api.credential("Source Control", username="deploy", password="s3cret")
    server.hold()
    try:
        project = system.api.project(f"{server.url}/project", credential=credential["id"], synced=False)
        update = system.api.running(system.api.last_update(project))
        assert server.asked.wait(30)
        system.forge.worker.kill()
        server.held.clear()
        system.forge.worker.restart()
        update = system.api.finished(update)
    finally:
        server.stop()

    assert update["status"] == "successful", system.api.stdout(update)
    assert_contiguous(system.api.events(update))
    assert system.api.get(project["url"])["scm_revision"] == repo.git("rev-parse", "HEAD")


def test_a_suspended_worker_loses_nothing(system: System) -> None:
    """For longer than a heartbeat may be late: to Temporal it has died, and comes back as if nothing had been."""
    play = system.play()
    play.begin()
    system.forge.worker.suspend()
    time.sleep(12)
    system.forge.worker.resume()

    play.finish()


def test_a_stopped_worker_leaves_its_plays_running(system: System) -> None:
    """An upgrade: SIGTERM, and a new one."""
    play = system.play()
    play.begin()
    system.forge.worker.stop_gracefully()
    play.reach(4)
    system.forge.worker.restart()

    play.finish()


def test_a_killed_run_host_takes_no_run_with_it(system: System) -> None:
    first = system.play()
    first.begin()
    system.forge.worker.run_host().kill()
    second = system.play(steps=1)

    first.finish()
    second.finish()


def test_a_play_that_is_killed_under_a_living_worker_is_lost(system: System) -> None:
    play = system.play(pause=1)
    play.begin()
    system.forge.worker.kill_run(play.job)

    job = system.api.finished(play.job, LOST_SECONDS)

    assert job["status"] == "error"
    assert "was lost" in job["job_explanation"]
    assert "Step" in system.api.stdout(job)


def test_the_host_is_gone_and_only_its_worker_comes_back(system: System) -> None:
    play = system.play()
    play.begin()
    began = time.monotonic()
    system.forge.worker.lose()
    system.forge.worker.restart()

    job = system.api.finished(play.job)
    took = time.monotonic() - began

    assert took < LOST_SECONDS
    assert job["status"] == "error"
    assert "was lost" in job["job_explanation"]
    assert_contiguous(system.api.events(job))


def test_the_only_worker_is_gone_for_good(system: System) -> None:
    """The server is left to notice, and to say why nothing runs any more."""
    play = system.play()
    play.begin()
    began = time.monotonic()
    system.forge.worker.lose()
    waiting = system.play(steps=1)
    waits_for(system.api, waiting.job, "Waiting for an instance of instance group default to start it.")

    job = system.api.finished(play.job)
    took = time.monotonic() - began

    assert took < LOST_SECONDS
    assert job["status"] == "error"
    assert "stopped answering while the job ran" in job["job_explanation"]
    assert_contiguous(system.api.events(job))
    waits_for(system.api, waiting.job, "Waiting for a live instance in instance group default.")
    system.forge.worker.restart()
    waiting.finish()


def test_the_worker_is_gone_for_good(system: System) -> None:
    """Another one is there to notice. A play that is gone too is lost in time, and so is one that nobody can tell
    whether it is: should the worker come back after all, it ends it."""
    lost = system.forge.add_worker("doomed", groups="doomed")
    template = system.api.template(
        playbook="steps.yml", ask_variables_on_launch=True, allow_simultaneous=True, **system.fields
    )
    system.api.post(template["related"]["instance_groups"], id=system.api.named("instance_groups", "doomed")["id"])
    gone, alone, elsewhere = system.play(template=template), system.play(template=template), system.play()
    for play in (gone, alone):
        play.begin()
    began = time.monotonic()
    lost.kill()
    lost.kill_run(gone.job)

    jobs = [system.api.finished(play.job) for play in (gone, alone)]
    took = time.monotonic() - began

    assert took < LOST_SECONDS
    for job in jobs:
        assert (job["status"], job["execution_node"]) == ("error", "doomed")
        assert job["job_explanation"] == "The run was lost: instance doomed stopped answering while the job ran."
        assert_contiguous(system.api.events(job))
    elsewhere.finish()
    assert len(lost.run_processes()) > 1
    lost.restart()
    wait_for(lambda: [*map(name_of, lost.run_processes())] == ["forge-runhost"], "the play that was given up to end")
    lost.stop()


def waits_for(api: Client, job: Json, explanation: str) -> None:
    api.until(job, lambda seen: seen["job_explanation"] == explanation, explanation)
