"""The first start: everything that clients expect is there, once, and later starts change nothing."""

import pytest
from make import SECRETS
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db import Database
from core.settings import Settings
from models.access import Actor
from models.bootstrap import ensure_first_rows
from models.credentials import Credential, CredentialType
from models.environments import ExecutionEnvironment
from models.instances import InstanceGroup
from models.inventories import Host, Inventory
from models.job_templates import JobTemplate
from models.launch import launch_job
from models.launch_form import launch_data
from models.organizations import Organization
from models.projects import Project
from models.settings import get_setting
from models.system_jobs import SystemJobTemplate
from models.users import check_password, find_user

TABLES = (
    Organization,
    Credential,
    CredentialType,
    Inventory,
    Host,
    Project,
    JobTemplate,
    SystemJobTemplate,
    InstanceGroup,
    ExecutionEnvironment,
)


@pytest.fixture(scope="module")
def database(own_database: Database) -> Database:
    """An installation of its own: what other tests have committed to the shared one would make this no first start."""
    return own_database


def test_everything_that_must_exist_does(session: Session) -> None:
    password = ensure_first_rows(session, Settings(admin_password=None))

    assert password is not None
    assert check_password(find_user(session, "admin"), password)
    for table, *names in (
        (Organization, "Default"),
        (Credential, "Ansible Galaxy", "Demo Credential"),
        (Inventory, "Demo Inventory"),
        (Host, "localhost"),
        (Project, "Demo Project"),
        (JobTemplate, "Demo Job Template"),
        (InstanceGroup, "default"),
        (
            SystemJobTemplate,
            "Cleanup Job Details",
            "Cleanup Activity Stream",
            "Cleanup Expired Sessions",
            "Cleanup Expired OAuth 2 Tokens",
        ),
    ):
        assert set(names) <= set(session.scalars(select(table.name)))
    assert session.scalar(select(func.count(ExecutionEnvironment.id))) == 1
    assert get_setting(session, "INSTALL_UUID")


def test_later_starts_change_nothing(session: Session) -> None:
    ensure_first_rows(session, Settings(admin_password="given"))
    counts = [session.scalar(select(func.count(table.id))) for table in TABLES]
    uuid = get_setting(session, "INSTALL_UUID")
    session.delete(session.scalars(select(JobTemplate).where(JobTemplate.name == "Demo Job Template")).one())
    session.flush()
    counts[TABLES.index(JobTemplate)] = (counts[TABLES.index(JobTemplate)] or 0) - 1

    assert ensure_first_rows(session, Settings(admin_password="other")) is None

    assert [session.scalar(select(func.count(table.id))) for table in TABLES] == counts
    assert get_setting(session, "INSTALL_UUID") == uuid
    assert check_password(find_user(session, "admin"), "given")


def test_the_demo_can_be_launched_as_it_is(session: Session) -> None:
    ensure_first_rows(session, Settings(admin_password="given"))
    template = session.scalars(select(JobTemplate).where(JobTemplate.name == "Demo Job Template")).one()
    admin = find_user(session, "admin")
    assert admin is not None

    assert launch_data(session, template)["can_start_without_user_input"]
    assert launch_job(session, SECRETS, Actor.of(admin), template, {}).job.status == "pending"
