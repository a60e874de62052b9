"""Launch the Demo Job Template over the REST API, as any client would, and show its output while it runs."""

import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from cli.console import pass_through
from core.errors import Unavailable

TEMPLATE = "Demo Job Template"
POLL_SECONDS = 0.2
PAGE_SIZE = 200
FINAL = frozenset({"successful", "failed", "error", "canceled"})


@dataclass(frozen=True)
class DemoResult:
    job_id: int
    status: str
    explanation: str
    first_line_at: float | None  # wall clock, seconds

    @property
    def successful(self) -> bool:
        return self.status == "successful"


class Api:
    """The REST API of a server on this machine. `token` None: only what is public."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Proxies from the environment are for other machines.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: str | int) -> Any:
        return self._call("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, orjson.dumps(body))

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        """Raises Unavailable for anything but a success, with the server's own words."""
        headers = {**self._headers, "Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self._base_url + path, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                return orjson.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(2000).decode(errors="replace")
            raise Unavailable(f"The server answered {error.code} to {method} {path}: {said}") from error
        except OSError as error:
            raise Unavailable(f"The server does not answer at {self._base_url}: {error}") from error


def run_demo_job(api: Api, meanwhile: Callable[[], None]) -> DemoResult:
    """Returns when the job has ended and all its output is shown. `meanwhile` is called between two looks."""
    templates = api.get("/api/v2/job_templates/", name=TEMPLATE)["results"]
    if not templates:
        raise Unavailable(f"There is no {TEMPLATE} (any more): create it, or start with a new FORGE_DATA_DIR.")
    job = api.post(templates[0]["related"]["launch"], {})
    counter, first_line_at = 0, None
    while True:
        # In this order: what was finished before the look at the events has all its events in that look.
        job = api.get(job["url"])
        events = _events_after(api, job["related"]["job_events"], counter)
        for event in events:
            counter = event["counter"]
            if event["stdout"]:
                first_line_at = first_line_at or time.time()
                pass_through(event["stdout"])
        if not events and job["status"] in FINAL and job["event_processing_finished"]:
            return DemoResult(job["id"], job["status"], job["job_explanation"], first_line_at)
        meanwhile()
        time.sleep(0 if events else POLL_SECONDS)


def _events_after(api: Api, path: str, counter: int) -> list[dict[str, Any]]:
    page = api.get(path, order_by="counter", counter__gt=counter, page_size=PAGE_SIZE)
    events: list[dict[str, Any]] = page["results"]
    return events
