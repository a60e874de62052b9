"""Every resource against the recorded contract: fields, types, limits, choices, links and summaries.

What differs is named here, with its reason."""

from typing import Any

import pytest

from api.v2.resources import API
from tests.api.contract_files import FOLDER, read_contract
from tests.api.world import World

NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))
UNIFIED = ("unified_jobs", "unified_job_templates")

# Beyond the contract.
MORE_FIELDS = {
    "groups": {"has_active_failures", "total_hosts", "total_groups"},  # browser UIs sort by them
    "jobs": {"waiting_on"},
    "project_updates": {"waiting_on", "controller_node"},
    "unified_jobs": {"waiting_on"},
}
# An instance is a worker that announces itself: nobody creates one over the API.
ANNOUNCED = {"hostname", "node_type", "node_state", "peers", "listener_port", "peers_from_control_nodes"}
OTHER_DEFAULTS = {("instance_groups", "pod_spec_override")}  # there are no container groups
OTHER_CHOICES = {("inventories", "kind")}  # smart and constructed inventories come with what fills them
# Links and summaries of resources that do not exist yet; nothing links to what does not.
LATER_LINKS = {
    "access_list", "activity_stream", "ad_hoc_command_events", "ad_hoc_commands", "admins", "applications", "copy",
    "create_schedule", "input_sources", "inventory_sources", "notification_templates",
    "notification_templates_approvals", "notification_templates_error", "notification_templates_started",
    "notification_templates_success", "notifications", "object_roles", "owner_teams", "owner_users", "peers",
    "receptor_addresses", "roles", "schedules", "scm_inventory_sources", "scm_inventory_updates",
    "slice_workflow_jobs", "smart_inventories", "teams", "tree", "update_inventory_sources", "users",
    "webhook_key", "webhook_receiver", "workflow_job_templates",
}  # fmt: skip
LATER_LINKS_OF = {"teams": {"projects", "credentials"}}


def _options(world: World, name: str, key: str = "") -> dict[str, Any]:
    answer = world.admin.options(f"/api/v2/{name}/{key}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def _choices(field: dict[str, Any]) -> list[str]:
    return [str(value) for value, _ in field["choices"]]


@pytest.mark.parametrize("name", [name for name in NAMES if API[name].creatable])
def test_what_a_post_takes(world: World, name: str) -> None:
    contract, shown = read_contract(name), _options(world, name)["actions"]["POST"]

    assert set(shown) == set(contract.writable)
    for key, wanted in contract.writable.items():
        assert shown[key]["type"] == wanted.type, key
        assert shown[key]["required"] == wanted.required, key
        assert shown[key].get("write_only", False) == wanted.write_only, key
        if wanted.type == "string":
            assert shown[key].get("max_length") == wanted.max, key
        if wanted.has_default and (name, key) not in OTHER_DEFAULTS:
            assert shown[key]["default"] == wanted.default, key
        if wanted.choices is not None and (name, key) not in OTHER_CHOICES:
            assert _choices(shown[key]) == wanted.choices, key


@pytest.mark.parametrize("name", NAMES)
def test_what_a_get_shows(world: World, name: str) -> None:
    contract = read_contract(name)
    shown = _options(world, name)["actions"]["GET"]
    detail = _options(world, name, "1/")["actions"]["GET"]

    expected = {key for key, wanted in contract.fields.items() if not wanted.write_only}
    assert set(shown) - MORE_FIELDS.get(name, set()) == expected
    assert set(detail) - set(shown) == contract.detail_only
    for key in expected:
        wanted = contract.fields[key]
        assert shown[key]["type"] == wanted.type, key
        if wanted.choices is None or (name, key) in OTHER_CHOICES:
            continue
        if key == "type" and name in UNIFIED:  # kinds of run and template that there are
            assert set(_choices(shown[key])) <= set(wanted.choices)
        else:
            assert _choices(shown[key]) == wanted.choices, key


@pytest.mark.parametrize("name", NAMES)
def test_search_fields(world: World, name: str) -> None:
    if name == "labels":
        pytest.skip("a label has no description to search")

    assert set(_options(world, name)["search_fields"]) == read_contract(name).search


@pytest.mark.parametrize("name", NAMES)
def test_an_object_has_what_options_says(one_of_each: dict[str, dict[str, Any]], world: World, name: str) -> None:
    contract, shown = read_contract(name), one_of_each[name]

    detail = world.get(f"{name}/{shown['id']}") if name not in UNIFIED else shown
    assert list(shown) == list(_options(world, name)["actions"]["GET"])
    for key, wanted in contract.fields.items():
        if not wanted.write_only and key in shown:
            assert _fits(shown[key], wanted.type), (key, shown[key])
    assert set(detail) >= set(shown)


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return True
    match kind:
        case "integer" | "id":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "decimal":
            return isinstance(value, float | int)
        case "string":
            return isinstance(value, str)
        case "datetime":
            return isinstance(value, str) and value.endswith("Z")
        case "object":
            return isinstance(value, dict)
        case _:
            return True


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNIFIED])
def test_links(one_of_each: dict[str, dict[str, Any]], world: World, name: str) -> None:
    contract, shown = read_contract(name), one_of_each[name]["related"]

    later = LATER_LINKS | LATER_LINKS_OF.get(name, set()) | _references(one_of_each[name])
    assert contract.related - set(shown) - later == set()
    for key, url in shown.items():
        assert world.admin.get(url).status_code == 200, (key, url)
        assert world.admin.options(url).status_code == 200, (key, url)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNIFIED])
def test_summaries(one_of_each: dict[str, dict[str, Any]], name: str) -> None:
    contract, shown = read_contract(name), one_of_each[name]["summary_fields"]

    assert set(contract.summary) - set(shown) - _references(one_of_each[name]) == set()
    for key, wanted in contract.summary.items():
        if key == "object_roles":
            for role in shown.get(key, {}).values():
                assert set(role) == {"id", "name", "description"}
        elif isinstance(shown.get(key), dict):
            assert wanted <= set(shown[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_said_to_be_capable_of_what_has_no_route(
    one_of_each: dict[str, dict[str, Any]], world: World, name: str
) -> None:
    shown = one_of_each[name]
    routes = {"copy": "copy", "schedule": "schedules", "adhoc": "ad_hoc_commands"}

    wrong = [
        capability
        for capability, able in shown["summary_fields"].get("user_capabilities", {}).items()
        if able
        and capability in routes
        and world.admin.options(f"{shown['url']}{routes[capability]}/").status_code == 404
    ]

    assert wrong == []


def _references(shown: dict[str, Any]) -> set[str]:
    """References that this object happens not to have."""
    empty = {key for key, value in shown.items() if value is None}
    return empty | {"created_by", "modified_by", "current_job", "current_update", "unified_job_template"}


@pytest.fixture(scope="module")
def one_of_each(world: World) -> dict[str, dict[str, Any]]:
    """An object of every resource, as its list shows it."""
    template = world.template()
    credential = world.credential(organization=template["organization"])
    world.attach(f"job_templates/{template['id']}/credentials", id=credential["id"])
    host = world.host({"id": template["inventory"]})
    group = world.group({"id": template["inventory"]})
    world.attach(f"groups/{group['id']}/hosts", id=host["id"])
    job = world.job(template, lines=("one",), host=host["id"])
    project = world.project(scm_type="git", scm_url="https://example.org/x.git", organization=template["organization"])
    ids = {
        "job_templates": template["id"],
        "credentials": credential["id"],
        "hosts": host["id"],
        "groups": group["id"],
        "jobs": job,
        "unified_jobs": job,
        "unified_job_templates": template["id"],
        "projects": project["id"],
        "project_updates": world.get(f"projects/{project['id']}/project_updates")["results"][0]["id"],
        "organizations": template["organization"],
        "inventories": template["inventory"],
        "labels": world.post("labels", name="a", organization=template["organization"])["id"],
        "teams": world.post("teams", name="a", organization=template["organization"])["id"],
        "users": world.user().id,
        "credential_types": credential["credential_type"],
        "execution_environments": world.post("execution_environments", name=f"ee {job}", image="x")["id"],
        "instance_groups": world.post("instance_groups", name=f"group {job}")["id"],
        "instances": world.instance(),
    }
    return {name: world.get(name, id=object_id)["results"][0] for name, object_id in ids.items()}
