"""Organizations: who owns things."""

from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select

from api.call import Call
from api.rest.fields import ForeignKey, Integer
from api.rest.permissions import role, superuser
from api.rest.resource import Attached, Children, Resource
from api.rest.source import Source
from api.rest.sqljson import json_object
from api.v2.runs import refuse_while_running
from api.v2.shared import DESCRIPTION, NAME, ansible_resource, custom_virtualenv
from core.errors import Invalid
from models.access import Actor, Role, role_users
from models.credentials import Credential, CredentialType
from models.inventories import Host, Inventory
from models.organizations import (
    Organization,
    Team,
    organization_galaxy_credentials,
    organization_instance_groups,
)
from models.unified import UnifiedJob, UnifiedJobTemplate

admin = role("organization", "admin_role", organization=None)


def related_field_counts(row: Source, _actor: Actor) -> ColumnElement[Any]:
    """How much of what belongs to the organization."""
    inventory, host = Inventory.__table__.alias(), Host.__table__.alias()
    in_inventories = select(inventory.c.id).where(inventory.c.organization_id == row.id).correlate_except(inventory)
    return json_object(
        {
            "inventories": _count(Inventory.__table__, row),
            "teams": _count(Team.__table__, row),
            "users": _members(row, "member_role"),
            "admins": _members(row, "admin_role"),
            "job_templates": _templates(row, "job_template"),
            "projects": _templates(row, "project"),
            "hosts": select(func.count()).where(host.c.inventory_id.in_(in_inventories)).scalar_subquery(),
        }
    )


def _count(table: Any, row: Source) -> ColumnElement[int]:
    owned: Table = table
    counted = owned.alias()
    return select(func.count()).where(counted.c.organization_id == row.id).scalar_subquery()


def _templates(row: Source, kind: str) -> ColumnElement[int]:
    template = UnifiedJobTemplate.__table__.alias()
    return select(func.count()).where(template.c.organization_id == row.id, template.c.type == kind).scalar_subquery()


def _members(row: Source, field: str) -> ColumnElement[int]:
    held, role_row = role_users.alias(), Role.__table__.alias()
    return (
        select(func.count())
        .select_from(held.join(role_row, role_row.c.id == held.c.role_id))
        .where(
            role_row.c.resource_type == "organization",
            role_row.c.resource_id == row.id,
            role_row.c.role_field == field,
        )
        .scalar_subquery()
    )


def _remove(call: Call, organization: Organization) -> None:
    """Its inventories and teams go with it, so their roles go as well."""
    refuse_while_running(call, UnifiedJob.organization_id == organization.id)
    for kind, owned in (("inventory", Inventory), ("team", Team)):
        ids = select(owned.id).where(owned.organization_id == organization.id)
        gone = delete(Role).where(Role.resource_type == kind, Role.resource_id.in_(ids))
        call.session.execute(gone.execution_options(synchronize_session=False))


def _check_galaxy(call: Call, _organization: int, credential: int) -> None:
    """Raises Invalid for what holds no access to a Galaxy server."""
    kind, name = call.session.execute(
        select(CredentialType.kind, CredentialType.name)
        .join(Credential, Credential.credential_type_id == CredentialType.id)
        .where(Credential.id == credential)
    ).one()
    if kind != "galaxy":
        raise Invalid(fields={"msg": [f"Credential must be a galaxy credential, not {name}."]})


organizations = Resource(
    "organizations",
    "organization",
    Organization,
    (
        NAME,
        DESCRIPTION,
        Integer("max_hosts", default=0, min_value=0, help_text="Maximum number of hosts; 0 means no limit."),
        custom_virtualenv(),
        ForeignKey("default_environment", target="execution_environments", nullable=True, link=False),
    ),
    description="Organizations own projects, inventories, credentials and job templates.",
    read=role("organization", "read_role", organization=None),
    change=admin,
    delete=admin,
    create_in="",
    capabilities={"edit": admin, "delete": admin},
    summaries={"resource": ansible_resource("organization"), "related_field_counts": related_field_counts},
    sublists=(
        Children("projects", "projects", by="organization"),
        Children("inventories", "inventories", by="organization"),
        Children("job_templates", "job_templates", by="organization", create=False),
        Children("credentials", "credentials", by="organization"),
        Children("teams", "teams", by="organization"),
        Children("execution_environments", "execution_environments", by="organization"),
        Attached(
            "instance_groups",
            "instance_groups",
            table=organization_instance_groups,
            pair=("organization_id", "instance_group_id"),
            may=superuser,
            ordered=True,
        ),
        Attached(
            "galaxy_credentials",
            "credentials",
            table=organization_galaxy_credentials,
            pair=("organization_id", "credential_id"),
            use="use_role",
            check=_check_galaxy,
            ordered=True,
        ),
    ),
    order=("name",),
    unique=("name",),
    named_url=(("name",),),
    remove=_remove,
)
