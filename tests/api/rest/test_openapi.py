"""The document speaks of every path there is, and of nothing else."""

import re
from typing import Any

import pytest

from api.rest.views import resource_paths
from api.v2.resources import API
from tests.api.world import World

RESOURCES = [resource for resource in API.resources.values() if resource.routed]


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.admin.get("/api/openapi.json").json()
    return found


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_path_is_there_with_its_methods(document: dict[str, Any], resource: Any) -> None:
    for path, methods in resource_paths(resource).items():
        described = {method.upper() for method in document["paths"][path]}
        assert set(methods) - {"OPTIONS"} <= described, path


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    for name in set(re.findall(r'"#/components/schemas/(\w+)"', str(document).replace("'", '"'))):
        assert name in document["components"]["schemas"]


def test_an_object_fits_its_schema(document: dict[str, Any], world: World) -> None:
    template = world.template()
    shown = world.get(f"job_templates/{template['id']}")

    schema = document["components"]["schemas"]["job_template"]["properties"]

    assert set(schema) == set(shown)
    assert schema["verbosity"]["enum"][:2] == [0, 1]
    assert schema["name"]["maxLength"] == 512


def test_a_body_names_what_is_required(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/v2/hosts/"]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert body["required"] == ["name", "inventory"]
    assert body["properties"]["enabled"] == {
        "type": "boolean",
        "default": True,
        "description": "Is this host online and available for running jobs?",
    }
    launch = document["paths"]["/api/v2/job_templates/{pk}/launch/"]["post"]
    assert "extra_vars" in launch["requestBody"]["content"]["application/json"]["schema"]["properties"]
