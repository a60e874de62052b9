"""Nonsense in any field of any resource is refused or taken, and never breaks anything."""

from typing import Any

import httpx
import pytest

from api.rest.resource import Resource
from api.v2.resources import API
from tests.api.world import World

GARBAGE: tuple[Any, ...] = (
    None, "", " ", "x" * 5000, "\U0001f600", "$encrypted$", "ASK", "NaN", "1e400", "0x10", "\u0661",
    -1, 0, 2**31, 10**18, 1.5, -1e308, True, False, [], [[]], [None], {}, {"": {}}, {"id": {}}, {"fields": [{}]},
)  # fmt: skip
CREATABLE = [
    resource for resource in API.resources.values() if resource.routed and resource.listed and resource.creatable
]


def _survives(answer: httpx.Response) -> bool:
    return answer.status_code < 500


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda resource: resource.name)
def test_in_every_field_at_once(world: World, resource: Resource) -> None:
    for value in GARBAGE:
        body = {each.name: value for each in resource.writable()}
        assert _survives(world.admin.post(resource.url, json=body)), value


@pytest.mark.parametrize("resource", ["organizations", "projects", "inventories", "job_templates", "credentials"])
def test_in_one_field_after_the_other(world: World, resource: str) -> None:
    make = {
        "organizations": world.organization,
        "projects": world.project,
        "inventories": world.inventory,
        "job_templates": world.template,
        "credentials": world.credential,
    }[resource]
    url = make()["url"]

    for each in API[resource].writable():
        for value in (None, "x" * 5000, 10**18, [], {"": {}}):
            answer = world.admin.patch(url, json={each.name: value})
            assert _survives(answer), (each.name, value)
            if answer.status_code == 400:
                assert answer.json()


@pytest.mark.parametrize(
    "path",
    [
        "job_templates/{template}/launch", "job_templates/{template}/survey_spec", "job_templates/{template}/labels",
        "job_templates/{template}/credentials", "inventories/{inventory}/variable_data", "jobs/{job}/relaunch",
    ],
)  # fmt: skip
def test_in_the_body_of_an_action(world: World, path: str) -> None:
    template = world.template()
    ids = {"template": template["id"], "inventory": template["inventory"], "job": world.job(template)}
    url = f"/api/v2/{path.format(**ids)}/"

    for value in GARBAGE:
        body = dict.fromkeys(("id", "name", "spec", "description", "hosts", "extra_vars", "inventory"), value)
        for method in ("POST", "PUT", "PATCH"):
            assert _survives(world.admin.request(method, url, json=body)), (method, value)


def test_in_the_query_of_a_list(world: World) -> None:
    for name in API["hosts"].all_fields:
        for value in ("", "x", "9" * 30, "null", "1,2", "%\\"):
            for lookup in ("", "__in", "__gt", "__icontains", "__isnull"):
                answer = world.admin.get("/api/v2/hosts/", params={f"{name}{lookup}": value, "page_size": 1})
                assert _survives(answer), (name, lookup, value)
