"""Credentials and their types. What is secret goes in encrypted and never comes out."""

from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, func, literal, literal_column, select, text, union_all
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from api.call import Call
from api.rest.fields import Boolean, Choice, Computed, ForeignKey, Json, String, choices
from api.rest.permissions import anyone, no_route_yet, role, superuser
from api.rest.resource import Children, Resource
from api.rest.source import Source
from api.rest.sqljson import json_list, json_pairs, key
from api.rest.writer import Change
from api.v2.runs import refuse_while_running
from api.v2.shared import DESCRIPTION, NAME, organization_field
from core.crypto import PREFIX
from core.errors import Forbidden, Invalid
from models.access import Actor, Role, grant, has_role, role_teams, role_users
from models.credential_inputs import check_injectors, check_inputs, check_schema, encrypt_inputs
from models.credentials import Credential, CredentialType
from models.jobs import Job
from models.organizations import Organization, Team
from models.projects import Project, ProjectUpdate
from models.unified import UnifiedJob, unified_job_credentials, unified_job_template_credentials
from models.users import User

admin = role("credential", "admin_role")


# Credential types


def _validate_type(change: Change) -> None:
    before: CredentialType | None = change.before
    if before is not None and before.managed:
        raise Forbidden("Modifications not allowed for managed credential types")
    if before is not None and change.changes("inputs") and _in_use(change.call, before.id):
        raise Forbidden("Modifications to inputs are not allowed for credential types that are in use")
    inputs, injectors = change.get("inputs") or {}, change.get("injectors") or {}
    for message in check_schema(inputs):
        change.fail("inputs", message)
    if not change.errors:
        for message in check_injectors(inputs, injectors):
            change.fail("injectors", message)


def _in_use(call: Call, type_id: int) -> bool:
    using = select(Credential.id).where(Credential.credential_type_id == type_id).limit(1)
    return call.session.scalar(using) is not None


def _remove_type(call: Call, kind: CredentialType) -> None:
    if kind.managed:
        raise Forbidden("Deletion not allowed for managed credential types")
    if _in_use(call, kind.id):
        raise Forbidden("Credential types that are in use cannot be deleted")


def _own_type(actor: Actor, row: Source) -> ColumnElement[bool]:
    return row.col("managed").is_(False) & superuser(actor, row)


credential_types = Resource(
    "credential_types",
    "credential_type",
    CredentialType,
    (
        NAME,
        DESCRIPTION,
        Choice("kind", required=True, choices=choices(("net", "Network"), ("cloud", "Cloud"))),
        String("namespace", read_only=True),
        Boolean("managed", read_only=True),
        Json("inputs", default=dict, filterable=False, help_text="Which fields credentials of this type have."),
        Json("injectors", default=dict, filterable=False, help_text="How a run gets them."),
    ),
    description="Credential types say which fields a credential has and how a run gets them.",
    read=anyone,
    change=superuser,
    delete=superuser,
    create_in="",
    capabilities={"edit": _own_type, "delete": _own_type},
    sublists=(Children("credentials", "credentials", by="credential_type"),),
    order=("kind", "name"),
    unique=("name", "kind"),
    named_url=(("name", "kind"),),
    validate=_validate_type,
    remove=_remove_type,
)


# Credentials


def _of_type(column: str) -> Any:
    """A column of the credential's type."""

    def expression(row: Source) -> ColumnElement[Any]:
        kind = CredentialType.__table__.alias()
        return select(kind.c[column]).where(kind.c.id == row.col("credential_type_id")).scalar_subquery()

    return expression


def _shown_inputs(row: Source) -> ColumnElement[Any]:
    """The inputs with every encrypted value masked: ciphertext does not leave the database."""
    entry = func.jsonb_each(row.col("inputs")).table_valued("key", "value").lateral()
    encrypted = entry.c.value.op("#>>", return_type=Text())(text("'{}'")).startswith(PREFIX, autoescape=True)
    masked = literal_column("'\"$encrypted$\"'::jsonb", JSONB)
    shown = func.jsonb_object_agg(entry.c.key, case((encrypted, masked), else_=cast(entry.c.value, JSONB)))
    return select(func.coalesce(shown, literal_column("'{}'::jsonb", JSONB))).select_from(entry).scalar_subquery()


def _owners(row: Source, _actor: Actor) -> ColumnElement[Any]:
    """The organization, the users and the teams that the credential belongs to."""
    organization, team, user = Organization.__table__.alias(), Team.__table__.alias(), User.__table__.alias()
    role_row, held, held_by_team = Role.__table__.alias(), role_users.alias(), role_teams.alias()
    admins = (
        role_row.c.resource_type == "credential",
        role_row.c.resource_id == row.id,
        role_row.c.role_field == "admin_role",
    )
    found = union_all(
        select(
            key("organization").label("type"), key("organizations").label("path"),
            organization.c.id, organization.c.name, organization.c.description,
        )
        .where(organization.c.id == row.col("organization_id"))
        .correlate_except(organization),
        select(key("user"), key("users"), user.c.id, user.c.username, key(""))
        .select_from(role_row.join(held, held.c.role_id == role_row.c.id).join(user, user.c.id == held.c.user_id))
        .where(*admins)
        .correlate_except(role_row, held, user),
        select(key("team"), key("teams"), team.c.id, team.c.name, team.c.description)
        .select_from(
            role_row.join(held_by_team, held_by_team.c.role_id == role_row.c.id).join(
                team, team.c.id == held_by_team.c.team_id
            )
        )
        .where(*admins)
        .correlate_except(role_row, held_by_team, team),
    ).subquery()  # fmt: skip
    shown = json_pairs(
        {
            "id": found.c.id,
            "name": found.c.name,
            "description": found.c.description,
            "type": found.c.type,
            "url": func.concat(key("/api/v2/"), found.c.path, key("/"), found.c.id, key("/")),
        }
    )
    return cast(select(json_list(shown, found.c.type, found.c.id)).scalar_subquery(), Text)


def _validate(change: Change) -> None:
    if change.before is None:
        _check_owner(change)
    kind = change.call.session.get(CredentialType, change.get("credential_type"))
    assert kind is not None
    stored: dict[str, Any] = {} if change.before is None else dict(change.before.inputs)
    if change.before is not None and change.changes("credential_type") and _is_used(change.call, change.before.id):
        change.fail(
            "credential_type",
            "You cannot change the credential type of the credential, as it may break the functionality of the "
            "resources using it.",
        )
    if "inputs" not in change.values:
        return
    inputs = change.values["inputs"]
    for message in check_inputs(kind.inputs, inputs, stored):
        change.fail("inputs", message)
    if kind.kind == "vault" and stored.get("vault_id") and inputs.get("vault_id") != stored["vault_id"]:
        change.fail("inputs", "vault_id: Vault IDs cannot be changed once they have been created.")
    if change.errors:
        return
    # A ciphertext is bound to its row, so the row gets its id before it is written.
    if change.before is None:
        sequence = func.pg_get_serial_sequence("credentials", "id")
        change.values["id"] = change.call.session.scalar(select(func.nextval(sequence)))
    credential_id = change.get("id")
    change.values["inputs"] = encrypt_inputs(change.call.services.secrets, kind.inputs, credential_id, inputs, stored)


def _check_owner(change: Change) -> None:
    """One owner: a user, a team or an organization. Raises Invalid, Forbidden."""
    owners = [name for name in ("user", "team", "organization") if change.values.get(name) is not None]
    if not owners:
        raise Invalid("Missing 'user', 'team', or 'organization'.")
    if len(owners) > 1:
        received = ", ".join(owners)
        raise Invalid(f"Only one of 'user', 'team', or 'organization' should be provided, received {received} fields.")
    actor, session = change.call.actor, change.call.session
    if owners == ["user"] and not (actor.is_superuser or change.values["user"] == actor.id):
        raise Forbidden()
    if owners == ["team"]:
        team = session.get(Team, change.values["team"])
        assert team is not None
        if not has_role(session, actor, "team", "admin_role", team.id, team.organization_id):
            raise Forbidden()
        change.values["organization"] = team.organization_id


def _is_used(call: Call, credential_id: int) -> bool:
    pairs = unified_job_template_credentials.c
    by_template = select(pairs.credential_id).where(pairs.credential_id == credential_id)
    by_project = select(Project.credential_id).where(Project.credential_id == credential_id)
    return call.session.scalar(union_all(by_template, by_project).limit(1)) is not None


def _remove(call: Call, credential: Credential) -> None:
    """Runs read it when they start: one that waits would start without it, and nobody would know. A job needs that of
    its project too, where its host lacks the revision."""
    pairs, job, update = unified_job_credentials.c, Job.__table__.c, ProjectUpdate.__table__.c
    projects = select(Project.id).where(Project.credential_id == credential.id)
    using = union_all(
        select(pairs.unified_job_id).where(pairs.credential_id == credential.id),
        select(update.id).where(update.credential_id == credential.id),
        select(job.id).where(job.project_id.in_(projects)),
    )
    refuse_while_running(call, UnifiedJob.id.in_(using))


def _saved(change: Change) -> None:
    """The owner may do with it what owners may."""
    if change.before is not None:
        return
    session, credential = change.call.session, change.object
    if change.values.get("user") is not None:
        grant(session, change.values["user"], "credential", credential.id, "admin_role")
    if change.values.get("team") is not None:
        use = select(Role.id, literal(int(change.values["team"]))).where(
            Role.resource_type == "credential", Role.resource_id == credential.id, Role.role_field == "use_role"
        )
        session.execute(upsert(role_teams).from_select(["role_id", "team_id"], use).on_conflict_do_nothing())


credentials = Resource(
    "credentials",
    "credential",
    Credential,
    (
        NAME,
        DESCRIPTION,
        organization_field("credential_admin_role"),
        ForeignKey("credential_type", target="credential_types", required=True),
        Boolean("managed", read_only=True),
        Json("inputs", default=dict, expression=_shown_inputs, filterable=False, help_text="As the type says."),
        Computed("kind", expression=_of_type("namespace")),
        Computed("cloud", expression=lambda row: _of_type("kind")(row) == "cloud"),
        Computed("kubernetes", expression=lambda row: _of_type("kind")(row) == "kubernetes"),
        ForeignKey("user", target="users", nullable=True, write_only=True, help_text="Make this user the owner."),
        ForeignKey("team", target="teams", nullable=True, write_only=True, help_text="Make this team the owner."),
    ),
    description="Credentials are what runs sign in with.",
    read=role("credential", "read_role"),
    change=admin,
    delete=admin,
    may_create=lambda _call: True,  # everybody may own credentials; who may give them to others is checked
    capabilities={"edit": admin, "delete": admin, "copy": no_route_yet, "use": role("credential", "use_role")},
    summary=("id", "name", "description", "kind", "cloud", "kubernetes", "credential_type_id"),
    summaries={"owners": _owners},
    order=("name",),
    unique=("organization", "name", "credential_type"),
    named_url=(("name",), ("credential_type__name", "credential_type__kind"), ("organization__name",)),
    validate=_validate,
    saved=_saved,
    remove=_remove,
)
