"""Pages of a list."""

from typing import Any

import pytest

from tests.api.world import World


@pytest.fixture(scope="module")
def path(world: World) -> str:
    """A list of five."""
    inventory = world.inventory()
    for number in range(5):
        world.host(inventory, name=f"h{number}")
    return f"/api/v2/inventories/{inventory['id']}/hosts/"


def _page(world: World, path: str, query: str) -> tuple[Any, Any, Any, list[str]]:
    body = world.admin.get(f"{path}?{query}").json()
    return body["count"], body["next"], body["previous"], [each["name"] for each in body["results"]]


def test_pages_link_to_each_other(world: World, path: str) -> None:
    assert _page(world, path, "page_size=2") == (5, f"{path}?page_size=2&page=2", None, ["h0", "h1"])
    assert _page(world, path, "page=2&page_size=2&name__startswith=h") == (
        5,
        f"{path}?page=3&page_size=2&name__startswith=h",
        f"{path}?page=1&page_size=2&name__startswith=h",
        ["h2", "h3"],
    )
    assert _page(world, path, "page_size=2&page=3") == (5, None, f"{path}?page_size=2&page=2", ["h4"])


def test_without_a_count(world: World, path: str) -> None:
    assert _page(world, path, "page_size=4&count_disabled=1") == (
        None,
        f"{path}?page_size=4&count_disabled=1&page=2",
        None,
        ["h0", "h1", "h2", "h3"],
    )
    assert _page(world, path, "page_size=4&count_disabled=1&page=2")[1] is None


@pytest.mark.parametrize("page", ["0", "-1", "x", "4", "99999999999999999999", "1.5", "\u0663"])
def test_a_page_that_is_not_there(world: World, path: str, page: str) -> None:
    answer = world.admin.get(path, params={"page": page, "page_size": 2})

    assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid page."})


@pytest.mark.parametrize("size", ["0", "-5", "x", ""])
def test_a_page_size_that_is_none_is_the_usual(world: World, path: str, size: str) -> None:
    assert len(world.admin.get(path, params={"page_size": size}).json()["results"]) == 5


def test_two_hundred_at_most(world: World, path: str) -> None:
    answer = world.admin.get(path, params={"page_size": 100_000_000_000_000_000})

    assert answer.status_code == 200


def test_the_first_page_of_nothing(world: World, path: str) -> None:
    assert _page(world, path, "name=nobody&page=1") == (0, None, None, [])
