"""The REST API as clients use it: lists, launches, and waiting for what was launched."""

import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

FINAL = frozenset({"successful", "failed", "error", "canceled"})
SECONDS = 90.0  # for what takes two on an idle machine
PAUSE = 0.1  # between two looks; a look costs a server some ten milliseconds
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}  # variables of such a host

Json = dict[str, Any]


class Client:
    """Every call fails the test unless the answer is a success; `refused` is for those that must not be one."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.http = httpx.Client(base_url=url, auth=(username, password), timeout=30, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=query).json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self._call("POST", path, json=body)
        return answer.json() if answer.content else None

    def patch(self, path: str, **body: Any) -> Any:
        return self._call("PATCH", path, json=body).json()

    def refused(self, path: str, **body: Any) -> tuple[int, Any]:
        """Status and body of a POST that the server must refuse."""
        answer = self.http.post(path, json=body)
        assert 400 <= answer.status_code < 500, answer.text
        return answer.status_code, answer.json()

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def all(self, path: str, **query: Any) -> list[Json]:
        """Every page of a list."""
        found: list[Json] = []
        page = self.get(path, page_size=200, **query)
        while True:
            found += page["results"]
            if page["next"] is None:
                return found
            page = self.get(page["next"])

    # --- making things ------------------------------------------------------------------------------------------------

    def create(self, resource: str, **fields: Any) -> Json:
        """With a name that nothing else has, in the organization `Default`."""
        fields.setdefault("name", f"{resource} {uuid.uuid4().hex[:8]}")
        return self._call("POST", f"/api/v2/{resource}/", json=fields).json()

    def named(self, resource: str, name: str) -> Json:
        (found,) = self.get(f"/api/v2/{resource}/", name=name)["results"]
        return found

    @property
    def organization(self) -> int:
        return self.named("organizations", "Default")["id"]

    def credential(self, kind: str, **inputs: Any) -> Json:
        """`kind` is the name of its type."""
        kind_id = self.named("credential_types", kind)["id"]
        return self.create("credentials", organization=self.organization, credential_type=kind_id, inputs=inputs)

    def inventory(self, hosts: dict[str, Json], **variables: Any) -> Json:
        made = self.create("inventories", organization=self.organization, variables=_text(variables))
        for name, own in hosts.items():
            self.create("hosts", name=name, inventory=made["id"], variables=_text(own))
        return made

    def project(self, url: str, *, synced: bool = True, **fields: Any) -> Json:
        """A git project; when this returns its first update has been successful."""
        made = self.create("projects", organization=self.organization, scm_type="git", scm_url=url, **fields)
        if synced:
            update = self.finished(self.last_update(made))
            assert update["status"] == "successful", self.stdout(update)
        return self.get(made["url"])

    def last_update(self, project: Json) -> Json:
        return self.get(project["related"]["project_updates"], order_by="-created")["results"][0]

    def update(self, project: Json) -> Json:
        """Update the project and wait for the end."""
        return self.finished(self.post(project["related"]["update"]))

    def template(self, *credentials: Json, **fields: Any) -> Json:
        made = self.create("job_templates", **fields)
        for credential in credentials:
            self.post(made["related"]["credentials"], id=credential["id"])
        return made

    # --- running things -----------------------------------------------------------------------------------------------

    def launch(self, template: Json, **prompts: Any) -> Json:
        return self.post(template["related"]["launch"], **prompts)

    def run(self, template: Json, **prompts: Any) -> Json:
        """Launch and wait for the end."""
        return self.finished(self.launch(template, **prompts))

    def finished(self, run: Json, seconds: float = SECONDS) -> Json:
        """As clients wait: for the end, and for all of its events."""
        return self.until(
            run, lambda seen: seen["event_processing_finished"] and seen["status"] in FINAL, "its end", seconds
        )

    def running(self, run: Json, seconds: float = SECONDS) -> Json:
        return self.until(run, lambda seen: seen["status"] == "running", "its start", seconds)

    def until(self, run: Json, condition: Callable[[Json], object], what: str, seconds: float = SECONDS) -> Json:
        deadline = time.monotonic() + seconds
        while True:
            seen = self.get(run["url"])
            if condition(seen):
                return seen
            outcome = f"{seen['url']} is {seen['status']}: {seen['job_explanation']}"
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}; {outcome}\n{self.stdout(seen)}"
            assert seen["status"] not in FINAL or not seen["event_processing_finished"], (
                f"it ended before {what}; {outcome}\n{self.stdout(seen)}"
            )
            time.sleep(PAUSE)

    def cancel(self, run: Json) -> None:
        self.post(run["related"]["cancel"])

    def events(self, run: Json, **query: Any) -> list[Json]:
        """In order, with all of their output."""
        path = run["related"].get("job_events") or run["related"]["events"]
        return self.all(path, order_by="counter", no_truncate=True, **query)

    def stdout(self, run: Json, format: str = "txt", **query: Any) -> str:
        return self._call("GET", run["related"]["stdout"], params={"format": format, **query}).text


def assert_contiguous(events: list[Json]) -> None:
    """None is missing, none is there twice, and so are the lines of their output."""
    assert [event["counter"] for event in events] == list(range(1, len(events) + 1))
    line = 0
    for event in events:
        assert event["start_line"] == line, event
        assert event["end_line"] >= line, event
        line = event["end_line"]


def _text(variables: Json) -> str:
    """JSON is YAML, and what is not given stays empty."""
    return json.dumps(variables) if variables else ""
