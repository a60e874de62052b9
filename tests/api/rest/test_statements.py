"""A list costs the same number of statements however long it is: every list route, walked."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select

from api.rest.objects import object_statement
from api.rest.permissions import Rank
from api.rest.resource import Resource, SubList
from api.v2.resources import API
from core.db import Database
from models.access import Actor, grant
from models.events import store_events
from models.inventories import group_children, group_hosts
from models.labels import Label
from models.unified import unified_job_template_labels
from tests.api.world import World, make_event, make_job, new_name

MOST = 4
MANY = 50

LISTS = [resource for resource in API.resources.values() if resource.routed and resource.listed]
SUBLISTS = [
    (resource, sublist)
    for resource in API.resources.values()
    if resource.routed
    for sublist in resource.sublists
    if sublist.target in API.resources
]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database, by whatever thread."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def crowd(world: World, database: Database) -> World:
    """At least fifty of what lists show, all in one organization."""
    template = world.template(organization=world.organization()["id"])
    inventory = {"id": template["inventory"]}
    world.credential(organization=template["organization"])
    world.post("execution_environments", name=new_name("ee"), image="x")
    world.post("instance_groups", name=new_name("group"))
    host, group = world.host(inventory), world.group(inventory)
    git = world.project(scm_type="git", scm_url="https://example.org/x.git", organization=template["organization"])
    fetched = world.get(f"projects/{git['id']}/project_updates")["results"][0]["id"]
    with database.transaction() as session:
        for number in range(MANY):
            make_job(session, template["id"], lines=("one", "two"), host=host["id"])
            label = Label(name=f"label {number}", organization_id=template["organization"])
            session.add(label)
            session.flush()
            pair = {"unified_job_template_id": template["id"], "label_id": label.id}
            session.execute(unified_job_template_labels.insert().values(**pair))
        store_events(session, fetched, [make_event(0, "fetched")])
        session.execute(group_hosts.insert().values(group_id=group["id"], host_id=host["id"]))
    for _ in range(5):
        world.host(inventory)
        child = world.group(inventory)
        with database.transaction() as session:
            session.execute(group_children.insert().values(parent_id=group["id"], child_id=child["id"]))
    return world


def _count(client: httpx.Client, database: Database, url: str, size: int) -> tuple[int, int]:
    """(rows shown, statements)"""
    client.get("/api/v2/me/")  # a token's first use is noted, once a minute
    with statements(database) as seen:
        answer = client.get(url, params={"page_size": size, "search": ""})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["results"]), len(seen)


@pytest.mark.parametrize("resource", LISTS, ids=lambda resource: resource.name)
@pytest.mark.parametrize("caller", ["superuser", "ordinary"])
def test_list_takes_four_statements_at_most(
    crowd: World, member: httpx.Client, database: Database, resource: Resource, caller: str
) -> None:
    client = crowd.admin if caller == "superuser" else member

    _, few = _count(client, database, resource.url, 1)
    _, many = _count(client, database, resource.url, MANY)

    assert few == many <= MOST


@pytest.mark.parametrize(
    ("resource", "sublist"), SUBLISTS, ids=[f"{resource.name}/{sublist.path}" for resource, sublist in SUBLISTS]
)
def test_sublist_takes_four_statements_at_most(
    crowd: World, database: Database, resource: Resource, sublist: SubList
) -> None:
    row, readable = resource.readable(Actor(1, "", is_superuser=True))
    with database.transaction() as session:
        parent = session.scalar(select(func.min(row.id)).where(readable).select_from(row.table()))
    if parent is None:
        pytest.skip(f"no {resource.title} in this database")
    url = f"{resource.url}{parent}/{sublist.path}/"

    _, few = _count(crowd.admin, database, url, 1)
    _, many = _count(crowd.admin, database, url, MANY)

    assert few == many <= MOST


def test_the_lists_were_long(crowd: World, database: Database) -> None:
    for name in ("jobs", "unified_jobs", "labels"):
        assert _count(crowd.admin, database, f"/api/v2/{name}/", MANY)[0] == MANY


def test_an_object_takes_three_statements(crowd: World, database: Database) -> None:
    for name in ("organizations", "job_templates", "jobs", "hosts"):
        url = crowd.get(name)["results"][0]["url"]
        with statements(database) as seen:
            crowd.admin.get(url)

        assert len(seen) == 3, name  # who calls, which one, and what it is


@pytest.fixture(scope="module")
def member(crowd: World, database: Database) -> httpx.Client:
    """Somebody who may read every organization, without being a superuser."""
    user = crowd.user()
    with database.transaction() as session:
        organizations = session.scalars(select(API["organizations"].model.id)).all()  # type: ignore[attr-defined]
        for each in organizations:
            grant(session, user.id, "organization", each, "auditor_role")
    return crowd.client(user=user)


@pytest.mark.parametrize("resource", API.resources.values(), ids=lambda resource: resource.name)
def test_nothing_in_a_statement_is_crossed_with_everything(resource: Resource) -> None:
    """A subselect that does not know its outer row reads that row's whole table: wrong, slow, and a leak."""
    for rank in Rank:
        text = object_statement(resource, rank, detail=True, whole=False).text
        assert re.findall(r"FROM [^()\n]*, [^()\n]*", text) == []
