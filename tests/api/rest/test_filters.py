"""The query string: lookups, relations, prefixes, search and order."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from api.responses import json_response
from api.rest.reader import Reader
from api.rest.resource import Resource
from api.v2.resources import API
from core.db import Database
from models.access import Actor
from tests.api.world import World, new_name


@pytest.fixture(scope="module")
def hosts(world: World) -> dict[str, Any]:
    """An inventory with three hosts in two groups."""
    inventory = world.inventory(name=new_name("Filters"))
    made: dict[str, Any] = {"inventory": inventory}
    for name, enabled, variables in (("web-1", True, ""), ("web-2", False, "a: 1"), ("db_1", True, "")):
        made[name] = world.host(inventory, name=name, enabled=enabled, variables=variables, description=f"The {name}")
    for name, members in (("web", ("web-1", "web-2")), ("all_of", ("web-1", "db_1"))):
        made[name] = world.group(inventory, name=name)
        for member in members:
            world.attach(f"groups/{made[name]['id']}/hosts", id=made[member]["id"])
    return made


def _names(world: World, hosts: dict[str, Any], query: str) -> list[str]:
    answer = world.admin.get(f"/api/v2/inventories/{hosts['inventory']['id']}/hosts/?{query}")
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()["results"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=web-1", ["web-1"]),
        ("name__exact=web-1", ["web-1"]),
        ("name__iexact=WEB-1", ["web-1"]),
        ("name__contains=eb", ["web-1", "web-2"]),
        ("name__contains=EB", []),
        ("name__icontains=EB", ["web-1", "web-2"]),
        ("name__contains=b_1", ["db_1"]),
        ("name__contains=%25", []),
        ("name__startswith=web", ["web-1", "web-2"]),
        ("name__istartswith=WEB", ["web-1", "web-2"]),
        ("name__endswith=1", ["db_1", "web-1"]),
        ("name__iendswith=B_1", ["db_1"]),
        ("name__regex=^web-[0-9]$", ["web-1", "web-2"]),
        ("name__iregex=^WEB", ["web-1", "web-2"]),
        ("name__in=web-1,db_1", ["db_1", "web-1"]),
        ("name__gt=web-1", ["web-2"]),
        ("name__gte=web-1", ["web-1", "web-2"]),
        ("name__lt=web-1", ["db_1"]),
        ("name__lte=web-1", ["db_1", "web-1"]),
        ("last_job__isnull=true", ["db_1", "web-1", "web-2"]),
        ("last_job__isnull=0", []),
        ("last_job=null", ["db_1", "web-1", "web-2"]),
        ("enabled=false", ["web-2"]),
        ("enabled=1", ["db_1", "web-1"]),
        ("enabled=True&name__startswith=w", ["web-1"]),
        ("enabled__gt=false", ["db_1", "web-1"]),
        ("enabled__lte=false", ["web-2"]),
        ("has_inventory_sources=false", ["db_1", "web-1", "web-2"]),
        ("variables__icontains=a:", ["web-2"]),
        ("id__contains=x", []),
        ("created__gte=2020-01-01", ["db_1", "web-1", "web-2"]),
        ("created__lt=2020-01-01T00:00:00Z", []),
        ("created__gt=2020-01-01T00:00:00%2B02:00", ["db_1", "web-1", "web-2"]),
        ("type=host", ["db_1", "web-1", "web-2"]),
        ("type=job", []),
    ],
)
def test_lookups(world: World, hosts: dict[str, Any], query: str, expected: list[str]) -> None:
    assert _names(world, hosts, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("groups__name=web", ["web-1", "web-2"]),
        ("groups__name=web&groups__name=all_of", []),  # of one group, as in AWX
        ("groups__name=web&chain__groups__name=all_of", ["web-1"]),
        ("inventory__name__startswith=Filters", ["db_1", "web-1", "web-2"]),
        ("inventory__organization__name=nowhere", []),
        ("inventory__hosts__name=db_1", ["db_1", "web-1", "web-2"]),
        ("inventory__hosts__groups__name=web", ["db_1", "web-1", "web-2"]),
        ("groups__isnull=true", []),
        ("created_by__username__isnull=false", ["db_1", "web-1", "web-2"]),
        ("last_job__name__isnull=true", ["db_1", "web-1", "web-2"]),
        ("last_job_host_summary__failed=True", []),
        ("or__name=web-1&or__name=db_1", ["db_1", "web-1"]),
        ("or__name=web-1&or__groups__name=all_of", ["db_1", "web-1"]),
        ("or__name=web-1&or__name=web-2&enabled=true", ["web-1"]),
        ("not__name=web-1", ["db_1", "web-2"]),
        ("not__groups__name=web", ["db_1"]),
        ("not__last_job=1", ["db_1", "web-1", "web-2"]),
        ("or__not__name=web-1&or__name=web-1", ["db_1", "web-1", "web-2"]),
        ("not__or__name=web-1&or__name=none", ["db_1", "web-2"]),
        ("search=web", ["web-1", "web-2"]),
        ("search=the 1", ["db_1", "web-1"]),
        ("search=the,web", ["web-1", "web-2"]),
        ("groups__search=all", ["db_1", "web-1"]),
        ("inventory__search=filters", ["db_1", "web-1", "web-2"]),
    ],
)
def test_relations_and_prefixes(world: World, hosts: dict[str, Any], query: str, expected: list[str]) -> None:
    assert _names(world, hosts, query) == expected


def test_ids_filter_as_such_and_by_relation(world: World, hosts: dict[str, Any]) -> None:
    first, group, inventory = hosts["web-1"]["id"], hosts["web"]["id"], hosts["inventory"]["id"]

    assert _names(world, hosts, f"id={first}") == ["web-1"]
    assert _names(world, hosts, f"pk={first}") == ["web-1"]
    assert _names(world, hosts, f"id__in={first},{hosts['db_1']['id']}") == ["db_1", "web-1"]
    assert _names(world, hosts, f"or__id={first}&or__name={first}") == ["web-1"]
    assert _names(world, hosts, f"groups={group}") == ["web-1", "web-2"]
    assert _names(world, hosts, f"groups__id__in={group}") == ["web-1", "web-2"]
    assert _names(world, hosts, f"inventory_id={inventory}&inventory={inventory}") == ["db_1", "web-1", "web-2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("order_by=-name", ["web-2", "web-1", "db_1"]),
        ("order_by=id", ["web-1", "web-2", "db_1"]),
        ("order_by=enabled,-id", ["web-2", "db_1", "web-1"]),
        ("order_by=enabled&order_by=-id", ["web-2", "db_1", "web-1"]),
        ("order_by=inventory__organization__name,name", ["db_1", "web-1", "web-2"]),
        ("order_by=has_active_failures,-name", ["web-2", "web-1", "db_1"]),
        ("order_by=type", ["web-1", "web-2", "db_1"]),
        ("order_by=", ["db_1", "web-1", "web-2"]),
    ],
)
def test_order(world: World, hosts: dict[str, Any], query: str, expected: list[str]) -> None:
    assert _names(world, hosts, query) == expected


@pytest.fixture(scope="module")
def list_urls(world: World) -> dict[str, str]:
    """Resource -> a list of it: its own, or one that belongs to an object."""
    template = world.template()
    git = world.project(scm_type="git", scm_url="https://example.org/x.git")
    job, update = world.job(template), world.get(f"projects/{git['id']}/project_updates")["results"][0]["id"]
    parts = {
        "job_events": f"jobs/{job}/job_events",
        "job_host_summaries": f"jobs/{job}/job_host_summaries",
        "project_update_events": f"project_updates/{update}/events",
    }
    listed = {each.name: each.url for each in API.resources.values() if each.routed and each.listed}
    return listed | {name: f"/api/v2/{path}/" for name, path in parts.items()}


@pytest.mark.parametrize("resource", API.resources.values(), ids=lambda resource: resource.name)
@pytest.mark.parametrize("lookup", ["order_by", "gt", "exact"])
def test_every_filterable_field_orders_and_compares(
    world: World, list_urls: dict[str, str], resource: Resource, lookup: str
) -> None:
    fields = [
        each for each in resource.all_fields.values() if each.filterable and not each.secret and not each.write_only
    ]
    if lookup == "order_by":
        asked = [f"order_by={each.name}" for each in fields]
    else:
        asked = [f"{each.name}__{lookup}={'2020-01-01' if each.type == 'datetime' else '1'}" for each in fields]

    refused = {
        each: answer.text
        for each in asked
        if (answer := world.admin.get(f"{list_urls[resource.name]}?{each}")).status_code != 200
    }

    assert refused == {}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("y=1", "Host has no field named 'y'"),
        ("name__nothing=1", "Host.name has no lookup 'nothing'"),
        ("inventory__y=1", "Inventory has no field named 'y'"),
        ("inventory__organization__y__icontains=1", "Organization has no field named 'y'"),
        ("order_by=y", "Host has no field named 'y'"),
        ("order_by=inventory__y", "Inventory has no field named 'y'"),
        ("order_by=groups__name", "Cannot order by groups: it is a list."),
        ("order_by=name__in", "Cannot order by name__in."),
        ("id=x", "'x' is not a valid integer for id."),
        ("id__in=1,x", "'x' is not a valid integer for id."),
        ("id=99999999999999999999999999", "'99999999999999999999999999' is not a valid integer for id."),
        ("enabled=perhaps", "'perhaps' is not a valid boolean for enabled."),
        ("last_job__isnull=x", "'x' is not a valid boolean for last_job."),
        ("created__gt=yesterday", "'yesterday' is not a valid date for created."),
        ("name__regex=(", "The filter holds an invalid regular expression."),
        ("name=a%00b", "Null characters are not allowed."),
        ("role_level=admin_role", "Host has no field named 'role_level'"),
        ("__=1", "Host has no field named ''"),
        ("inventory__" * 9 + "name=x", f"The filter {'inventory__' * 9}name spans too many relations."),
    ],
)
def test_what_cannot_be_understood_is_said(world: World, query: str, detail: str) -> None:
    answer = world.admin.get(f"/api/v2/hosts/?{query}")

    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    "query",
    [
        "users/?password=x",
        "users/?password__startswith=$argon2",
        "users/?order_by=password",
        "users/?or__password__isnull=false",
        "hosts/?created_by__password__startswith=$",
        "hosts/?not__created_by__password=x",
        "hosts/?order_by=created_by__password",
        "hosts/?inventory__hosts__created_by__password__regex=^",
        "credentials/?inputs__icontains=x",
        "credentials/?order_by=inputs",
        "job_templates/?credentials__inputs__icontains=x",
        "tokens/?token=x",
        "tokens/?order_by=token",
    ],
)
def test_secrets_are_out_of_reach(world: World, query: str) -> None:
    answer = world.admin.get(f"/api/v2/{query}")

    assert answer.status_code == 403
    assert "is not allowed" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["token_hash", "start_args", "survey_passwords", "webhook_key"])
def test_what_is_no_field_cannot_be_filtered(world: World, name: str) -> None:
    for resource in ("tokens", "jobs", "job_templates", "unified_jobs"):
        assert world.admin.get(f"/api/v2/{resource}/", params={f"{name}__isnull": "false"}).status_code == 400


@pytest.mark.parametrize(
    ("one", "noun"),
    [
        ("name=a", "conditions"),
        ("or__inventory__organization__name=a", "conditions"),
        ("search=a", "conditions"),
        ("order_by=inventory__name", "fields to order by"),
    ],
)
def test_a_query_has_an_end(world: World, one: str, noun: str) -> None:
    def ask(times: int) -> Any:
        return world.admin.get(f"/api/v2/hosts/?{'&'.join([one] * times)}")

    assert ask(100).status_code == 200
    refused = ask(101)
    assert (refused.status_code, refused.json()) == (
        400,
        {"detail": f"The query has 101 {noun}: no more than 100 are allowed."},
    )


@pytest.mark.parametrize("query", [f"search={'a,b ' * 51}", f"inventory__search={'a,' * 101}"])
def test_each_word_of_a_search_is_a_condition(world: World, query: str) -> None:
    assert world.admin.get(f"/api/v2/hosts/?{query}").status_code == 400


def test_many_values_are_one_condition(world: World) -> None:
    assert world.admin.get(f"/api/v2/hosts/?id__in={','.join(['1'] * 1000)}").status_code == 200


def test_a_filter_does_not_run_for_ever(world: World) -> None:
    world.inventory(description="a" * 3000)

    answer = world.admin.get("/api/v2/inventories/", params={"description__regex": r"((a+)*)*\1(b|a*c)+$"})

    assert answer.status_code in (200, 400)
    assert answer.elapsed.total_seconds() < 8


def test_role_level(world: World) -> None:
    organization = world.organization()
    inventories = [world.inventory(organization=organization["id"]) for _ in range(2)]
    client = world.client(
        ("inventory", inventories[0]["id"], "read_role"), ("inventory", inventories[1]["id"], "admin_role")
    )

    found = client.get("/api/v2/inventories/", params={"role_level": "use_role"}).json()["results"]
    refused = client.get("/api/v2/inventories/", params={"role_level": "king"})

    assert [each["id"] for each in found] == [inventories[1]["id"]]
    assert refused.json() == {"detail": "Inventory has no role named 'king'"}


def test_types_of_a_mixed_list(world: World) -> None:
    template = world.template()
    job = world.job(template)

    def of_type(kinds: str) -> int:
        return len(world.get("unified_jobs", type=kinds, unified_job_template=template["id"])["results"])

    assert [of_type("job"), of_type("project_update"), of_type("job,project_update")] == [1, 0, 1]
    assert world.get("unified_jobs", job__playbook="site.yml", id=job)["count"] == 1
    assert world.get("unified_job_templates", type="project", id=template["project"])["count"] == 1


def test_dates_show_microseconds_and_z(world: World) -> None:
    made = world.organization()

    assert made["created"].endswith("Z")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(made["created"])).total_seconds()) < 60


def test_dates_are_in_utc_wherever_the_database_is(world: World) -> None:
    made = world.organization()
    elsewhere = Database(f"{world.database.url}?options=-c%20timezone%3DAsia/Tokyo")
    with elsewhere.transaction() as session:
        shown = Reader(API["organizations"], Actor(1, "", is_superuser=True)).one(session, made["id"])
        body = json_response(shown).body
    elsewhere.dispose()

    assert orjson.loads(body)["created"] == made["created"]
