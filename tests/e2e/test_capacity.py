"""More launches at once than the only worker can run."""

import time
from concurrent.futures import ThreadPoolExecutor

from e2e.client import Client, Json
from e2e.plays import System

COUNT = 50


def test_fifty_launches_at_once_on_a_capacity_of_four(system: System) -> None:
    api = system.api
    template = api.template(playbook="hello.yml", allow_simultaneous=True, **system.fields)
    with ThreadPoolExecutor(10) as clients:
        launches = list(clients.map(lambda _: Launch(api, template), range(COUNT)))
    ids = [launch.job["id"] for launch in launches]
    assert len(set(ids)) == COUNT

    waiting: dict[int, Json] = {}
    while unfinished := api.all("/api/v2/jobs/", finished__isnull=True):
        chosen = [job for job in unfinished if about_to_start(job)]
        assert len(chosen) <= 4
        waiting |= {job["id"]: job for job in unfinished if job["waiting_on"] and not about_to_start(job)}
        time.sleep(0.5)

    assert len(waiting) > COUNT / 2
    assert {job["status"] for job in waiting.values()} == {"waiting"}
    reasons = {job["job_explanation"]: job["waiting_on"] for job in waiting.values()}
    # The first in the queue waits for room, the others wait for the first.
    assert reasons == {
        "Waiting for capacity in instance group default: 4 of 4 forks in use, 1 needed.": [
            {"type": "capacity", "instance_group": "default", "capacity": 4, "used": 4, "needed": 1}
        ],
        "Waiting in instance group default behind jobs that came earlier.": [
            {"type": "queue", "instance_group": "default"}
        ],
    }
    jobs = api.all("/api/v2/jobs/", order_by="id", id__in=",".join(map(str, ids)))
    assert [job["status"] for job in jobs] == ["successful"] * COUNT
    assert most_at_once(jobs) <= 4
    granted = dict(system.forge.sql("SELECT id, granted_at FROM unified_jobs WHERE id = ANY(%s)", ids))
    for launch in launches:
        later = [other for other in launches if other.began > launch.ended]
        assert all(granted[launch.job["id"]] <= granted[other.job["id"]] for other in later)


class Launch:
    """A launch and the time (monotonic, seconds) when it was asked for and answered."""

    def __init__(self, api: Client, template: Json) -> None:
        self.began = time.monotonic()
        self.job = api.launch(template)
        self.ended = time.monotonic()


def about_to_start(job: Json) -> bool:
    return bool(job["waiting_on"]) and job["waiting_on"][0]["type"] == "start"


def most_at_once(jobs: list[Json]) -> int:
    moments = sorted([(job["started"], 1) for job in jobs] + [(job["finished"], -1) for job in jobs])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most
