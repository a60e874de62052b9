"""The roots, ping and config: what clients ask first."""

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import insert

from core.db import Database
from core.version import VERSION
from models.access import create_roles, grant
from models.base import now
from models.instances import Instance, InstanceGroup, instance_group_instances
from models.organizations import Organization
from models.projects import Project
from models.users import User


class TestRoots:
    def test_api_names_its_versions_and_sets_the_csrf_cookie(self, anonymous: httpx.Client) -> None:
        answer = anonymous.get("/api/")

        assert answer.json()["available_versions"] == {"v2": "/api/v2/"}
        assert answer.json()["current_version"] == "/api/v2/"
        assert len(answer.cookies["csrftoken"]) == 64

    def test_v2_lists_only_what_is_there(self, anonymous: httpx.Client, admin: httpx.Client) -> None:
        links = anonymous.get("/api/v2/").json()

        assert list(links).index("me") < list(links).index("users")
        for url in links.values():
            assert admin.get(url).status_code == 200

    def test_a_browser_at_the_door_is_led_to_the_documentation(self, anonymous: httpx.Client) -> None:
        assert anonymous.get("/").headers["Location"] == "/api/docs/"


class TestPing:
    def test_shows_instances_and_groups(self, anonymous: httpx.Client, database: Database) -> None:
        with database.transaction() as session:
            instance = Instance(hostname="ping-node", uuid="u-1", capacity=7, version="1.2", last_seen=now())
            group = InstanceGroup(name="ping-group")
            session.add_all([instance, group])
            session.flush()
            session.execute(
                insert(instance_group_instances).values(instance_group_id=group.id, instance_id=instance.id)
            )

        answer = anonymous.get("/api/v2/ping/")

        body = answer.json()
        assert list(body) == ["ha", "version", "active_node", "install_uuid", "instances", "instance_groups"]
        assert (body["version"], body["active_node"]) == (VERSION, "node1")
        [node] = [each for each in body["instances"] if each["node"] == "ping-node"]
        assert node.pop("heartbeat").endswith("Z")
        assert node == {"node": "ping-node", "node_type": "hybrid", "uuid": "u-1", "capacity": 7, "version": "1.2"}
        assert {"name": "ping-group", "capacity": 7, "instances": ["ping-node"]} in body["instance_groups"]


class TestConfig:
    KEYS = (
        *("time_zone", "license_info", "version", "eula", "analytics_status", "analytics_collectors"),
        *("become_methods", "ui_next", "project_base_dir", "project_local_paths", "custom_virtualenvs"),
    )

    def test_is_for_those_who_are_signed_in(self, anonymous: httpx.Client) -> None:
        assert anonymous.get("/api/v2/config/").status_code == 401

    def test_an_admin_sees_unused_project_folders(
        self, admin: httpx.Client, database: Database, projects_root: Callable[..., None]
    ) -> None:
        projects_root("used", "unused", ".hidden")
        with database.transaction() as session:
            session.add(Project(name="manual", local_path="used"))

        body = admin.get("/api/v2/config/").json()

        assert tuple(body) == self.KEYS
        assert body["license_info"]["license_type"] == "open"
        assert ["sudo", "Sudo"] in body["become_methods"]
        assert body["project_local_paths"] == ["unused"]

    def test_who_may_make_projects_sees_them_too(
        self,
        make_client: Callable[..., httpx.Client],
        make_user: Callable[..., User],
        database: Database,
    ) -> None:
        user = make_user()
        assert "project_local_paths" not in make_client(user).get("/api/v2/config/").json()
        with database.transaction() as session:
            organization = Organization(name="config")
            session.add(organization)
            session.flush()
            create_roles(session, "organization", organization.id)
            grant(session, user.id, "organization", organization.id, "project_admin_role")

        assert "project_local_paths" in make_client(user).get("/api/v2/config/").json()

    @pytest.fixture
    def projects_root(self, services: object) -> Callable[..., None]:
        def make(*folders: str) -> None:
            for each in folders:
                (services.settings.manual_projects_dir / each).mkdir(parents=True)  # type: ignore[attr-defined]

        return make
