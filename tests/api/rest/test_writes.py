"""Creating, changing and deleting: what is checked, and how refusals read."""

from typing import Any

import httpx
import pytest

from tests.api.world import World, new_name

REQUIRED = "This field is required."


def _refused(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 400, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("organizations", {}, {"name": [REQUIRED]}),
        ("organizations", {"name": ""}, {"name": ["This field may not be blank."]}),
        ("organizations", {"name": "  "}, {"name": ["This field may not be blank."]}),
        ("organizations", {"name": None}, {"name": ["This field may not be null."]}),
        ("organizations", {"name": []}, {"name": ["Not a valid string."]}),
        ("organizations", {"name": True}, {"name": ["Not a valid string."]}),
        ("organizations", {"name": "x" * 513}, {"name": ["Ensure this field has no more than 512 characters."]}),
        ("organizations", {"name": "x", "max_hosts": "many"}, {"max_hosts": ["A valid integer is required."]}),
        ("organizations", {"name": "x", "max_hosts": True}, {"max_hosts": ["A valid integer is required."]}),
        ("organizations", {"name": "x", "max_hosts": 1.5}, {"max_hosts": ["A valid integer is required."]}),
        (
            "organizations",
            {"name": "x", "max_hosts": -1},
            {"max_hosts": ["Ensure this value is greater than or equal to 0."]},
        ),
        (
            "organizations",
            {"name": "x", "max_hosts": 10**30},
            {"max_hosts": ["Ensure this value is less than or equal to 2147483647."]},
        ),
        (
            "organizations",
            {"name": "x", "default_environment": 2**31 - 1},
            {"default_environment": ['Invalid pk "2147483647" - object does not exist.']},
        ),
        (
            "organizations",
            {"name": "x", "default_environment": "one"},
            {"default_environment": ["Incorrect type. Expected pk value, received str."]},
        ),
        (
            "organizations",
            {"name": "x", "default_environment": [1]},
            {"default_environment": ["Incorrect type. Expected pk value, received list."]},
        ),
        ("inventories", {"name": "x"}, {"organization": [REQUIRED]}),
        ("inventories", {"name": "x", "organization": None}, {"organization": ["This field may not be null."]}),
        (
            "projects",
            {"name": "x", "scm_type": "cvs", "allow_override": "perhaps"},
            {"scm_type": ['"cvs" is not a valid choice.'], "allow_override": ["Must be a valid boolean."]},
        ),
        ("job_templates", {"name": "x", "verbosity": 9}, {"verbosity": ['"9" is not a valid choice.']}),
        ("job_templates", {"name": "x", "verbosity": True}, {"verbosity": ['"True" is not a valid choice.']}),
        ("credential_types", {"name": "x", "kind": "cloud", "inputs": [1]}, {"inputs": [
            'Expected a dictionary of items but got type "list".'
        ]}),
        ("credential_types", {"name": "x", "kind": "cloud", "inputs": "{"}, {"inputs": ["Value must be valid JSON."]}),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(world: World, path: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _refused(world.admin.post(f"/api/v2/{path}/", json=body)) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("{", "Cannot parse as JSON"),
        ("a: 1\nb: [", "line "),
        ("- a", "Input type `list` is not a dictionary"),
        ('"text"', "Input type `str` is not a dictionary"),
        (5, "Variables must be a JSON or YAML mapping."),
        ([1], "Variables must be a JSON or YAML mapping."),
        ("[" * 100_000, ""),
    ],
)
def test_variables_that_are_none(world: World, variables: Any, message: str) -> None:
    organization = world.organization()["id"]

    body = {"name": "x", "organization": organization, "variables": variables}
    refused = _refused(world.admin.post("/api/v2/inventories/", json=body))

    assert message in refused["variables"][0]


@pytest.mark.parametrize("variables", ["a: 1  # kept", '{"a":   1}', "", "---\n", '"a": {"b": [1]}'])
def test_variables_are_kept_as_written(world: World, variables: str) -> None:
    assert world.inventory(variables=variables)["variables"] == variables


def test_variables_given_as_a_mapping_become_json(world: World) -> None:
    assert world.inventory(variables={"a": [1, "é"]})["variables"] == '{"a": [1, "\\u00e9"]}'


def test_forms_are_taken_too(world: World) -> None:
    name = new_name("org")

    answer = world.admin.post("/api/v2/organizations/", data={"name": name, "max_hosts": "3"})

    assert answer.status_code == 201
    assert answer.headers["location"] == answer.json()["url"]
    assert answer.json()["max_hosts"] == 3


def test_unknown_and_read_only_fields_are_passed_over(world: World) -> None:
    made = world.organization(id=1, type="user", created="2020-01-01", related={}, nonsense=[1])

    assert made["type"] == "organization"
    assert not made["created"].startswith("2020")


def test_put_wants_what_is_required_and_patch_does_not(world: World) -> None:
    made = world.organization(description="before", max_hosts=3)

    put = world.admin.put(made["url"], json={"description": "after"})
    patch = world.admin.patch(made["url"], json={"description": "after"})

    assert _refused(put) == {"name": [REQUIRED]}
    assert patch.status_code == 200
    changed = patch.json()
    assert (changed["name"], changed["description"], changed["max_hosts"]) == (made["name"], "after", 3)
    assert changed["modified"] > made["modified"]
    assert changed["summary_fields"]["modified_by"]["username"].startswith("member-")


def test_what_get_shows_can_be_put_back(world: World) -> None:
    template = world.template()
    for url in (
        template["url"],
        f"/api/v2/inventories/{template['inventory']}/",
        f"/api/v2/projects/{template['project']}/",
    ):
        shown = world.admin.get(url).json()

        answer = world.admin.put(url, json=shown)

        assert answer.status_code == 200, answer.text
        assert answer.json()["name"] == shown["name"]


@pytest.mark.parametrize(
    ("kind", "key", "message"),
    [
        ("organization", "name", "Organization with this Name already exists."),
        ("inventory", "__all__", "Inventory with this Name and Organization already exists."),
        ("project", "__all__", "Project with this Name and Organization already exists."),
        ("template", "__all__", "Job template with this Name and Organization already exists."),
    ],
)
def test_names_are_taken_once(world: World, kind: str, key: str, message: str) -> None:
    make = getattr(world, kind)
    first = make()
    body = {
        name: first[name] for name in ("name", "organization", "project", "inventory", "playbook") if first.get(name)
    }
    second = make(**{name: value for name, value in body.items() if name != "name"})

    created = world.admin.post(f"{first['url'].rsplit('/', 2)[0]}/", json=body)
    renamed = world.admin.patch(second["url"], json={"name": first["name"]})
    kept = world.admin.patch(first["url"], json={"name": first["name"]})

    assert _refused(created) == _refused(renamed) == {key: [message]}
    assert kept.status_code == 200


def test_a_name_may_return_in_another_organization(world: World) -> None:
    name = new_name("inventory")

    assert world.inventory(name=name)["organization"] != world.inventory(name=name)["organization"]


def test_projects_without_an_organization_share_a_scope(world: World) -> None:
    name = new_name("project")
    assert world.admin.post("/api/v2/projects/", json={"name": name}).status_code == 201

    assert "__all__" in _refused(world.admin.post("/api/v2/projects/", json={"name": name}))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_list_takes_no_changes(world: World, method: str) -> None:
    answer = world.admin.request(method, "/api/v2/organizations/")

    assert answer.status_code == 405
    assert answer.json() == {"detail": f'Method "{method}" not allowed.'}
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("key", ["0", "99999999", "99999999999999999999", "nobody", "a++b", "++", "%00", "\u0661"])
def test_what_is_not_there(world: World, key: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        assert world.admin.request(method, f"/api/v2/organizations/{key}/", json={}).status_code in (400, 404)


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"1", b"\xff", b'{"name": "\\ud800"}', b'{"name": "a\\u0000"}'])
def test_bodies_that_are_none(world: World, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = world.admin.post("/api/v2/organizations/", content=body, headers=headers)

    assert "detail" in _refused(answer)


def test_deep_nesting_is_refused(world: World) -> None:
    organization = world.organization()["id"]
    deep = "[" * 50_000 + "]" * 50_000
    content = f'{{"name": "x", "organization": {organization}, "variables": {deep}}}'

    answer = world.admin.post("/api/v2/inventories/", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400


def test_delete(world: World) -> None:
    made = world.organization()

    assert world.admin.delete(made["url"]).status_code == 204
    assert world.admin.get(made["url"]).status_code == 404
    assert world.admin.delete(made["url"]).status_code == 404
    assert world.get("unified_jobs", organization=made["id"])["count"] == 0


class TestNamedUrls:
    def test_stand_where_an_id_does(self, world: World) -> None:
        template = world.template(name=new_name("A + B; 100%"))
        named = template["related"]["named_url"]

        assert named == (
            f"/api/v2/job_templates/{template['name'].replace('%', '%25').replace('+', '[+]').replace(';', '%3B')}"
            f"++{template['summary_fields']['organization']['name']}/"
        )
        assert world.admin.get(named).json()["id"] == template["id"]
        assert world.admin.get(f"{named}launch/").status_code == 200
        assert world.admin.patch(named, json={"description": "x"}).status_code == 200

    def test_of_credentials_name_the_type(self, world: World) -> None:
        credential = world.credential()
        organization = credential["summary_fields"]["organization"]["name"]
        mine = world.credential(user=world.user().id)

        assert credential["related"]["named_url"].endswith(f"/{credential['name']}++Machine+ssh++{organization}/")
        assert mine["related"]["named_url"].endswith(f"/{mine['name']}++Machine+ssh++/")
        for each in (credential, mine):
            assert world.admin.get(each["related"]["named_url"]).json()["id"] == each["id"]

    def test_of_hosts_name_inventory_and_organization(self, world: World) -> None:
        host = world.host(world.inventory())

        assert host["related"]["named_url"].count("++") == 2
        assert world.admin.get(host["related"]["named_url"]).json()["id"] == host["id"]

    def test_are_seen_by_those_only_who_may_read(self, world: World) -> None:
        template = world.template()

        assert world.client().get(template["related"]["named_url"]).status_code == 404


class TestDisassociateOfAChild:
    def test_is_refused_where_delete_is(self, world: World) -> None:
        template = world.template()
        world.job(template, status="running", finished=None)
        project = world.get(f"projects/{template['project']}")
        path = f"/api/v2/organizations/{project['organization']}/projects/"

        refused = world.admin.post(path, json={"id": project["id"], "disassociate": True})

        assert (refused.status_code, refused.json()) == (409, {"detail": "Resource is being used by running jobs."})
        assert world.admin.delete(project["url"]).json() == refused.json()
        assert world.admin.get(project["url"]).status_code == 200

    def test_is_answered_as_delete_is(self, world: World) -> None:
        inventory = world.inventory()
        path = f"/api/v2/organizations/{inventory['organization']}/inventories/"

        assert world.admin.post(path, json={"id": inventory["id"]}).status_code == 204
        assert world.admin.post(path, json={"id": inventory["id"], "disassociate": True}).status_code == 202
        assert world.admin.get(inventory["url"]).status_code == 404


class TestSublists:
    def test_create_in_the_parent_whatever_the_body_says(self, world: World) -> None:
        inventory, other = world.inventory(), world.inventory()

        made = world.post(f"inventories/{inventory['id']}/hosts", name="a", inventory=other["id"])

        assert made["inventory"] == inventory["id"]

    def test_attach_and_detach_answer_without_a_body(self, world: World) -> None:
        inventory = world.inventory()
        host, group = world.host(inventory), world.group(inventory)
        path = f"/api/v2/groups/{group['id']}/hosts/"

        for body in ({"id": host["id"]}, {"id": host["id"]}, {"id": host["id"], "disassociate": True}):
            answer = world.admin.post(path, json=body)
            assert (answer.status_code, answer.content) == (204, b"")

        assert world.admin.get(path).json()["count"] == 0

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"id": 2**31 - 1}, {"id": ['Invalid pk "2147483647" - object does not exist.']}),
            ({"id": "x"}, {"id": ["A valid integer is required."]}),
            ({"id": None}, {"id": ["A valid integer is required."]}),
            ({"id": 10**20}, {"id": ["A valid integer is required."]}),
        ],
    )
    def test_refuse_ids_that_are_none(self, world: World, body: dict[str, Any], expected: dict[str, Any]) -> None:
        group = world.group(world.inventory())

        assert _refused(world.admin.post(f"/api/v2/groups/{group['id']}/hosts/", json=body)) == expected

    def test_create_and_attach_at_once(self, world: World) -> None:
        group = world.group(world.inventory())

        made = world.post(f"groups/{group['id']}/hosts", name="a")

        assert made["inventory"] == group["inventory"]
        assert [each["id"] for each in world.get(f"groups/{group['id']}/hosts")["results"]] == [made["id"]]

    def test_keep_the_order_in_which_things_were_attached(self, world: World) -> None:
        template = world.template()
        groups = [world.post("instance_groups", name=new_name("group"))["id"] for _ in range(3)]
        for each in reversed(groups):
            world.attach(f"job_templates/{template['id']}/instance_groups", id=each)

        shown = world.get(f"job_templates/{template['id']}/instance_groups")["results"]

        assert [each["id"] for each in shown] == groups[::-1]

    def test_only_attach_where_nothing_can_be_created(self, world: World) -> None:
        template = world.template()

        answer = world.admin.post(f"/api/v2/job_templates/{template['id']}/credentials/", json={"name": "x"})

        assert _refused(answer) == {"id": [REQUIRED]}

    def test_of_a_parent_that_is_not_there(self, world: World) -> None:
        assert world.admin.get("/api/v2/inventories/99999999/hosts/").status_code == 404
        assert world.admin.post("/api/v2/inventories/99999999/hosts/", json={"name": "x"}).status_code == 404
