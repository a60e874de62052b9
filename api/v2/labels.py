"""Labels: free words on templates, jobs and inventories."""

from api.rest.permissions import role, through
from api.rest.resource import Resource
from api.v2.shared import NAME, organization_field
from models.labels import Label
from models.organizations import Organization

members = through("organization_id", Organization, role("organization", "member_role", organization=None))

labels = Resource(
    "labels",
    "label",
    Label,
    (NAME, organization_field("member_role", required=True)),
    description="Labels mark templates, jobs and inventories.",
    read=through("organization_id", Organization, role("organization", "read_role", organization=None)),
    change=members,
    create_in="organization",
    summary=("id", "name"),
    search=("name",),
    order=("organization__name", "name"),
    unique=("name", "organization"),
    named_url=(("name",), ("organization__name",)),
)
