"""Execution environments: the images that runs may be isolated in."""

from api.rest.fields import Boolean, Choice, ForeignKey, String, choices
from api.rest.permissions import both, either, no_route_yet, role, where
from api.rest.resource import Children, Resource
from api.rest.writer import Change
from api.v2.shared import DESCRIPTION, NAME, organization_field
from core.errors import Forbidden
from models.environments import ExecutionEnvironment

PULL = choices(
    ("always", "Always pull container before running."),
    ("missing", "Only pull the image if not present before running."),
    ("never", "Never pull container before running."),
)
ROLE = "execution_environment_admin_role"
administered = role("organization", ROLE, id="organization_id", organization=None)


def _validate(change: Change) -> None:
    if change.before is not None and change.before.managed and change.changes("image"):
        raise Forbidden()


execution_environments = Resource(
    "execution_environments",
    "execution_environment",
    ExecutionEnvironment,
    (
        NAME,
        DESCRIPTION,
        organization_field(ROLE),
        String("image", required=True, blank=False, max_length=1024, help_text="The full image location."),
        Boolean("managed", read_only=True),
        ForeignKey("credential", target="credentials", use="use_role", nullable=True),
        Choice("pull", choices=PULL, blank=True, default="", help_text="Pull image before running?"),
    ),
    description="Execution environments are images that runs are isolated in.",
    read=either(
        where(lambda row: row.col("organization_id").is_(None)),
        role("organization", "read_role", id="organization_id", organization=None),
    ),
    change=administered,
    delete=both(administered, where(lambda row: row.col("managed").is_(False))),
    create_in="organization",
    capabilities={"edit": administered, "delete": administered, "copy": no_route_yet},
    summary=("id", "name", "description", "image"),
    sublists=(Children("unified_job_templates", "unified_job_templates", by="execution_environment", create=False),),
    search=("name", "description"),
    order=("-created",),
    unique=("name",),
    named_url=(("name",),),
    validate=_validate,
)
