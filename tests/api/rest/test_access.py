"""Who may do what with the things of one organization, as a table; and that nothing of it reaches another one."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.api.world import PLAYBOOK, World, new_name

# A caller is named for the one role that they have on the organization.
ADMIN, MEMBER, AUDITOR, EXECUTE = "admin_role", "member_role", "auditor_role", "execute_role"
PROJECTS, INVENTORIES = "project_admin_role", "inventory_admin_role"
CREDENTIALS, TEMPLATES = "credential_admin_role", "job_template_admin_role"
ENVIRONMENTS = "execution_environment_admin_role"
STRANGER, OTHER_ADMIN = "nobody", "admin of another organization"
CALLERS = (
    ADMIN, MEMBER, AUDITOR, EXECUTE, PROJECTS, INVENTORIES, CREDENTIALS, TEMPLATES, ENVIRONMENTS, STRANGER, OTHER_ADMIN,
)  # fmt: skip
INSIDERS = set(CALLERS) - {STRANGER, OTHER_ADMIN}


@dataclass(frozen=True)
class Rule:
    read: set[str]
    change: set[str]
    delete: set[str]
    create: set[str]


RULES = {
    "organizations": Rule(INSIDERS, {ADMIN}, {ADMIN}, set()),
    "projects": Rule({ADMIN, AUDITOR, PROJECTS}, {ADMIN, PROJECTS}, {ADMIN, PROJECTS}, {ADMIN, PROJECTS}),
    "inventories": Rule(
        {ADMIN, AUDITOR, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}
    ),
    "hosts": Rule({ADMIN, AUDITOR, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}),
    "groups": Rule({ADMIN, AUDITOR, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}, {ADMIN, INVENTORIES}),
    "credentials": Rule(
        {ADMIN, AUDITOR, CREDENTIALS}, {ADMIN, CREDENTIALS}, {ADMIN, CREDENTIALS}, {ADMIN, CREDENTIALS}
    ),
    # To make a template it takes the use of its project and its inventory.
    "job_templates": Rule({ADMIN, AUDITOR, EXECUTE, TEMPLATES}, {ADMIN, TEMPLATES}, {ADMIN, TEMPLATES}, {ADMIN}),
    "jobs": Rule({ADMIN, AUDITOR, EXECUTE, TEMPLATES}, set(), {ADMIN}, set()),
    "labels": Rule(INSIDERS, {ADMIN, MEMBER}, set(), {ADMIN, MEMBER}),
    "teams": Rule({ADMIN, AUDITOR}, {ADMIN}, {ADMIN}, {ADMIN}),
    "execution_environments": Rule(INSIDERS, {ADMIN, ENVIRONMENTS}, {ADMIN, ENVIRONMENTS}, {ADMIN, ENVIRONMENTS}),
    "credential_types": Rule(set(CALLERS), set(), set(), set()),
    "instance_groups": Rule(set(), set(), set(), set()),
    "instances": Rule(set(), set(), set(), set()),
}


class Estate:
    """An organization, what is in it, and a client for each caller."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.organization = world.organization()["id"]
        self.template = world.template(organization=self.organization)
        self.kind = world.post("credential_types", name=new_name("type"), kind="cloud")["id"]
        other = world.organization()["id"]
        self.clients = {caller: self._client(caller, other) for caller in CALLERS}

    def _client(self, caller: str, other: int) -> httpx.Client:
        if caller == STRANGER:
            return self.world.client()
        if caller == OTHER_ADMIN:
            return self.world.client(("organization", other, ADMIN))
        return self.world.client(("organization", self.organization, caller))

    def body(self, resource: str) -> dict[str, Any]:
        """What makes one more."""
        name, inventory = new_name(resource), self.template["inventory"]
        match resource:
            case "hosts" | "groups":
                return {"name": name, "inventory": inventory}
            case "job_templates":
                return {
                    "name": name,
                    "project": self.template["project"],
                    "inventory": inventory,
                    "playbook": PLAYBOOK,
                }
            case "credentials":
                return {"name": name, "organization": self.organization, "credential_type": self.kind}
            case "execution_environments":
                return {"name": name, "organization": self.organization, "image": "x"}
            case "credential_types":
                return {"name": name, "kind": "net"}
            case "organizations" | "instance_groups":
                return {"name": name}
            case _:
                return {"name": name, "organization": self.organization}

    def make(self, resource: str) -> int:
        """The id of one more."""
        if resource == "jobs":
            return self.world.job(self.template)
        if resource == "organizations":
            return self.organization
        if resource == "instances":
            return self.world.instance()
        made: int = self.world.post(resource, **self.body(resource))["id"]
        return made


@pytest.fixture(scope="module")
def estate(world: World) -> Estate:
    return Estate(world)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("resource", RULES)
def test_what_a_caller_may_do(estate: Estate, resource: str, caller: str) -> None:
    client, rule, object_id = estate.clients[caller], RULES[resource], estate.make(resource)
    url = f"/api/v2/{resource}/{object_id}/"
    readable, changeable, deletable = (caller in who for who in (rule.read, rule.change, rule.delete))
    if resource == "organizations" and deletable:
        estate = Estate(estate.world)
        client, url = estate.clients[caller], f"/api/v2/{resource}/{estate.organization}/"
        object_id = estate.organization

    shown = client.get(url)
    assert shown.status_code == (200 if readable else 404)
    assert client.get(f"/api/v2/{resource}/", params={"id": object_id}).json()["count"] == int(readable)
    assert client.options(url).status_code == 200
    if readable:
        expected = {"edit": changeable, "delete": deletable}
        said = shown.json()["summary_fields"].get("user_capabilities", {})
        assert {key: said[key] for key in expected if key in said} == {
            key: value for key, value in expected.items() if key in said
        }
    if resource != "jobs":
        changed = client.patch(url, json={})
        assert changed.status_code == (200 if changeable else 403 if readable else 404)
        assert ("PUT" in client.options(url).json()["actions"]) == changeable or not readable
    if resource != "labels":
        deleted = client.delete(url)
        assert deleted.status_code in ({204, 202} if deletable else {403} if readable else {404, 405}), deleted.text


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("resource", [name for name in RULES if name not in ("jobs", "instances")])
def test_what_a_caller_may_create(estate: Estate, resource: str, caller: str) -> None:
    answer = estate.clients[caller].post(f"/api/v2/{resource}/", json=estate.body(resource))

    assert answer.status_code == (201 if caller in RULES[resource].create else 403), answer.text


def test_options_offer_post_to_those_who_may(estate: Estate) -> None:
    def offered(caller: str, resource: str) -> bool:
        return "POST" in estate.clients[caller].options(f"/api/v2/{resource}/").json()["actions"]

    assert offered(PROJECTS, "projects")
    assert not offered(MEMBER, "projects")
    assert offered(OTHER_ADMIN, "projects")  # there is an organization for it
    assert not offered(ADMIN, "organizations")


def test_anonymous_callers_see_nothing(estate: Estate, anonymous: httpx.Client) -> None:
    for resource in RULES:
        for method in ("GET", "OPTIONS"):
            answer = anonymous.request(method, f"/api/v2/{resource}/")
            assert answer.status_code == 401, (method, resource)
            assert answer.json()["detail"].startswith("Authentication credentials were not provided.")


def test_a_system_auditor_reads_all_and_changes_nothing(estate: Estate, world: World) -> None:
    auditor = world.client(is_system_auditor=True)

    for resource in RULES:
        url = f"/api/v2/{resource}/{estate.make(resource)}/"
        assert auditor.get(url).status_code == 200, resource
        if resource != "jobs":
            assert auditor.patch(url, json={}).status_code == 403, resource
        assert auditor.get(url).json()["summary_fields"].get("user_capabilities", {}).get("edit") is not True


class TestFilters:
    def test_see_no_more_than_their_caller(self, world: World) -> None:
        hidden = world.template(extra_vars="token: hunter2")
        credential = world.credential(name=new_name("hidden"))
        world.attach(f"job_templates/{hidden['id']}/credentials", id=credential["id"])
        insider = world.client(("organization", hidden["organization"], ADMIN))
        outsider = world.client()

        def found(client: httpx.Client, path: str, **query: Any) -> int:
            answer = client.get(f"/api/v2/{path}/", params=query)
            assert answer.status_code == 200, answer.text
            count: int = answer.json()["count"]
            return count

        by_name = {"credentials__name": credential["name"]}
        assert found(world.admin, "credential_types", **by_name) == 1
        assert found(outsider, "credential_types", **by_name) == 0
        assert found(outsider, "credential_types", credentials__search=credential["name"]) == 0
        assert found(outsider, "credential_types", credentials__id=credential["id"]) == 0
        by_variables = {"job_templates__extra_vars__contains": "hunter2", "id": hidden["organization"]}
        assert found(insider, "organizations", **by_variables) == 1
        assert (
            found(world.client(("organization", hidden["organization"], MEMBER)), "organizations", **by_variables) == 0
        )

    def test_see_what_summaries_show(self, world: World) -> None:
        template = world.template()
        project = world.get(f"projects/{template['project']}")
        reader = world.client(("job_template", template["id"], "read_role"))

        def found(**query: Any) -> int:
            count: int = reader.get("/api/v2/job_templates/", params=query).json()["count"]
            return count

        assert found(project__name=project["name"]) == 1
        assert found(project=project["id"]) == 1
        assert found(project__search=project["name"]) == 1
        assert found(project__local_path__isnull="false") == 0
        assert found(project__organization__name__icontains="") == 0

    def test_order_by_what_the_caller_sees(self, world: World) -> None:
        organization = world.organization()["id"]
        projects = [world.project(organization=organization, scm_type="git", scm_url=f"/srv/{n}") for n in "ba"]
        templates = [world.template(organization=organization, project=each["id"])["id"] for each in projects]
        roles = [("job_template", each, "read_role") for each in templates]

        def order(client: httpx.Client, name: str) -> list[int]:
            listed = client.get(
                "/api/v2/job_templates/", params={"order_by": name, "organization": organization}
            ).json()
            return [each["id"] for each in listed["results"]]

        assert order(world.admin, "project__scm_url") == templates[::-1]
        assert order(world.client(*roles), "project__scm_url") == templates  # by id: it may not see the URLs
        assert order(world.client(*roles), "-project__name") in (templates, templates[::-1])


class TestRolesOnObjects:
    def test_use_is_enough_to_build_a_template(self, world: World) -> None:
        template = world.template()
        inventory, project = template["inventory"], template["project"]
        body = {"name": new_name("template"), "inventory": inventory, "project": project, "playbook": PLAYBOOK}
        both = world.client(("inventory", inventory, "use_role"), ("project", project, "use_role"))
        only_project = world.client(("project", project, "use_role"), ("inventory", inventory, "read_role"))

        assert only_project.post("/api/v2/job_templates/", json=body).status_code == 403
        made = both.post("/api/v2/job_templates/", json=body)
        assert made.status_code == 201
        assert (
            both.patch(made.json()["url"], json={"description": "mine"}).status_code == 200
        )  # its maker administers it

    def test_execute_launches_and_does_not_change(self, world: World) -> None:
        template = world.template()
        client = world.client(("job_template", template["id"], "execute_role"))

        assert client.patch(template["url"], json={"name": "x"}).status_code == 403
        launched = client.post(template["related"]["launch"], json={})
        assert launched.status_code == 201
        assert client.get(launched.json()["url"]).status_code == 200
        assert client.post(launched.json()["related"]["cancel"]).status_code == 202  # who started it may end it

    def test_read_launches_nothing(self, world: World) -> None:
        template = world.template()
        client = world.client(("job_template", template["id"], "read_role"))
        job = world.job(template, status="running", finished=None)

        assert client.get(template["related"]["launch"]).status_code == 200
        assert client.post(template["related"]["launch"], json={}).status_code == 403
        assert client.post(f"/api/v2/jobs/{job}/relaunch/", json={}).status_code == 403
        assert client.post(f"/api/v2/jobs/{job}/cancel/").status_code == 403
        assert world.client().post(template["related"]["launch"], json={}).status_code == 404

    def test_update_fetches_a_project(self, world: World) -> None:
        project = world.project(scm_type="git", scm_url="https://example.org/x.git")
        client = world.client(("project", project["id"], "update_role"))
        reader = world.client(("project", project["id"], "read_role"))

        assert client.post(project["related"]["update"]).status_code == 202
        assert reader.post(project["related"]["update"]).status_code == 403

    def test_a_reference_must_be_usable(self, world: World) -> None:
        template, credential = world.template(), world.credential()
        admin = world.client(("job_template", template["id"], "admin_role"))
        foreign = world.inventory()

        assert admin.patch(template["url"], json={"inventory": foreign["id"]}).status_code == 403
        assert admin.patch(template["url"], json={"inventory": template["inventory"]}).status_code == 200
        attach = {"id": credential["id"]}
        assert admin.post(template["related"]["credentials"], json=attach).status_code == 403

    def test_what_a_template_runs_is_changed_by_those_who_may_use_its_parts(self, world: World) -> None:
        template = world.template()
        roles = [
            ("job_template", template["id"], "admin_role"),
            ("project", template["project"], "use_role"),
            ("inventory", template["inventory"], "use_role"),
        ]
        sensitive = {"playbook": "other.yml", "job_type": "check", "become_enabled": True}

        for short_of_one in (roles[:1], roles[:2], [roles[0], roles[2]]):
            client = world.client(*short_of_one)
            for name, value in sensitive.items():
                assert client.patch(template["url"], json={name: value}).status_code == 403, name
        free = {"description": "x", "limit": "web", "playbook": template["playbook"], "project": template["project"]}
        assert world.client(roles[0]).patch(template["url"], json=free).status_code == 200
        assert world.client(*roles).patch(template["url"], json=sensitive).status_code == 200

    def test_a_template_moves_by_the_use_of_what_it_moves_to(self, world: World) -> None:
        template = world.template()
        other = world.project(organization=template["organization"])
        admin = ("job_template", template["id"], "admin_role")
        client = world.client(admin, ("project", other["id"], "use_role"))

        assert client.patch(template["url"], json={"project": other["id"]}).status_code == 403
        client = world.client(
            admin, ("project", other["id"], "use_role"), ("inventory", template["inventory"], "use_role")
        )
        assert client.patch(template["url"], json={"project": other["id"]}).status_code == 200

    def test_a_project_sends_its_credential_elsewhere_by_those_who_may_use_it(self, world: World) -> None:
        credential = world.credential("scm")
        project = world.project(scm_type="git", scm_url="https://example.org/x.git", credential=credential["id"])
        admin = ("project", project["id"], ADMIN)
        elsewhere = {"scm_url": "https://example.net/x.git"}

        assert world.client(admin).patch(project["url"], json=elsewhere).status_code == 403
        assert world.client(admin).patch(project["url"], json={"scm_branch": "next"}).status_code == 200
        both = world.client(admin, ("credential", credential["id"], "use_role"))
        assert both.patch(project["url"], json=elsewhere).status_code == 200
        without = {"credential": None, "scm_url": "https://example.com/x.git"}
        assert world.client(admin).patch(project["url"], json=without).status_code == 200

    def test_what_belongs_to_an_organization_is_not_taken_out_of_it(self, world: World) -> None:
        project = world.project()
        admin = world.client(("organization", project["organization"], ADMIN))

        assert admin.post("/api/v2/projects/", json={"name": new_name("project")}).status_code == 403
        assert admin.patch(project["url"], json={"organization": None}).status_code == 403
        assert world.admin.patch(project["url"], json={"organization": None}).status_code == 200
        maker = world.client(("project", project["id"], ADMIN))
        assert maker.patch(project["url"], json={"organization": None, "description": "x"}).status_code == 200

    def test_a_host_does_not_move_to_another_inventory(self, world: World) -> None:
        host, other = world.host(world.inventory()), world.inventory()

        refused = world.admin.patch(host["url"], json={"inventory": other["id"]})

        assert (refused.status_code, refused.json()["detail"]) == (403, "Unable to change inventory on a host.")

    def test_events_are_for_those_who_may_read_the_job(self, world: World) -> None:
        template = world.template()
        host = world.host({"id": template["inventory"]})
        job = world.job(template, lines=("secret of the job",), host=host["id"])
        client = world.client(("inventory", template["inventory"], "read_role"))

        event = world.get(f"jobs/{job}/job_events")["results"][0]

        assert client.get(f"/api/v2/hosts/{host['id']}/").status_code == 200
        assert client.get(host["related"]["job_events"]).json()["count"] == 0
        assert client.get(event["url"]).status_code == 404
        assert client.get(f"/api/v2/jobs/{job}/stdout/").status_code == 404
