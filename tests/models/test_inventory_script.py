"""The inventory as Ansible gets it, compared with what the real `ansible-inventory` makes of it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from make import make_group, make_host, make_inventory
from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.errors import Invalid
from models.inventories import Host, Inventory
from models.inventory_script import inventory_file, inventory_script

URL = "http://{{ domain }}:{{ port }}"
ANSIBLE_INVENTORY = Path(sys.executable).with_name("ansible-inventory")


def ansible_reads(path: Path, *arguments: str) -> dict[str, Any]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(path.parent),
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    command = [ANSIBLE_INVENTORY, "-i", path, "--list", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=path.parent)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def in_order(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: sorted(value) if isinstance(value, list) else value for key, value in group.items()}
        for name, group in found.items()
    }


@pytest.fixture
def inventory(session: Session) -> Inventory:
    """all: [lone], web: [web1, web2], db: [db1, web2], site: {web, db}."""
    inventory = make_inventory(session, name="Site", variables="domain: example.org\nport: 1")
    web1 = make_host(session, inventory, name="web1", variables=json.dumps({"port": 8080, "url": URL}))
    web2 = make_host(session, inventory, name="web2", variables="tags: [a, {b: null}]")
    db1 = make_host(session, inventory, name="db1")
    make_host(session, inventory, name="lone")
    make_host(session, inventory, name="off", enabled=False)
    web = make_group(session, inventory, name="web", hosts=[web1, web2], variables="port: 80")
    db = make_group(session, inventory, name="db", hosts=[db1, web2])
    make_group(session, inventory, name="site", children=[web, db], variables="tier: 1")
    make_group(session, inventory, name="empty")
    return inventory


class TestScript:
    def test_is_ansibles_dynamic_inventory(self, session: Session, inventory: Inventory) -> None:
        script = inventory_script(session, inventory.id)

        assert script == {
            "all": {"hosts": ["lone"], "children": ["empty", "site"], "vars": {"domain": "example.org", "port": 1}},
            "db": {"hosts": ["db1", "web2"]},
            "empty": {"hosts": []},
            "site": {"children": ["db", "web"], "vars": {"tier": 1}},
            "web": {"hosts": ["web1", "web2"], "vars": {"port": 80}},
            "_meta": {
                "hostvars": {
                    "db1": {},
                    "lone": {},
                    "web1": {"port": 8080, "url": URL},
                    "web2": {"tags": ["a", {"b": None}]},
                }
            },
        }

    def test_options(self, session: Session, inventory: Inventory) -> None:
        assert "_meta" not in inventory_script(session, inventory.id, hostvars=False)
        off = inventory_script(session, inventory.id, disabled=True, towervars=True)["_meta"]["hostvars"]["off"]
        host = session.query(Host).filter_by(name="off", inventory_id=inventory.id).one()
        assert off == {"remote_tower_enabled": "false", "remote_tower_id": host.id}

    def test_empty_inventory(self, session: Session) -> None:
        assert inventory_script(session, make_inventory(session).id) == {
            "all": {"hosts": []},
            "_meta": {"hostvars": {}},
        }

    def test_whose_variables_are_broken_is_said(self, session: Session) -> None:
        inventory = make_inventory(session)
        make_host(session, inventory, name="web1", variables="a: [")

        with pytest.raises(Invalid, match="host web1"):
            inventory_script(session, inventory.id)


class TestFile:
    def read(self, session: Session, inventory: Inventory, tmp_path: Path, *arguments: str) -> dict[str, Any]:
        path = tmp_path / "inventory.json"
        path.write_text(inventory_file(session, inventory.id))
        return ansible_reads(path, *arguments)

    def test_ansible_understands_it(self, session: Session, inventory: Inventory, tmp_path: Path) -> None:
        found = self.read(session, inventory, tmp_path)

        assert sorted(found["all"]["children"]) == ["empty", "site", "ungrouped"]
        assert sorted(found["site"]["children"]) == ["db", "web"]
        assert sorted(found["db"]["hosts"]) == ["db1", "web2"]
        assert found["ungrouped"]["hosts"] == ["lone"]
        variables = found["_meta"]["hostvars"]
        assert set(variables) == {"db1", "lone", "web1", "web2"}
        assert variables["web1"] == {
            "domain": "example.org",
            "port": 8080,
            "tier": 1,
            "url": "http://{{ domain }}:{{ port }}",
        }
        assert variables["web2"] == {"domain": "example.org", "port": 80, "tier": 1, "tags": ["a", {"b": None}]}

    def test_says_the_same_as_the_script(self, session: Session, inventory: Inventory, tmp_path: Path) -> None:
        script = tmp_path / "script.sh"
        data = json.dumps(inventory_script(session, inventory.id))
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{data}\nEND\n")
        script.chmod(0o700)

        assert in_order(self.read(session, inventory, tmp_path)) == in_order(ansible_reads(script))

    def test_names_that_mean_something_elsewhere(self, session: Session, tmp_path: Path) -> None:
        names = ["a.b-c_d", "ž", "10.0.0.1", "::1", "2001:db8::1", "with space", "{{ x }}"]
        inventory = make_inventory(session, hosts=names)
        make_group(session, inventory, name="group-with.dots", hosts=session.query(Host).filter_by(name="ž").all())

        found = self.read(session, inventory, tmp_path)

        assert sorted(name for group in found.values() for name in group.get("hosts", ())) == sorted(names)
        assert found["group-with.dots"]["hosts"] == ["ž"]

    def test_ten_thousand_hosts_are_a_matter_of_a_moment(self, session: Session) -> None:
        inventory = make_inventory(session)
        rows = [
            {"name": f"h{number}", "inventory_id": inventory.id, "variables": f'{{"n": {number}}}'}
            for number in range(10_000)
        ]
        session.execute(insert(Host), rows)
        began = time.process_time()

        text = inventory_file(session, inventory.id)

        assert len(json.loads(text)["all"]["hosts"]) == 10_000
        assert time.process_time() - began < 2
