"""Things for a test to work with, made over the API by a superuser; every name is new."""

from datetime import timedelta
from itertools import count
from typing import Any

import httpx
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from api.services import Services
from models.access import grant
from models.base import now
from models.credentials import CredentialType
from models.events import store_events
from models.instances import Instance
from models.job_templates import JobTemplate
from models.jobs import Job, JobHostSummary
from models.unified import UnifiedJob
from models.users import User, create_token, create_user

Body = dict[str, Any]
PLAYBOOK = "site.yml"
GIT = {"scm_type": "git", "scm_url": "https://example.org/x.git"}
_numbers = count(1)


def new_name(kind: str) -> str:
    return f"{kind}-api-{next(_numbers)}"  # so that it is none of `tests.make`, which may share the database


class World:
    def __init__(self, services: Services, api_url: str) -> None:
        self.database = services.database
        self._secrets = services.secrets
        self._api_url = api_url
        self._clients: list[httpx.Client] = []
        self.admin = self.client(is_superuser=True)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def post(self, path: str, **body: Any) -> Body:
        answer = self.admin.post(f"/api/v2/{path}/", json=body)
        assert answer.status_code == 201, answer.text
        made: Body = answer.json()
        return made

    def attach(self, path: str, **body: Any) -> None:
        answer = self.admin.post(f"/api/v2/{path}/", json=body)
        assert answer.status_code == 204, answer.text

    def get(self, path: str, **query: Any) -> Body:
        answer = self.admin.get(f"/api/v2/{path}/", params=query)
        assert answer.status_code == 200, answer.text
        found: Body = answer.json()
        return found

    def organization(self, **over: Any) -> Body:
        return self.post("organizations", **{"name": new_name("org")} | over)

    def inventory(self, **over: Any) -> Body:
        return self.post("inventories", **self._owned("inventory", over))

    def host(self, inventory: Body, **over: Any) -> Body:
        return self.post("hosts", **{"name": new_name("host"), "inventory": inventory["id"]} | over)

    def group(self, inventory: Body, **over: Any) -> Body:
        return self.post("groups", **{"name": new_name("group"), "inventory": inventory["id"]} | over)

    def project(self, **over: Any) -> Body:
        """A manual one, whose folder the server does not see: it may hold any playbook."""
        return self.post("projects", **self._owned("project", {"local_path": new_name("folder")} | over))

    def template(self, **over: Any) -> Body:
        body = {"name": new_name("template"), "playbook": PLAYBOOK} | over
        organization = body.pop("organization", None) or self.organization()["id"]
        if "project" not in body:
            body["project"] = self.project(organization=organization)["id"]
        if "inventory" not in body:
            body["inventory"] = self.inventory(organization=organization)["id"]
        return self.post("job_templates", **body)

    def credential(self, namespace: str = "ssh", **over: Any) -> Body:
        with self.database.transaction() as session:
            kind = session.scalars(select(CredentialType.id).where(CredentialType.namespace == namespace)).one()
        return self.post("credentials", **self._owned("credential", {"credential_type": kind} | over))

    def _owned(self, kind: str, over: Body) -> Body:
        body = {"name": new_name(kind)} | over
        if "organization" not in body and "user" not in body:
            body["organization"] = self.organization()["id"]
        return body

    def instance(self, **over: Any) -> int:
        with self.database.transaction() as session:
            values = {"hostname": new_name("node"), "uuid": "u", "capacity": 10, "last_seen": now()} | over
            instance = Instance(**values)
            session.add(instance)
            session.flush()
            return instance.id

    def job(self, template: Body, *, lines: tuple[str, ...] = (), host: int | None = None, **over: Any) -> int:
        """A job that has ended, with an event per line of output."""
        with self.database.transaction() as session:
            return make_job(session, template["id"], lines=lines, host=host, **over)

    def end(self, run_id: int, status: str = "successful") -> None:
        """As if the run had ended, as far as others look at it."""
        with self.database.transaction() as session:
            session.execute(update(UnifiedJob).where(UnifiedJob.id == run_id).values(status=status, finished=now()))

    def user(self, **over: Any) -> User:
        with self.database.transaction() as session:
            user = create_user(session, new_name("member"), "")
            for name, value in over.items():
                setattr(user, name, value)
        return user

    def client(self, *roles: tuple[str, int, str], user: User | None = None, **over: Any) -> httpx.Client:
        """A user's client. The user holds these roles: (type, id, role)."""
        user = user or self.user(**over)
        with self.database.transaction() as session:
            for resource_type, resource_id, field in roles:
                grant(session, user.id, resource_type, resource_id, field)
            _, token = create_token(session, self._secrets, user.id, expires=now() + timedelta(hours=1))
        client = httpx.Client(base_url=self._api_url, timeout=30, headers={"Authorization": f"Bearer {token}"})
        self._clients.append(client)
        return client


def make_job(
    session: Session, template_id: int, *, lines: tuple[str, ...] = (), host: int | None = None, **over: Any
) -> int:
    template = session.get(JobTemplate, template_id)
    assert template is not None
    moment = now()
    values: Body = {
        "name": template.name,
        "unified_job_template_id": template.id,
        "job_template_id": template.id,
        "organization_id": template.organization_id,
        "inventory_id": template.inventory_id,
        "project_id": template.project_id,
        "playbook": template.playbook,
        "status": "running",
        "started": moment - timedelta(seconds=5),
    }
    job = Job(**values)
    session.add(job)
    session.flush()
    store_events(session, job.id, [make_event(number, line, host) for number, line in enumerate(lines)])
    session.refresh(job)
    ended: Body = {"status": "successful", "finished": moment, "elapsed": 5, "event_processing_finished": True}
    for name, value in (ended | over).items():
        setattr(job, name, value)
    if host is not None:
        summary = {"job_id": job.id, "host_id": host, "host_name": f"h{host}", "ok": 1}
        zero = dict.fromkeys(("changed", "dark", "failures", "processed", "skipped", "ignored", "rescued"), 0)
        session.execute(insert(JobHostSummary).values(**summary, **zero, failed=False))
    return job.id


def make_event(number: int, line: str, host: int | None = None) -> Body:
    return {
        "counter": number + 1,
        "created": now().isoformat(),
        "event": "runner_on_ok",
        "uuid": f"uuid-{number}",
        "parent_uuid": "" if number == 0 else "uuid-0",
        "event_data": "{}",
        "failed": False,
        "changed": False,
        "host_id": host,
        "host_name": "",
        "playbook": PLAYBOOK,
        "play": "all",
        "task": "debug",
        "role": "",
        "stdout": line,
        "start_line": number,
        "end_line": number + 1,
        "verbosity": 0,
    }
