"""Inventories, hosts and nested groups."""

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from models.inventories import Host
from models.unified import UnifiedJob
from tests.api.world import Body, World, new_name


def _names(page: Body) -> list[str]:
    return [each["name"] for each in page["results"]]


class Tree:
    """a > b > c, and d beside them; one host in c, one in both a and d."""

    def __init__(self, world: World) -> None:
        self.inventory = world.inventory()
        self.groups = {name: world.group(self.inventory, name=name) for name in "abcd"}
        for parent, child in ("ab", "bc"):
            world.attach(f"groups/{self.id(parent)}/children", id=self.id(child))
        self.deep = world.post(f"groups/{self.id('c')}/hosts", name="deep")
        self.both = world.post(f"groups/{self.id('a')}/hosts", name="both")
        world.attach(f"groups/{self.id('d')}/hosts", id=self.both["id"])

    def id(self, name: str) -> int:
        found: int = self.groups[name]["id"]
        return found


class TestGroups:
    def test_reach_down_and_up(self, world: World) -> None:
        tree = Tree(world)

        assert _names(world.get(f"groups/{tree.id('a')}/children")) == ["b"]
        assert _names(world.get(f"groups/{tree.id('a')}/hosts")) == ["both"]
        assert _names(world.get(f"groups/{tree.id('a')}/all_hosts")) == ["both", "deep"]
        assert _names(world.get(f"groups/{tree.id('b')}/potential_children")) == ["d"]
        assert _names(world.get(f"hosts/{tree.deep['id']}/groups")) == ["c"]
        assert _names(world.get(f"hosts/{tree.deep['id']}/all_groups")) == ["a", "b", "c"]
        assert _names(world.get(f"inventories/{tree.inventory['id']}/root_groups")) == ["a", "d"]
        assert _names(world.get("groups", parents=tree.id("a"))) == ["b"]

    def test_count_what_is_below(self, world: World) -> None:
        tree = Tree(world)

        shown = {each["name"]: each for each in world.get(f"inventories/{tree.inventory['id']}/groups")["results"]}

        assert [(shown[name]["total_hosts"], shown[name]["total_groups"]) for name in "abcd"] == [
            (2, 2), (1, 1), (1, 0), (1, 0),
        ]  # fmt: skip
        inventory = world.get(f"inventories/{tree.inventory['id']}")
        assert (inventory["total_hosts"], inventory["total_groups"]) == (2, 4)
        assert world.get(f"hosts/{tree.both['id']}")["summary_fields"]["groups"] == {
            "count": 2,
            "results": [{"id": tree.id("a"), "name": "a"}, {"id": tree.id("d"), "name": "d"}],
        }

    @pytest.mark.parametrize(("parent", "child"), ["aa", "ca", "ba"])
    def test_never_form_a_circle(self, world: World, parent: str, child: str) -> None:
        tree = Tree(world)

        refused = world.admin.post(f"/api/v2/groups/{tree.id(parent)}/children/", json={"id": tree.id(child)})

        assert (refused.status_code, refused.json()) == (400, {"error": ["Cyclical Group association."]})

    def test_stay_in_their_inventory(self, world: World) -> None:
        tree, other = Tree(world), world.inventory()
        group, host = world.group(other), world.host(other)

        for path, target in (("children", group), ("hosts", host)):
            refused = world.admin.post(f"/api/v2/groups/{tree.id('a')}/{path}/", json={"id": target["id"]})
            assert refused.status_code == 400
            assert refused.json() == {"detail": "Cannot associate two items from different inventories."}

    def test_take_along_what_is_reached_through_them_alone(self, world: World) -> None:
        tree = Tree(world)

        assert world.admin.delete(tree.groups["a"]["url"]).status_code == 204

        assert _names(world.get(f"inventories/{tree.inventory['id']}/groups")) == ["d"]
        assert _names(world.get(f"inventories/{tree.inventory['id']}/hosts")) == ["both"]

    def test_are_let_go_of_by_their_inventory_without_that(self, world: World) -> None:
        tree = Tree(world)

        world.attach(f"inventories/{tree.inventory['id']}/groups", id=tree.id("a"), disassociate=True)

        assert _names(world.get(f"inventories/{tree.inventory['id']}/root_groups")) == ["b", "d"]
        assert world.get(f"inventories/{tree.inventory['id']}/hosts")["count"] == 2

    @pytest.mark.parametrize("name", ["all", "_meta"])
    def test_have_no_name_that_means_something_else(self, world: World, name: str) -> None:
        inventory = world.inventory()
        group = world.group(inventory)

        made = world.admin.post("/api/v2/groups/", json={"name": name, "inventory": inventory["id"]})
        renamed = world.admin.patch(group["url"], json={"name": name})

        for refused in (made, renamed):
            assert (refused.status_code, refused.json()) == (400, {"name": ["Invalid group name."]})
        assert world.group(inventory, name="ungrouped")["name"] == "ungrouped"


class TestMostHostsOfAnOrganization:
    def test_are_counted_by_name_over_its_inventories(self, world: World) -> None:
        organization = world.organization(name=new_name("Small"), max_hosts=2)
        first, second = (world.inventory(organization=organization["id"]) for _ in range(2))
        world.host(first, name="a")
        last = world.host(first, name="b")
        group = world.group(first)

        again = world.admin.post("/api/v2/hosts/", json={"name": "a", "inventory": second["id"]})
        refused = [
            world.admin.post("/api/v2/hosts/", json={"name": "c", "inventory": second["id"]}),
            world.admin.post(f"/api/v2/groups/{group['id']}/hosts/", json={"name": "c"}),
            world.admin.patch(last["url"], json={"name": "c"}),
        ]

        assert again.status_code == 201
        name = organization["name"]
        told = f"The organization {name} has 2 hosts and may have 2: ask an administrator to raise its limit."
        assert [(answer.status_code, answer.json()) for answer in refused] == [(403, {"detail": told})] * 3
        assert world.admin.patch(last["url"], json={"enabled": False}).status_code == 200
        world.admin.patch(organization["url"], json={"max_hosts": 0})
        assert world.host(second, name="c")["name"] == "c"


class TestPortOfAHost:
    def test_becomes_a_variable(self, world: World) -> None:
        inventory = world.inventory()

        host = world.host(inventory, name="h2:2222", variables="a: 1\nansible_port: 1")

        assert (host["name"], json.loads(host["variables"])) == ("h2", {"a": 1, "ansible_port": 2222})
        changed = world.admin.patch(host["url"], json={"name": "h3:65535"}).json()
        assert (changed["name"], json.loads(changed["variables"])) == ("h3", {"a": 1, "ansible_port": 65535})

    def test_does_not_make_another_host_of_it(self, world: World) -> None:
        inventory = world.inventory()
        world.host(inventory, name="h2")

        refused = world.admin.post("/api/v2/hosts/", json={"name": "h2:22", "inventory": inventory["id"]})

        assert (refused.status_code, list(refused.json())) == (400, ["__all__"])

    @pytest.mark.parametrize("name", ["2001:db8::1", "::1", "[2001:db8::1]:22", "plain"])
    def test_is_not_seen_in_other_names(self, world: World, name: str) -> None:
        host = world.host(world.inventory(), name=name)

        assert (host["name"], host["variables"]) == (name, "")

    @pytest.mark.parametrize("port", ["0", "65536", "0000099999", "x", "", "-1", "2²"])
    def test_must_be_one(self, world: World, port: str) -> None:
        inventory = world.inventory()

        refused = world.admin.post("/api/v2/hosts/", json={"name": f"h:{port}", "inventory": inventory["id"]})

        assert (refused.status_code, refused.json()) == (400, {"name": [f"Invalid port specification: {port}"]})


@pytest.mark.parametrize("kind", ["inventories", "hosts", "groups"])
def test_variable_data(world: World, kind: str) -> None:
    inventory = world.inventory()
    made = {"inventories": inventory, "hosts": world.host(inventory), "groups": world.group(inventory)}[kind]
    world.admin.patch(made["url"], json={"variables": "a: 1\nb: two"})
    url = made["related"]["variable_data"]

    assert world.admin.get(url).json() == {"a": 1, "b": "two"}
    assert world.admin.patch(url, json={"b": 2}).json() == {"a": 1, "b": 2}
    assert world.admin.put(url, json={"c": [3]}).json() == {"c": [3]}
    assert world.admin.get(made["url"]).json()["variables"] == '{"c":[3]}'
    assert world.client().put(url, json={}).status_code == 404


class TestScript:
    def test_is_what_ansible_reads(self, world: World) -> None:
        tree = Tree(world)
        world.admin.patch(tree.deep["url"], json={"variables": "x: 1"})
        off = world.host(tree.inventory, name="off", enabled=False)

        def script(query: str = "") -> Any:
            return world.admin.get(f"/api/v2/inventories/{tree.inventory['id']}/script/?{query}").json()

        assert script()["a"] == {"hosts": ["both"], "children": ["b"]}
        assert "_meta" not in script()
        assert script("hostvars=1")["_meta"]["hostvars"] == {"both": {}, "deep": {"x": 1}}
        assert off["name"] in script("hostvars=1&all=1")["_meta"]["hostvars"]
        assert script("hostvars=1&towervars=1")["_meta"]["hostvars"]["deep"]["remote_tower_id"] == tree.deep["id"]
        assert script("host=deep") == {"x": 1}
        assert script("host=nobody") == {"detail": "Not found."}


class TestDelete:
    def test_is_accepted_and_done(self, world: World) -> None:
        tree = Tree(world)

        answer = world.admin.delete(tree.inventory["url"])

        assert (answer.status_code, answer.content) == (202, b"")
        for url in (tree.inventory["url"], tree.deep["url"], tree.groups["a"]["url"]):
            assert world.admin.get(url).status_code == 404

    def test_waits_for_the_jobs_that_use_it(self, world: World) -> None:
        template = world.template()
        job = world.job(template, status="running", finished=None)
        url = f"/api/v2/inventories/{template['inventory']}/"

        refused = world.admin.delete(url)
        with world.database.transaction() as session:
            session.execute(update(UnifiedJob).where(UnifiedJob.id == job).values(status="failed"))

        assert refused.status_code == 409
        assert world.admin.delete(url).status_code == 202


def test_facts(world: World) -> None:
    host = world.host(world.inventory())
    with world.database.transaction() as session:
        session.execute(update(Host).where(Host.id == host["id"]).values(ansible_facts={"os": "Debian"}))
        assert session.scalar(select(Host.ansible_facts).where(Host.id == host["id"]))

    assert world.admin.get(host["related"]["ansible_facts"]).json() == {"os": "Debian"}


def test_a_host_remembers_its_jobs(world: World) -> None:
    template = world.template()
    host = world.host({"id": template["inventory"]})
    job = world.job(template, host=host["id"])
    summary = world.get(f"hosts/{host['id']}/job_host_summaries")["results"][0]
    with world.database.transaction() as session:
        values = {"last_job_id": job, "last_job_host_summary_id": summary["id"]}
        session.execute(update(Host).where(Host.id == host["id"]).values(**values))

    shown = world.get(f"hosts/{host['id']}")

    assert (shown["last_job"], shown["last_job_host_summary"], shown["has_active_failures"]) == (
        job,
        summary["id"],
        False,
    )
    assert shown["summary_fields"]["last_job_host_summary"] == {"id": summary["id"], "failed": False}
    assert [each["id"] for each in shown["summary_fields"]["recent_jobs"]] == [job]
    assert world.get("hosts", last_job__name=template["name"], id=host["id"])["count"] == 1


def test_labels_take_the_organization_of_what_they_are_put_on(world: World) -> None:
    inventory = world.inventory()

    label = world.post(f"inventories/{inventory['id']}/labels", name=new_name("label"))

    assert label["organization"] == inventory["organization"]
    assert world.get(f"inventories/{inventory['id']}")["summary_fields"]["labels"] == {
        "count": 1,
        "results": [{"id": label["id"], "name": label["name"]}],
    }


class TestLabelsByName:
    """The labels of whatever has some: those that exist already are put on it, not made again."""

    @pytest.mark.parametrize("kind", ["inventories", "job_templates"])
    def test_an_existing_one_is_attached(self, world: World, kind: str) -> None:
        made = world.template() if kind == "job_templates" else world.inventory()
        body = {"name": new_name("label"), "organization": made["organization"]}
        label = world.post("labels", **body)

        answers = [world.admin.post(made["related"]["labels"], json=body) for _ in range(2)]

        assert [(each.status_code, each.text) for each in answers] == [(204, ""), (204, "")]
        assert [each["id"] for each in world.get(f"{kind}/{made['id']}/labels")["results"]] == [label["id"]]
        assert world.get("labels", name=body["name"])["count"] == 1

    def test_a_new_one_is_made_in_the_organization_that_is_named(self, world: World) -> None:
        inventory, other = world.inventory(), world.organization()

        label = world.post(f"inventories/{inventory['id']}/labels", name=new_name("label"), organization=other["id"])

        assert label["organization"] == other["id"]
        assert world.get(f"inventories/{inventory['id']}/labels")["count"] == 1

    def test_one_that_the_caller_may_not_see_is_refused(self, world: World) -> None:
        inventory = world.inventory()
        hidden = world.post("labels", name=new_name("label"), organization=world.organization()["id"])
        client = world.client(("inventory", inventory["id"], "admin_role"))

        answer = client.post(
            inventory["related"]["labels"], json={name: hidden[name] for name in ("name", "organization")}
        )

        assert answer.status_code == 403
        assert world.get(f"inventories/{inventory['id']}/labels")["count"] == 0


def test_a_host_filter_is_for_smart_inventories(world: World) -> None:
    body = {"name": "x", "organization": world.organization()["id"], "host_filter": "name=x"}

    refused = world.admin.post("/api/v2/inventories/", json=body)

    assert refused.json() == {"host_filter": ["Only smart inventories have a host filter."]}
