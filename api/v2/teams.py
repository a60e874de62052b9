"""Teams: users who act together."""

from api.rest.permissions import role
from api.rest.resource import Resource
from api.v2.shared import DESCRIPTION, NAME, ansible_resource, organization_field
from models.organizations import Team

admin = role("team", "admin_role")

teams = Resource(
    "teams",
    "team",
    Team,
    (NAME, DESCRIPTION, organization_field("admin_role", required=True)),
    description="Teams are users who are granted roles together.",
    read=role("team", "read_role"),
    change=admin,
    delete=admin,
    create_in="organization",
    capabilities={"edit": admin, "delete": admin},
    summaries={"resource": ansible_resource("team")},
    order=("organization__name", "name"),
    unique=("name", "organization"),
    named_url=(("name",), ("organization__name",)),
)
