"""`make_x(session, **over)`: rows for tests. A test states only what matters to it; names are unique by themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.crypto import Secrets
from models.access import IMPLIED, Actor, Role, create_roles, grant, role_teams
from models.base import now
from models.credential_inputs import encrypt_inputs
from models.credentials import Credential, CredentialType
from models.instances import Instance, InstanceGroup, instance_group_instances
from models.inventories import Group, Host, Inventory, group_children, group_hosts
from models.job_templates import JobTemplate
from models.jobs import Job
from models.labels import Label
from models.managed_credential_types import upsert_managed_types
from models.organizations import Organization, Team
from models.projects import Project, ProjectUpdate
from models.unified import JobStatus, unified_job_template_credentials
from models.users import User

SECRETS = Secrets("a secret of the tests")

_numbers = count(1)
Row = TypeVar("Row")


class WrongClock:
    """In place of `models.base.datetime`: this host's clock is wrong by so much."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self._by


def unique(word: str) -> str:
    return f"{word}-{next(_numbers)}"


def _add(session: Session, row: Row, resource_type: str = "") -> Row:
    session.add(row)
    session.flush()
    if resource_type in IMPLIED:
        create_roles(session, resource_type, row.id)  # type: ignore[attr-defined]
    return row


def make_user(session: Session, **over: Any) -> User:
    return _add(session, User(**{"username": unique("user")} | over))


def make_actor(session: Session, **over: Any) -> Actor:
    """A user who may do nothing yet; `is_superuser=True` for one who may do everything."""
    return Actor.of(make_user(session, **over))


def allow(session: Session, actor: Actor, resource_type: str, resource_id: int, role: str) -> None:
    grant(session, actor.id, resource_type, resource_id, role)


def allow_team(session: Session, team: Team, resource_type: str, resource_id: int, role: str) -> None:
    wanted = select(Role.id).where(
        Role.resource_type == resource_type, Role.resource_id == resource_id, Role.role_field == role
    )
    session.execute(insert(role_teams).values(role_id=session.scalars(wanted).one(), team_id=team.id))


def make_organization(session: Session, **over: Any) -> Organization:
    return _add(session, Organization(**{"name": unique("organization")} | over), "organization")


def make_team(session: Session, **over: Any) -> Team:
    if "organization_id" not in over:
        over["organization_id"] = make_organization(session).id
    return _add(session, Team(**{"name": unique("team")} | over), "team")


def make_label(session: Session, **over: Any) -> Label:
    if "organization_id" not in over:
        over["organization_id"] = make_organization(session).id
    return _add(session, Label(**{"name": unique("label")} | over))


def make_inventory(session: Session, hosts: Sequence[str] = (), **over: Any) -> Inventory:
    if "organization_id" not in over:
        over["organization_id"] = make_organization(session).id
    inventory = _add(session, Inventory(**{"name": unique("inventory")} | over), "inventory")
    for name in hosts:
        make_host(session, inventory, name=name)
    return inventory


def make_host(session: Session, inventory: Inventory, **over: Any) -> Host:
    return _add(session, Host(**{"name": unique("host"), "inventory_id": inventory.id} | over))


def make_group(
    session: Session, inventory: Inventory, *, hosts: Sequence[Host] = (), children: Sequence[Group] = (), **over: Any
) -> Group:
    group = _add(session, Group(**{"name": unique("group"), "inventory_id": inventory.id} | over))
    for host in hosts:
        session.execute(insert(group_hosts).values(group_id=group.id, host_id=host.id))
    for child in children:
        session.execute(insert(group_children).values(parent_id=group.id, child_id=child.id))
    return group


def make_project(session: Session, **over: Any) -> Project:
    """A manual project by default, with the playbook that templates run by default."""
    values = {"name": unique("project"), "local_path": unique("path"), "status": "ok", "playbook_files": ["site.yml"]}
    return _add(session, Project(**values | over), "project")


def make_git_project(session: Session, **over: Any) -> Project:
    """One that was updated successfully."""
    values = {
        "scm_type": "git",
        "scm_url": "file:///srv/git/project",
        "scm_revision": "f" * 40,
        "last_updated": now(),
        "status": "successful",
    }
    return make_project(session, **values | over)


def make_template(session: Session, **over: Any) -> JobTemplate:
    """Ready to be launched."""
    if "inventory_id" not in over:
        over["inventory_id"] = make_inventory(session, hosts=["localhost"]).id
    if "project_id" not in over:
        over["project_id"] = make_project(session).id
    return _add(session, JobTemplate(**{"name": unique("template"), "playbook": "site.yml"} | over), "job_template")


def make_job(session: Session, template: JobTemplate | None = None, **over: Any) -> Job:
    """As a launch would write it, without the checks."""
    template = template or make_template(session, allow_simultaneous=True)
    values = {
        "name": template.name,
        "job_template_id": template.id,
        "unified_job_template_id": template.id,
        "inventory_id": template.inventory_id,
        "project_id": template.project_id,
        "playbook": template.playbook,
        "allow_simultaneous": template.allow_simultaneous,
        "status": JobStatus.PENDING,
    }
    return _add(session, Job(**values | over))


def make_update(session: Session, project: Project | None = None, **over: Any) -> ProjectUpdate:
    project = project or make_git_project(session)
    values = {
        "name": project.name,
        "project_id": project.id,
        "unified_job_template_id": project.id,
        "status": JobStatus.PENDING,
    }
    return _add(session, ProjectUpdate(**values | over))


def make_instance_group(session: Session, instances: Sequence[Instance] = (), **over: Any) -> InstanceGroup:
    group = _add(session, InstanceGroup(**{"name": unique("group")} | over), "instance_group")
    for instance in instances:
        session.execute(insert(instance_group_instances).values(instance_group_id=group.id, instance_id=instance.id))
    return group


def make_instance(session: Session, **over: Any) -> Instance:
    """A live one."""
    name = unique("node")
    return _add(session, Instance(**{"hostname": name, "uuid": name, "capacity": 10, "last_seen": now()} | over))


def make_credential_type(session: Session, **over: Any) -> CredentialType:
    values = {
        "name": unique("type"),
        "kind": "cloud",
        "inputs": {"fields": [{"id": "token", "label": "Token", "secret": True}]},
        "injectors": {"env": {"MY_TOKEN": "{{ token }}"}},
    }
    return _add(session, CredentialType(**values | over))


def managed_type(session: Session, namespace: str) -> CredentialType:
    upsert_managed_types(session)
    return session.query(CredentialType).filter_by(namespace=namespace).one()


def make_credential(
    session: Session, kind: CredentialType | str = "ssh", inputs: Mapping[str, Any] | None = None, **over: Any
) -> Credential:
    """`kind` is a type or the namespace of a managed one; secret inputs are stored as the API stores them."""
    if isinstance(kind, str):
        kind = managed_type(session, kind)
    credential = _add(
        session, Credential(**{"name": unique("credential"), "credential_type_id": kind.id} | over), "credential"
    )
    credential.inputs = encrypt_inputs(SECRETS, kind.inputs, credential.id, inputs or {}, {})
    session.flush()
    return credential


def attach(session: Session, template: JobTemplate, *credentials: Credential) -> None:
    for credential in credentials:
        session.execute(
            insert(unified_job_template_credentials).values(
                unified_job_template_id=template.id, credential_id=credential.id
            )
        )


def survey(*questions: dict[str, Any]) -> dict[str, Any]:
    """What `make_template` takes for a template with this survey."""
    return {
        "survey_enabled": True,
        "survey_spec": {
            "name": "",
            "description": "",
            "spec": [{"required": True, "type": "text"} | q for q in questions],
        },
    }
