"""Who may do what: grants, what they imply, and that the filter says the same as the question."""

import pytest
from make import (
    allow,
    allow_team,
    make_actor,
    make_credential,
    make_instance_group,
    make_inventory,
    make_organization,
    make_project,
    make_team,
    make_template,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Forbidden, NotFound
from models.access import IMPLIED, ROLE_NAMES, Actor, Role, grant, has_role, holders, may, require, role_users
from models.inventories import Inventory
from models.organizations import Organization


@pytest.fixture
def actor(session: Session) -> Actor:
    return make_actor(session)


@pytest.fixture
def organization(session: Session) -> Organization:
    return make_organization(session)


def make_object(session: Session, kind: str, organization: Organization) -> int:
    make = {
        "team": make_team,
        "project": make_project,
        "inventory": make_inventory,
        "credential": make_credential,
        "job_template": make_template,
    }
    if kind == "instance_group":
        return make_instance_group(session).id
    id: int = make[kind](session, organization_id=organization.id).id
    return id


def held(session: Session, actor: Actor, kind: str, id: int, organization_id: int | None = None) -> set[str]:
    return {role for role in IMPLIED[kind] if has_role(session, actor, kind, role, id, organization_id)}


# What each role of an object brings, itself included; as in AWX.
OWN = {
    ("team", "admin_role"): {"admin_role", "member_role", "read_role"},
    ("team", "member_role"): {"member_role", "read_role"},
    ("project", "admin_role"): {"admin_role", "use_role", "update_role", "read_role"},
    ("project", "update_role"): {"update_role", "read_role"},
    ("inventory", "admin_role"): {"admin_role", "use_role", "update_role", "adhoc_role", "read_role"},
    ("inventory", "adhoc_role"): {"adhoc_role", "use_role", "read_role"},
    ("inventory", "use_role"): {"use_role", "read_role"},
    ("credential", "use_role"): {"use_role", "read_role"},
    ("job_template", "admin_role"): {"admin_role", "execute_role", "read_role"},
    ("job_template", "execute_role"): {"execute_role", "read_role"},
    ("instance_group", "use_role"): {"use_role", "read_role"},
    ("instance_group", "read_role"): {"read_role"},
}

# What a role of the organization brings on its objects.
THROUGH_ORGANIZATION = {
    ("project", "project_admin_role"): {"admin_role", "use_role", "update_role", "read_role"},
    ("project", "inventory_admin_role"): set(),
    ("inventory", "inventory_admin_role"): {"admin_role", "use_role", "update_role", "adhoc_role", "read_role"},
    ("credential", "credential_admin_role"): {"admin_role", "use_role", "read_role"},
    ("job_template", "job_template_admin_role"): {"admin_role", "execute_role", "read_role"},
    ("job_template", "execute_role"): {"execute_role", "read_role"},
    ("job_template", "auditor_role"): {"read_role"},
    ("job_template", "member_role"): set(),
    ("team", "admin_role"): {"admin_role", "member_role", "read_role"},
    ("credential", "admin_role"): {"admin_role", "use_role", "read_role"},
}


class TestImplications:
    @pytest.mark.parametrize(("kind", "role"), OWN)
    def test_of_roles_on_the_object(
        self, session: Session, actor: Actor, organization: Organization, kind: str, role: str
    ) -> None:
        id, other = (make_object(session, kind, organization) for _ in range(2))

        allow(session, actor, kind, id, role)

        assert held(session, actor, kind, id, organization.id) == OWN[kind, role]
        assert held(session, actor, kind, other, organization.id) == set()

    @pytest.mark.parametrize(("kind", "role"), THROUGH_ORGANIZATION)
    def test_of_roles_on_the_organization(
        self, session: Session, actor: Actor, organization: Organization, kind: str, role: str
    ) -> None:
        allow(session, actor, "organization", organization.id, role)
        id = make_object(session, kind, organization)

        assert held(session, actor, kind, id, organization.id) == THROUGH_ORGANIZATION[kind, role]
        assert held(session, actor, kind, id, make_organization(session).id) == set()
        assert held(session, actor, kind, id, None) == set()

    def test_every_role_of_an_organization_reads_it(self, session: Session, organization: Organization) -> None:
        for role in IMPLIED["organization"]:
            actor = make_actor(session)
            allow(session, actor, "organization", organization.id, role)
            everything = set(IMPLIED["organization"]) if role == "admin_role" else {role, "read_role"}
            assert held(session, actor, "organization", organization.id) == everything

    def test_every_role_has_a_name(self) -> None:
        assert {role for table in IMPLIED.values() for role in table} <= set(ROLE_NAMES)


class TestTeams:
    def test_members_hold_what_their_team_holds(self, session: Session, actor: Actor) -> None:
        team, template = make_team(session), make_template(session)
        allow_team(session, team, "job_template", template.id, "execute_role")
        assert not has_role(session, actor, "job_template", "read_role", template.id)

        allow(session, actor, "team", team.id, "member_role")

        assert has_role(session, actor, "job_template", "execute_role", template.id)

    def test_reading_a_team_is_not_being_in_it(self, session: Session, actor: Actor) -> None:
        team, template = make_team(session), make_template(session)
        allow_team(session, team, "job_template", template.id, "execute_role")

        allow(session, actor, "team", team.id, "read_role")

        assert not has_role(session, actor, "job_template", "read_role", template.id)

    def test_teams_in_teams_also_in_a_circle(self, session: Session, actor: Actor) -> None:
        outer, inner, template = make_team(session), make_team(session), make_template(session)
        allow_team(session, inner, "team", outer.id, "member_role")
        allow_team(session, outer, "team", inner.id, "member_role")
        allow_team(session, outer, "job_template", template.id, "admin_role")

        allow(session, actor, "team", inner.id, "admin_role")

        assert has_role(session, actor, "job_template", "execute_role", template.id)

    def test_admin_of_the_organization_is_in_all_of_its_teams(self, session: Session, actor: Actor) -> None:
        team, template = make_team(session), make_template(session)
        allow_team(session, team, "job_template", template.id, "execute_role")

        allow(session, actor, "organization", team.organization_id, "admin_role")

        assert has_role(session, actor, "job_template", "execute_role", template.id)

    def test_holders_are_those_who_have_it(self, session: Session, actor: Actor) -> None:
        direct, inner_member, boss, reader = (make_actor(session) for _ in range(4))
        outer, inner, template = make_team(session), make_team(session), make_template(session)
        allow_team(session, outer, "job_template", template.id, "execute_role")
        allow_team(session, inner, "team", outer.id, "member_role")
        allow(session, direct, "job_template", template.id, "execute_role")
        allow(session, actor, "team", outer.id, "member_role")
        allow(session, inner_member, "team", inner.id, "admin_role")
        allow(session, boss, "organization", inner.organization_id, "admin_role")
        allow(session, reader, "team", outer.id, "read_role")

        of_template = select(Role.id).where(Role.resource_type == "job_template", Role.resource_id == template.id)

        assert set(session.scalars(holders(of_template))) == {direct.id, actor.id, inner_member.id, boss.id}


class TestWhole:
    def test_superuser_may_everything(self, session: Session) -> None:
        root = make_actor(session, is_superuser=True)

        assert held(session, root, "project", make_project(session).id) == set(IMPLIED["project"])

    def test_auditor_reads_everything_and_nothing_more(self, session: Session) -> None:
        auditor = make_actor(session, is_system_auditor=True)

        assert held(session, auditor, "project", make_project(session).id) == {"read_role"}

    def test_filter_finds_what_the_question_affirms(self, session: Session, actor: Actor) -> None:
        mine, theirs, ours = (make_inventory(session) for _ in range(3))
        allow(session, actor, "inventory", mine.id, "use_role")
        allow(session, actor, "organization", ours.organization_id, "inventory_admin_role")

        condition = may(actor, "inventory", "use_role", Inventory.id, Inventory.organization_id)

        assert set(session.scalars(select(Inventory.id).where(condition))) == {mine.id, ours.id}
        for row in (mine, theirs, ours):
            answer = has_role(session, actor, "inventory", "use_role", row.id, row.organization_id)
            assert answer is (row is not theirs)

    def test_unseen_is_not_there_and_seen_is_forbidden(self, session: Session, actor: Actor) -> None:
        project = make_project(session)
        with pytest.raises(NotFound):
            require(session, actor, "project", "update_role", project.id)

        allow(session, actor, "project", project.id, "read_role")
        with pytest.raises(Forbidden):
            require(session, actor, "project", "update_role", project.id)

        allow(session, actor, "project", project.id, "update_role")
        require(session, actor, "project", "update_role", project.id)

    def test_granting_twice_or_to_nobody_is_harmless(self, session: Session, actor: Actor) -> None:
        project = make_project(session)
        for _ in range(2):
            allow(session, actor, "project", project.id, "use_role")
        grant(session, actor.id, "project", 2**30, "use_role")

        assert len(session.execute(select(role_users).where(role_users.c.user_id == actor.id)).all()) == 1
