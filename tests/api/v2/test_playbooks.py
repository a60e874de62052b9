"""What may be named as a playbook, by what the server can know of the project."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from api.services import Services
from models.projects import Project
from tests.api.world import GIT, World, new_name

NOT_FOUND = {"playbook": ["Playbook not found for project."]}


@pytest.fixture
def folder(services: Services) -> Iterator[Path]:
    """With one playbook; its name is that of a manual project's `local_path`."""
    path: Path = services.settings.manual_projects_dir / new_name("folder")
    (path / "plays").mkdir(parents=True)
    (path / "plays" / "site.yml").write_text("- hosts: all\n")
    (path / "vars.yml").write_text("a: 1\n")
    yield path
    shutil.rmtree(path)


class TestTemplate:
    @pytest.mark.parametrize("playbook", ["other.yml", "vars.yml", "plays"])
    def test_names_a_playbook_of_the_projects_folder(self, world: World, folder: Path, playbook: str) -> None:
        project = world.project(local_path=folder.name)
        body = {"name": new_name("template"), "project": project["id"], "ask_inventory_on_launch": True}

        refused = world.admin.post("/api/v2/job_templates/", json=body | {"playbook": playbook})
        made = world.post("job_templates", **body, playbook="plays/site.yml")
        changed = world.admin.patch(made["url"], json={"playbook": playbook})

        assert (refused.status_code, refused.json()) == (400, NOT_FOUND)
        assert (changed.status_code, changed.json()) == (400, NOT_FOUND)

    def test_names_a_playbook_of_the_last_update(self, world: World) -> None:
        project = world.project(**GIT)
        template = world.template(project=project["id"], playbook="nobody_can_know_yet.yml")
        _fetched(world, project, ["site.yml"])

        refused = world.admin.patch(template["url"], json={"name": new_name("template")})
        changed = world.admin.patch(template["url"], json={"playbook": "site.yml"})

        assert (refused.status_code, refused.json()) == (400, NOT_FOUND)
        assert changed.status_code == 200

    def test_names_any_where_branches_may_differ(self, world: World) -> None:
        project = world.project(**GIT, allow_override=True)
        _fetched(world, project, ["site.yml"])

        assert world.template(project=project["id"], playbook="of_a_branch.yml")["playbook"] == "of_a_branch.yml"

    def test_names_any_of_a_folder_that_is_not_on_this_host(self, world: World) -> None:
        assert world.template(project=world.project()["id"], playbook="a.yml")["playbook"] == "a.yml"

    def test_names_none_of_a_project_without_a_folder(self, world: World) -> None:
        project = world.project(local_path="")
        body = {"name": new_name("template"), "project": project["id"], "ask_inventory_on_launch": True}

        refused = world.admin.post("/api/v2/job_templates/", json=body | {"playbook": "site.yml"})

        assert (refused.status_code, refused.json()) == (400, NOT_FOUND)


class TestLaunch:
    def test_of_a_playbook_that_is_gone_is_refused(self, world: World, folder: Path) -> None:
        project = world.project(local_path=folder.name)
        template = world.template(project=project["id"], playbook="plays/site.yml")
        first = world.admin.post(template["related"]["launch"], json={}).json()
        (folder / "plays" / "site.yml").unlink()

        for url in (template["related"]["launch"], first["related"]["relaunch"]):
            refused = world.admin.post(url, json={})

            assert refused.status_code == 400
            assert refused.json() == {"playbook": ["Playbook not found in the project: plays/site.yml."]}
        assert world.get(f"job_templates/{template['id']}/jobs")["count"] == 1

    def test_from_a_project_without_a_folder_is_refused(self, world: World) -> None:
        project = world.project()
        template = world.template(project=project["id"])
        assert world.admin.patch(project["url"], json={"local_path": ""}).status_code == 200

        refused = world.admin.post(template["related"]["launch"], json={})

        assert (refused.status_code, list(refused.json())) == (400, ["project"])


def _fetched(world: World, project: dict[str, Any], playbooks: list[str]) -> None:
    with world.database.transaction() as session:
        values = {"scm_revision": "f" * 40, "playbook_files": playbooks}
        session.execute(update(Project).where(Project.id == project["id"]).values(**values))
