"""Projects and their updates."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.services import Services
from models.projects import Project
from tests.api.conftest import RecordedRuns
from tests.api.world import GIT, World, new_name

IN_URL = "A URL must not contain a password or token: put it into a Source Control credential."


def test_a_manual_project_is_ok_at_once(world: World) -> None:
    made = world.project()

    assert (made["status"], made["scm_type"]) == ("ok", "")
    assert "current_update" not in made["summary_fields"]
    assert world.admin.get(made["related"]["update"]).json() == {"can_update": False}
    assert world.admin.post(made["related"]["update"]).status_code == 405


def test_a_project_with_an_scm_is_updated_when_it_is_made(world: World, runs: RecordedRuns) -> None:
    made = world.project(**GIT)

    update_ = made["summary_fields"]["current_update"]["id"]
    assert made["status"] == "pending"
    assert made["related"]["current_update"] == f"/api/v2/project_updates/{update_}/"
    assert made["local_path"].startswith(f"_{made['id']}__")
    assert world.get(f"projects/{made['id']}/project_updates", order_by="-created")["results"][0]["id"] == update_
    assert update_ in runs.started


def test_and_again_when_it_points_elsewhere(world: World, runs: RecordedRuns) -> None:
    made = world.project(**GIT)

    def updates() -> int:
        count: int = world.get(f"projects/{made['id']}/project_updates")["count"]
        return count

    world.admin.patch(made["url"], json={"description": "x", "scm_url": GIT["scm_url"]})
    assert updates() == 1
    world.admin.patch(made["url"], json={"scm_branch": "next"})
    assert updates() == 2


@pytest.mark.parametrize(
    "change", [{"scm_url": "https://example.org/y.git"}, {"scm_branch": "next"}, {"scm_type": "", "scm_url": ""}]
)
def test_what_was_fetched_is_forgotten_when_it_points_elsewhere(world: World, change: dict[str, str]) -> None:
    made = world.project(**GIT)
    with world.database.transaction() as session:
        values = {"scm_revision": "f" * 40, "playbook_files": ["a.yml"], "inventory_files": ["hosts"]}
        session.execute(update(Project).where(Project.id == made["id"]).values(**values))

    kept = world.admin.patch(made["url"], json={"description": "x", "scm_clean": True}).json()
    moved = world.admin.patch(made["url"], json={"scm_clean": False} | change).json()

    assert (kept["scm_revision"], moved["scm_revision"]) == ("f" * 40, "")
    with world.database.transaction() as session:
        project = session.get_one(Project, made["id"])
    assert (project.playbook_files, project.inventory_files) == ([], [])


def test_an_update_is_a_run_of_its_own(world: World, runs: RecordedRuns) -> None:
    made = world.project(**GIT)

    answer = world.admin.post(made["related"]["update"])

    shown = answer.json()
    assert (answer.status_code, shown["type"], shown["project_update"]) == (202, "project_update", shown["id"])
    assert (shown["scm_url"], shown["project"]) == (GIT["scm_url"], made["id"])
    assert answer.headers["location"] == shown["url"]
    assert shown["id"] in runs.started
    assert world.admin.get(shown["related"]["stdout"], params={"format": "txt"}).text == ""
    assert world.admin.get(shown["related"]["events"]).json()["count"] == 0
    assert world.admin.delete(shown["url"]).status_code == 409
    assert world.admin.post(shown["related"]["cancel"]).status_code == 202
    assert ("project_update", shown["id"]) in runs.canceled


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"scm_type": "git"}, {"scm_url": ["SCM URL is required."]}),
        ({"scm_type": "git", "scm_url": "gopher://x/y"}, {"scm_url": ["Unsupported git URL."]}),
        ({"scm_type": "git", "scm_url": "nonsense"}, {"scm_url": ["Unsupported git URL."]}),
        ({"scm_type": "git", "scm_url": "https://ada:pw@example.org/x.git"}, {"scm_url": [IN_URL]}),
        ({"scm_type": "git", "scm_url": "https://:pw@example.org/x.git"}, {"scm_url": [IN_URL]}),
        ({"scm_type": "git", "scm_url": "ssh://git:p@w@example.org:22/x.git"}, {"scm_url": [IN_URL]}),
        (
            {"scm_type": "svn", "scm_url": "svn://x/y"},
            {"scm_type": ["svn projects are not supported by this version: use git or a manual project."]},
        ),
        (
            {"scm_update_on_launch": True},
            {"scm_update_on_launch": ["Update options must be set to false for manual projects."]},
        ),
        ({"local_path": "../x"}, {"local_path": ["Must be the name of a folder directly below the projects root."]}),
    ],
)
def test_sources_that_are_none(world: World, body: dict[str, Any], expected: dict[str, Any]) -> None:
    organization = world.organization()["id"]

    refused = world.admin.post("/api/v2/projects/", json={"name": "x", "organization": organization} | body)

    assert (refused.status_code, refused.json()) == (400, expected)


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.org/x", "https://ada@example.org:8443/x?y=a:b@c", "git@example.org:x/y.git"),
        *("example.org:x.git", "ssh://git@x:22/y", "file:///srv/x"),
    ],
)
def test_sources_that_are(world: World, url: str) -> None:
    assert world.project(scm_type="git", scm_url=url)["scm_url"] == url


def test_a_folder_belongs_to_one_project(world: World) -> None:
    folder = new_name("folder")
    first = world.project(local_path=folder)
    body = {"name": "x", "organization": first["organization"], "local_path": folder}

    assert world.admin.post("/api/v2/projects/", json=body).json() == {
        "local_path": ["This path is already being used by another manual project."]
    }
    assert world.admin.put(first["url"], json=first).status_code == 200


def test_credentials_must_be_of_the_kind(world: World) -> None:
    machine, source = world.credential(), world.credential("scm")
    made = world.project(**GIT)

    assert world.admin.patch(made["url"], json={"credential": machine["id"]}).json() == {
        "credential": ["Credential kind must be 'scm'."]
    }
    assert world.admin.patch(made["url"], json={"credential": source["id"]}).json()["credential"] == source["id"]


def test_the_organization_stays_while_templates_use_it(world: World) -> None:
    template = world.template()
    url = f"/api/v2/projects/{template['project']}/"

    refused = world.admin.patch(url, json={"organization": world.organization()["id"]})

    assert refused.json() == {"organization": ["Organization cannot be changed when in use by job templates."]}


def test_delete_waits_for_the_update(world: World) -> None:
    made = world.project(**GIT)
    update_ = made["summary_fields"]["current_update"]["id"]

    refused = world.admin.delete(made["url"])
    world.end(update_)

    assert (refused.status_code, refused.json()) == (409, {"detail": "Resource is being used by running jobs."})
    assert world.admin.delete(made["url"]).status_code == 204
    orphan = world.get(f"project_updates/{update_}")
    assert orphan["project"] is None
    assert "project" not in orphan["related"]


def test_a_manual_project_shows_its_folder_as_it_is(world: World, services: Services) -> None:
    made = world.project(local_path=new_name("folder"))
    folder = services.settings.manual_projects_dir / made["local_path"]
    folder.mkdir(parents=True)
    (folder / "site.yml").write_text("- hosts: all\n")
    (folder / "hosts.ini").write_text("[web]\na\n")

    assert world.admin.get(made["related"]["playbooks"]).json() == ["site.yml"]
    assert world.admin.get(made["related"]["inventory_files"]).json() == ["hosts.ini"]


@pytest.fixture
def folder_of_nobody(services: Services) -> Iterator[Path]:
    """Gone afterwards: who lists unused folders would find it."""
    folder = services.settings.manual_projects_dir / new_name("folder")
    folder.mkdir(parents=True)
    (folder / "site.yml").write_text("- hosts: all\n")
    (folder / "hosts.ini").write_text("[web]\na\n")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.usefixtures("folder_of_nobody")
def test_a_manual_project_without_a_folder_shows_nothing_of_others(world: World) -> None:
    made = world.project(local_path="")

    assert world.admin.get(made["related"]["playbooks"]).json() == []
    assert world.admin.get(made["related"]["inventory_files"]).json() == []


def test_content_shows_as_of_the_last_update(world: World) -> None:
    made = world.project(**GIT)
    with world.database.transaction() as session:
        values = {"playbook_files": ["a.yml"], "inventory_files": ["hosts"]}
        session.execute(update(Project).where(Project.id == made["id"]).values(**values))

    assert world.admin.get(made["related"]["playbooks"]).json() == ["a.yml"]
    assert world.admin.get(made["related"]["inventory_files"]).json() == ["hosts"]
