"""Users over the API: who sees and changes whom, and that passwords only ever go in."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
import pytest
from make import (
    allow_team,
    make_credential,
    make_credential_type,
    make_inventory,
    make_project,
    make_team,
    make_template,
)

from core.db import Database
from models.access import create_roles, grant
from models.organizations import Organization, Team
from models.settings import Setting
from models.users import User
from tests.api.world import World, new_name

MakeUser = Callable[..., User]
MakeClient = Callable[..., httpx.Client]


@pytest.fixture
def make_organization(database: Database) -> Callable[..., int]:
    """`make_organization("name", member_role=[user], ...)` -> id."""

    def make(name: str, **roles: list[User]) -> int:
        with database.transaction() as session:
            organization = Organization(name=name)
            session.add(organization)
            session.flush()
            create_roles(session, "organization", organization.id)
            for role, users in roles.items():
                for user in users:
                    grant(session, user.id, "organization", organization.id, role)
            return organization.id

    return make


def url(user: User) -> str:
    return f"/api/v2/users/{user.id}/"


class TestMe:
    def test_is_a_list_of_the_caller(self, make_client: MakeClient, make_user: MakeUser) -> None:
        user = make_user(email="me@example.com")

        body = make_client(user).get("/api/v2/me/").json()

        assert (body["count"], body["next"], body["previous"]) == (1, None, None)
        [shown] = body["results"]
        assert shown["username"] == user.username
        assert shown["related"]["personal_tokens"] == f"{url(user)}personal_tokens/"
        assert shown["related"]["named_url"] == f"/api/v2/users/{user.username}/"
        assert shown["summary_fields"]["user_capabilities"] == {"edit": True, "delete": False}
        assert shown["auth"] == []
        assert list(shown)[5:] == [
            *("created", "modified", "username", "first_name", "last_name", "email", "is_superuser"),
            *("is_system_auditor", "password", "ldap_dn", "last_login", "external_account", "auth"),
        ]

    def test_describes_itself(self, make_client: MakeClient, make_user: MakeUser) -> None:
        answer = make_client(make_user()).options("/api/v2/me/")

        assert list(answer.json()["actions"]) == ["GET"]
        assert answer.json()["types"] == ["user"]


class TestCreate:
    def test_a_user_who_can_then_sign_in(self, admin: httpx.Client, anonymous: httpx.Client) -> None:
        answer = admin.post("/api/v2/users/", json={"username": "grace", "password": " hopper ", "last_name": "H"})

        assert answer.status_code == 201
        assert answer.json()["password"] == "$encrypted$"
        assert anonymous.get("/api/v2/me/", auth=("grace", " hopper ")).json()["results"][0]["last_name"] == "H"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"password": "x"}, "username"),
            ({"username": "nopass"}, "password"),
            ({"username": "nopass", "password": "$encrypted$"}, "password"),
            ({"username": "", "password": "x"}, "username"),
            ({"username": "x" * 151, "password": "x"}, "username"),
            ({"username": "bad", "password": "x", "email": "no address"}, "email"),
            ({"username": "bad", "password": ["x"]}, "password"),
        ],
    )
    def test_bad_input_is_refused(self, admin: httpx.Client, body: dict[str, object], field: str) -> None:
        answer = admin.post("/api/v2/users/", json=body)

        assert (answer.status_code, list(answer.json())) == (400, [field])

    def test_a_taken_name_is_refused(self, admin: httpx.Client, make_user: MakeUser) -> None:
        answer = admin.post("/api/v2/users/", json={"username": make_user().username, "password": "x"})

        assert (answer.status_code, list(answer.json())) == (400, ["username"])

    def test_ordinary_users_may_not(self, make_client: MakeClient, make_user: MakeUser) -> None:
        client = make_client(make_user())

        assert client.post("/api/v2/users/", json={"username": "u", "password": "x"}).status_code == 403
        assert "POST" not in client.options("/api/v2/users/").json()["actions"]

    def test_an_organization_admin_may_but_makes_no_superusers(
        self, make_client: MakeClient, make_user: MakeUser, make_organization: Callable[..., int]
    ) -> None:
        boss = make_user()
        make_organization("makers", admin_role=[boss])
        client = make_client(boss)

        assert client.post("/api/v2/users/", json={"username": "made", "password": "x"}).status_code == 201
        body = {"username": "root2", "password": "x", "is_superuser": True}
        assert client.post("/api/v2/users/", json=body).status_code == 403


class TestRead:
    def test_superusers_see_all_others_whom_they_work_with(
        self,
        admin: httpx.Client,
        make_client: MakeClient,
        make_user: MakeUser,
        make_organization: Callable[..., int],
        database: Database,
    ) -> None:
        alone, one, two, mate, boss = (make_user() for _ in range(5))
        make_organization("shared", member_role=[one, two], admin_role=[boss])
        with database.transaction() as session:
            team = Team(name="crew", organization_id=make_organization("elsewhere"))
            session.add(team)
            session.flush()
            create_roles(session, "team", team.id)
            for each in (one, mate):
                grant(session, each.id, "team", team.id, "member_role")

        def seen(client: httpx.Client) -> set[int]:
            found = client.get("/api/v2/users/", params={"page_size": 200}).json()["results"]
            return {each["id"] for each in found}

        assert seen(make_client(alone)) == {alone.id}
        assert seen(make_client(one)) == {one.id, two.id, mate.id, boss.id}
        assert seen(make_client(boss)) >= {alone.id, one.id, mate.id}
        assert seen(admin) >= {alone.id, one.id, two.id, mate.id, boss.id}
        assert make_client(alone).get(url(one)).status_code == 404

    @pytest.mark.parametrize("query", ["password__startswith=$argon", "order_by=password", "search=argon2id"])
    def test_hashes_cannot_be_searched(self, admin: httpx.Client, make_user: MakeUser, query: str) -> None:
        make_user("secret")

        answer = admin.get(f"/api/v2/users/?{query}")

        assert answer.status_code in (400, 403) or answer.json()["count"] == 0
        assert "argon2" not in admin.get("/api/v2/users/?page_size=200").text

    def test_lists_what_belongs_to_a_user(
        self, make_client: MakeClient, make_user: MakeUser, make_organization: Callable[..., int]
    ) -> None:
        user = make_user()
        member, boss = make_organization("m", member_role=[user]), make_organization("b", admin_role=[user])
        client = make_client(user)

        def ids(path: str) -> set[int]:
            return {each["id"] for each in client.get(f"{url(user)}{path}/").json()["results"]}

        assert ids("organizations") == {member, boss}
        assert ids("admin_of_organizations") == {boss}
        assert len(ids("tokens")) == len(ids("personal_tokens")) == 1
        assert ids("authorized_tokens") == set()

    def test_a_user_name_stands_for_an_id(self, admin: httpx.Client, make_user: MakeUser) -> None:
        user = make_user()

        assert admin.get(f"/api/v2/users/{user.username}/").json()["id"] == user.id


class TestAnsibleIds:
    def test_are_uuids_of_one_object_each_and_stay(self, world: World) -> None:
        organization = world.organization()
        team = world.post("teams", name=new_name("team"), organization=organization["id"])
        user = world.user()
        paths = {"organization": "organizations", "team": "teams", "user": "users"}
        ids = {"organization": organization["id"], "team": team["id"], "user": user.id}

        def resource(kind: str) -> dict[str, str]:
            found: dict[str, str] = world.get(f"{paths[kind]}/{ids[kind]}")["summary_fields"]["resource"]
            return found

        shown = {kind: resource(kind) for kind in paths}

        assert [each["resource_type"] for each in shown.values()] == [f"shared.{kind}" for kind in paths]
        assert len({UUID(each["ansible_id"]) for each in shown.values()}) == 3
        assert {kind: resource(kind) for kind in paths} == shown
        mine = world.client(user=user).get("/api/v2/me/").json()["results"][0]
        assert mine["summary_fields"]["resource"] == shown["user"]

    def test_differ_between_installations(self, world: World) -> None:
        user = world.user()

        def ansible_id() -> str:
            found: str = world.get(f"users/{user.id}")["summary_fields"]["resource"]["ansible_id"]
            return found

        before = ansible_id()
        with world.database.transaction() as session:
            session.add(Setting(key="INSTALL_UUID", value=str(uuid4())))
        try:
            assert ansible_id() != before
        finally:
            with world.database.transaction() as session:
                session.delete(session.get_one(Setting, "INSTALL_UUID"))


class TestChange:
    def test_of_ones_own_name_and_password(
        self, make_client: MakeClient, make_user: MakeUser, anonymous: httpx.Client
    ) -> None:
        user = make_user("old")

        answer = make_client(user).patch(url(user), json={"first_name": "Ada", "password": "new"})

        assert (answer.status_code, answer.json()["first_name"]) == (200, "Ada")
        assert anonymous.get("/api/v2/me/", auth=(user.username, "old")).status_code == 401
        assert anonymous.get("/api/v2/me/", auth=(user.username, "new")).status_code == 200

    @pytest.mark.parametrize("password", ["", "$encrypted$"])
    def test_with_the_mask_keeps_the_password(
        self, admin: httpx.Client, make_user: MakeUser, anonymous: httpx.Client, password: str
    ) -> None:
        user = make_user("old")

        assert admin.put(url(user), json={"username": user.username, "password": password}).status_code == 200

        assert anonymous.get("/api/v2/me/", auth=(user.username, "old")).status_code == 200

    def test_of_the_password_ends_other_browsers(self, make_user: MakeUser, make_client: MakeClient) -> None:
        user = make_user("old")
        here, elsewhere = make_client(), make_client()
        for browser in (here, elsewhere):
            browser.post("/api/login/", json={"username": user.username, "password": "old"})

        token = {"X-CSRFToken": here.cookies["csrftoken"]}
        assert here.patch(url(user), json={"password": "new"}, headers=token).status_code == 200

        assert here.get("/api/v2/me/").status_code == 200
        assert elsewhere.get("/api/v2/me/").status_code == 401

    def test_nobody_makes_themselves_a_superuser(self, make_client: MakeClient, make_user: MakeUser) -> None:
        user = make_user()
        client = make_client(user)

        for flag in ("is_superuser", "is_system_auditor"):
            assert client.patch(url(user), json={flag: True}).status_code == 403
        assert client.patch(url(user), json={"is_superuser": False}).status_code == 200

    def test_an_admin_manages_those_of_the_own_organizations_only(
        self, make_client: MakeClient, make_user: MakeUser, make_organization: Callable[..., int]
    ) -> None:
        boss, member, shared, stranger = (make_user() for _ in range(4))
        root = make_user(is_superuser=True)
        make_organization("mine", admin_role=[boss], member_role=[member, shared, root])
        make_organization("theirs", member_role=[shared])
        client = make_client(boss)

        assert client.patch(url(member), json={"first_name": "x"}).status_code == 200
        for other in (shared, stranger, root):
            assert client.patch(url(other), json={"password": "mine now"}).status_code == 403
            assert client.delete(url(other)).status_code == 403
        assert client.delete(url(member)).status_code == 204

    @pytest.mark.parametrize("where", ["project", "team", "through a team", "private credential", "auditor"])
    def test_nobody_with_rights_elsewhere_is_taken_over(
        self,
        make_client: MakeClient,
        make_user: MakeUser,
        make_organization: Callable[..., int],
        database: Database,
        where: str,
    ) -> None:
        boss, user = make_user(), make_user(is_system_auditor=where == "auditor")
        mine = make_organization(f"ours {where}", admin_role=[boss], member_role=[user])
        theirs = make_organization(f"theirs {where}")
        with database.transaction() as session:
            team, other_team = (make_team(session, organization_id=each) for each in (mine, theirs))
            project, other_project = (make_project(session, organization_id=each) for each in (mine, theirs))
            grant(session, user.id, "team", team.id, "member_role")
            grant(session, user.id, "project", project.id, "admin_role")
            allow_team(session, team, "project", project.id, "use_role")
            match where:
                case "project":
                    grant(session, user.id, "project", other_project.id, "use_role")
                case "team":
                    grant(session, user.id, "team", other_team.id, "member_role")
                case "through a team":
                    allow_team(session, team, "project", other_project.id, "use_role")
                case "private credential":
                    private = make_credential(session, make_credential_type(session))
                    grant(session, user.id, "credential", private.id, "admin_role")

        client = make_client(boss)

        assert client.get(url(user)).json()["summary_fields"]["user_capabilities"] == {"edit": False, "delete": False}
        assert client.patch(url(user), json={"password": "mine now"}).status_code == 403
        assert client.delete(url(user)).status_code == 403

    def test_an_admin_manages_those_whose_rights_are_all_in_the_organization(
        self, make_client: MakeClient, make_user: MakeUser, make_organization: Callable[..., int], database: Database
    ) -> None:
        boss, user = make_user(), make_user()
        mine = make_organization("all in one", admin_role=[boss], member_role=[user])
        with database.transaction() as session:
            team, project = make_team(session, organization_id=mine), make_project(session, organization_id=mine)
            inventory = make_inventory(session, organization_id=mine)
            template = make_template(session, project_id=project.id, inventory_id=inventory.id, organization_id=mine)
            credential = make_credential(session, make_credential_type(session), organization_id=mine)
            grant(session, user.id, "team", team.id, "member_role")
            for kind, owned in (("project", project), ("inventory", inventory), ("job_template", template)):
                grant(session, user.id, kind, owned.id, "admin_role")
            allow_team(session, team, "credential", credential.id, "use_role")

        assert make_client(boss).patch(url(user), json={"password": "forgotten"}).status_code == 200

    def test_nobody_deletes_themselves(self, make_client: MakeClient, make_user: MakeUser) -> None:
        user = make_user(is_superuser=True)

        assert make_client(user).delete(url(user)).status_code == 403

    def test_a_deleted_user_is_out(self, admin: httpx.Client, make_client: MakeClient, make_user: MakeUser) -> None:
        user = make_user()
        client = make_client(user)

        assert admin.delete(url(user)).status_code == 204

        assert client.get("/api/v2/me/").status_code == 401
