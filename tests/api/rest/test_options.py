"""OPTIONS, which awxkit and forms are built from."""

from typing import Any

import pytest

from api.v2.resources import API
from tests.api.world import World

LISTED = [resource for resource in API.resources.values() if resource.routed and resource.listed]


def _options(world: World, path: str) -> dict[str, Any]:
    answer = world.admin.options(f"/api/v2/{path}/")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("resource", LISTED, ids=lambda resource: resource.name)
def test_of_a_list(world: World, resource: Any) -> None:
    body = _options(world, resource.name)

    assert set(body) >= {
        "name", "description", "renders", "parses", "actions", "types", "search_fields", "related_search_fields",
        "max_page_size",
    }  # fmt: skip
    assert set(body["actions"]) <= {"GET", "POST"}
    assert body["max_page_size"] == 200
    for fields in body["actions"].values():
        for name, field in fields.items():
            assert field["type"], name
            assert field.get("choices") != [], name
            assert isinstance(field["filterable"], bool), name
    for each in body["related_search_fields"][:5]:
        assert world.admin.get(resource.url, params={each: "x"}).status_code == 200, each


@pytest.mark.parametrize("resource", LISTED, ids=lambda resource: resource.name)
def test_of_an_object_that_does_not_exist(world: World, resource: Any) -> None:
    body = _options(world, f"{resource.name}/99999999")

    assert set(body["actions"]) <= {"GET", "PUT"}
    assert set(body["actions"]["GET"]) >= {"id", "type", "url", "related", "summary_fields"}


@pytest.mark.parametrize(
    "path", ["job_templates/99999999/launch", "projects/99999999/update", "jobs/99999999/relaunch"]
)
def test_of_an_action_on_what_does_not_exist(world: World, path: str) -> None:
    answer = world.admin.options(f"/api/v2/{path}/")

    assert answer.status_code == 200
    assert "POST" in answer.headers["allow"]


def test_of_a_launch_names_the_types_that_clients_convert(world: World) -> None:
    fields = _options(world, "job_templates/1/launch")["actions"]["POST"]

    assert {name: field["type"] for name, field in fields.items()} == {
        "extra_vars": "json",
        "inventory": "id",
        "scm_branch": "string",
        "limit": "string",
        "job_tags": "string",
        "skip_tags": "string",
        "job_type": "choice",
        "verbosity": "choice",
        "diff_mode": "boolean",
        "credentials": "list_of_ids",
        "credential_passwords": "json",
        "execution_environment": "id",
        "labels": "field",
        "forks": "integer",
        "job_slice_count": "integer",
        "timeout": "integer",
        "instance_groups": "field",
    }
    assert fields["verbosity"]["choices"][0] == [0, "0 (Normal)"]


def test_an_id_tells_attach_lists_from_others(world: World) -> None:
    template = world.template()
    inventory = template["inventory"]

    def takes(path: str) -> set[str]:
        return set(_options(world, path)["actions"].get("POST", {}))

    assert takes(f"job_templates/{template['id']}/credentials") == {"id"}
    assert {"id", "name"} <= takes(f"job_templates/{template['id']}/labels")
    assert "id" not in takes(f"inventories/{inventory}/hosts")
    assert takes(f"job_templates/{template['id']}/jobs") == set()


def test_roles_of_an_object(world: World) -> None:
    assert set(_options(world, "projects")["object_roles"]) == {"admin_role", "use_role", "update_role", "read_role"}
    assert "object_roles" not in _options(world, "hosts")


def test_secrets_are_not_said_to_be_filterable(world: World) -> None:
    assert _options(world, "credentials")["actions"]["GET"]["inputs"]["filterable"] is False
    assert _options(world, "users")["actions"]["GET"]["password"]["filterable"] is False
