"""Instances and instance groups."""

from datetime import UTC, datetime, timedelta

import pytest

from models.base import now
from models.dispatch import live_groups
from tests.api.world import World, new_name


def test_a_group_adds_up_its_instances(world: World) -> None:
    group = world.post("instance_groups", name=new_name("group"))
    first = world.instance(capacity=10)
    off = world.instance(capacity=5, enabled=False)
    for each in (first, off):
        world.attach(f"instance_groups/{group['id']}/instances", id=each)
    world.job(
        world.template(), status="running", finished=None, task_impact=4, instance_group_id=group["id"],
        execution_node=world.get(f"instances/{first}")["hostname"], granted_at=now(),
    )  # fmt: skip

    shown = world.get(f"instance_groups/{group['id']}")
    instance = world.get(f"instances/{first}")

    assert [shown[key] for key in ("capacity", "consumed_capacity", "percent_capacity_remaining")] == [10, 4, 60.0]
    assert [shown[key] for key in ("jobs_running", "jobs_total", "instances")] == [1, 1, 2]
    assert [instance[key] for key in ("consumed_capacity", "percent_capacity_remaining", "jobs_running")] == [
        4,
        60.0,
        1,
    ]
    assert (
        world.get(f"instances/{first}/jobs")["count"] == world.get(f"instance_groups/{group['id']}/jobs")["count"] == 1
    )


LOST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last_seen", "state", "capacity", "errors"),
    [
        (now() + timedelta(minutes=10), "ready", 10, ""),
        (LOST, "unavailable", 0, "No heartbeat of this instance's worker since 2020-01-01T00:00:00.000000Z."),
        (None, "unavailable", 0, "This instance's worker is stopped."),
    ],
)
def test_an_instance_that_is_not_there_is_shown_without_capacity(
    world: World, last_seen: datetime | None, state: str, capacity: int, errors: str
) -> None:
    id = world.instance(capacity=10, last_seen=last_seen)
    group = world.post("instance_groups", name=new_name("group"))
    world.attach(f"instance_groups/{group['id']}/instances", id=id)

    shown, ping = world.get(f"instances/{id}"), world.get("ping")

    assert [shown[key] for key in ("node_state", "capacity", "errors")] == [state, capacity, errors]
    assert shown["percent_capacity_remaining"] == (100 if capacity else 0)
    assert world.get("instances", id=id, node_state=state, capacity=capacity, order_by="errors")["count"] == 1
    assert world.get(f"instance_groups/{group['id']}")["capacity"] == capacity
    assert {each["node"]: each["capacity"] for each in ping["instances"]}[shown["hostname"]] == capacity
    assert {each["name"]: each["capacity"] for each in ping["instance_groups"]}[group["name"]] == capacity


def test_groups_show_the_capacity_that_dispatch_has(world: World) -> None:
    group = world.post("instance_groups", name=new_name("group"))
    for over in ({"capacity": 3}, {"capacity": 5, "enabled": False}, {"capacity": 7, "last_seen": LOST}):
        world.attach(f"instance_groups/{group['id']}/instances", id=world.instance(**over))

    with world.database.transaction() as session:
        [counted] = [each.capacity for each in live_groups(session) if each.id == group["id"]]

    assert world.get(f"instance_groups/{group['id']}")["capacity"] == counted == 3


def test_lists_are_ordered_by_what_is_computed(world: World) -> None:
    for name in ("jobs_running", "-capacity", "percent_capacity_remaining,-id"):
        assert world.get("instance_groups", order_by=name)["results"] is not None
        assert world.get("instances", order_by=name)["results"] is not None


def test_capacity_is_adjusted_between_memory_and_processors(world: World) -> None:
    instance = world.instance(cpu_capacity=16, mem_capacity=40, capacity=40)
    url = f"/api/v2/instances/{instance}/"

    assert world.admin.patch(url, json={"capacity_adjustment": "0.5"}).json()["capacity"] == 28
    assert world.admin.patch(url, json={"capacity_adjustment": 0}).json()["capacity"] == 16
    assert world.admin.patch(url, json={"capacity_adjustment": 1.5}).json() == {
        "capacity_adjustment": ["Ensure this value is less than or equal to 1."]
    }
    assert world.admin.patch(url, json={"capacity_adjustment": "NaN"}).json() == {
        "capacity_adjustment": ["A valid number is required."]
    }
    assert world.admin.patch(url, json={"enabled": False, "hostname": "x"}).json()["enabled"] is False
    assert world.client().patch(url, json={}).status_code == 404


def test_groups_that_every_installation_has_stay(world: World) -> None:
    groups = world.get("instance_groups", name="default")["results"]
    default = groups[0] if groups else world.post("instance_groups", name="default")

    assert world.admin.delete(default["url"]).status_code == 403
    assert world.admin.patch(default["url"], json={"name": "other"}).status_code == 400
    assert world.admin.patch(default["url"], json={"max_forks": 5}).json()["max_forks"] == 5
    assert world.admin.patch(default["url"], json={"max_forks": 0}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("is_container_group", True, False),
        ("pod_spec_override", "kind: Pod", ""),
        ("policy_instance_percentage", 100, 0),
        ("policy_instance_minimum", 1, 0),
        ("policy_instance_list", ["node1"], []),
    ],
)
def test_groups_take_no_option_that_nothing_honours(world: World, name: str, value: object, default: object) -> None:
    group = world.post("instance_groups", **{"name": new_name("g"), name: default})

    made = world.admin.post("/api/v2/instance_groups/", json={"name": new_name("g"), name: value})
    changed = world.admin.patch(group["url"], json={name: value})

    assert [(each.status_code, list(each.json())) for each in (made, changed)] == [(400, [name])] * 2
    assert world.admin.patch(group["url"], json={name: default}).status_code == 200


def test_groups_take_no_credential(world: World) -> None:
    body = {"name": new_name("g"), "credential": world.credential()["id"]}

    refused = world.admin.post("/api/v2/instance_groups/", json=body)

    assert refused.json() == {"credential": ["Jobs run on instances here: there are no container groups."]}


def test_instances_cannot_leave_policies_that_do_not_exist(world: World) -> None:
    url = f"/api/v2/instances/{world.instance()}/"

    assert list(world.admin.patch(url, json={"managed_by_policy": False}).json()) == ["managed_by_policy"]
    assert world.admin.patch(url, json={"managed_by_policy": True}).status_code == 200


def test_an_instance_is_seen_through_its_groups(world: World) -> None:
    group, instance = world.post("instance_groups", name=new_name("group")), world.instance()
    world.attach(f"instances/{instance}/instance_groups", id=group["id"])
    client = world.client(("instance_group", group["id"], "use_role"))

    assert client.get(f"/api/v2/instances/{instance}/").status_code == 200
    assert client.get("/api/v2/instances/").json()["count"] == 1
    assert client.get("/api/v2/instance_groups/").json()["count"] == 1
    assert client.patch(f"/api/v2/instance_groups/{group['id']}/", json={}).status_code == 403
