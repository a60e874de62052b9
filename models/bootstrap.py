"""What exists after the first start: what clients expect to find, and a demo that runs. Never changes what is there."""

import secrets as random
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from core.settings import Settings
from models.access import create_roles, grant
from models.base import now
from models.credentials import Credential, CredentialType
from models.environments import ExecutionEnvironment
from models.instances import InstanceGroup
from models.inventories import Host, Inventory
from models.job_templates import JobTemplate
from models.managed_credential_types import upsert_managed_types
from models.organizations import Organization, organization_galaxy_credentials
from models.projects import Project
from models.settings import Setting
from models.system_jobs import SystemJobTemplate
from models.unified import unified_job_template_credentials
from models.users import User, create_user

ADMIN = "admin"
DEMO_TEMPLATE = "Demo Job Template"
DEMO_PROJECT_DIR = "demo_project"
DEMO_PLAYBOOK = "hello_world.yml"
SYSTEM_JOBS = {
    "cleanup_jobs": ("Cleanup Job Details", "Remove job history"),
    "cleanup_activitystream": ("Cleanup Activity Stream", "Remove activity stream history"),
    "cleanup_sessions": ("Cleanup Expired Sessions", "Cleans out expired browser sessions"),
    "cleanup_tokens": ("Cleanup Expired OAuth 2 Tokens", "Cleanup expired OAuth 2 access and refresh tokens"),
}


def ensure_first_rows(session: Session, settings: Settings) -> str | None:
    """Create what a new installation starts with. Returns the admin's generated password, once; None if there are users
    already or the password was given. The caller commits."""
    upsert_managed_types(session)
    _ensure_setting(session, "INSTALL_UUID", str(uuid.uuid4()))
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    password = settings.admin_password or random.token_urlsafe(12)
    admin = create_user(session, ADMIN, password, is_superuser=True)
    _new(session, "instance_group", InstanceGroup(name="default"))
    organization = _new(session, "organization", Organization(name="Default", created_by_id=admin.id))
    grant(session, admin.id, "organization", organization.id, "admin_role")
    session.add(ExecutionEnvironment(name="Default execution environment", image="local", managed=True))
    for job_type, (name, description) in SYSTEM_JOBS.items():
        session.add(SystemJobTemplate(name=name, description=description, job_type=job_type))
    _demo(session, organization, admin)
    return None if settings.admin_password else password


def _demo(session: Session, organization: Organization, admin: User) -> None:
    own: dict[str, Any] = {"organization_id": organization.id, "created_by_id": admin.id}
    galaxy = Credential(
        name="Ansible Galaxy",
        created_by_id=admin.id,
        credential_type_id=_type(session, "galaxy_api_token"),
        managed=True,
        inputs={"url": "https://galaxy.ansible.com/"},
    )
    _new(session, "credential", galaxy)
    session.execute(
        organization_galaxy_credentials.insert().values(organization_id=organization.id, credential_id=galaxy.id)
    )
    machine = Credential(
        name="Demo Credential",
        created_by_id=admin.id,
        credential_type_id=_type(session, "ssh"),
        inputs={"username": "admin"},
    )
    _new(session, "credential", machine)
    grant(session, admin.id, "credential", machine.id, "admin_role")
    inventory = _new(session, "inventory", Inventory(name="Demo Inventory", **own))
    local = 'ansible_connection: local\nansible_python_interpreter: "{{ ansible_playbook_python }}"'
    session.add(Host(name="localhost", inventory_id=inventory.id, variables=local, created_by_id=admin.id))
    project = Project(
        name="Demo Project", local_path=DEMO_PROJECT_DIR, status="ok", playbook_files=[DEMO_PLAYBOOK], **own
    )
    _new(session, "project", project)
    template = JobTemplate(
        name=DEMO_TEMPLATE,
        inventory_id=inventory.id,
        project_id=project.id,
        playbook=DEMO_PLAYBOOK,
        **own,
    )
    _new(session, "job_template", template)
    session.execute(
        unified_job_template_credentials.insert().values(unified_job_template_id=template.id, credential_id=machine.id)
    )


def _new(session: Session, resource_type: str, row: Any) -> Any:
    session.add(row)
    session.flush()
    create_roles(session, resource_type, row.id)
    return row


def _type(session: Session, namespace: str) -> int:
    return session.scalars(select(CredentialType.id).where(CredentialType.namespace == namespace)).one()


def _ensure_setting(session: Session, key: str, value: Any) -> None:
    session.execute(
        upsert(Setting).values(key=key, value=value, modified=now()).on_conflict_do_nothing(index_elements=["key"])
    )
