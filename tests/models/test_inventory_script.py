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
from models.inventory_script import host_pattern, inventory_script
from models.job_templates import names_a_file

URL = "http://{{ domain }}:{{ port }}"
ANSIBLE_INVENTORY = Path(sys.executable).with_name("ansible-inventory")


def ansible_reads(script: dict[str, Any], tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What the script's output means to ansible, printed in the same form."""
    path = tmp_path / "inventory"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(script)}\nEND\n")
    path.chmod(0o700)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
    }
    command = [ANSIBLE_INVENTORY, "-i", path, "--list", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


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

    def test_ansible_understands_it(self, session: Session, inventory: Inventory, tmp_path: Path) -> None:
        found = ansible_reads(inventory_script(session, inventory.id), tmp_path)

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

    def test_ansible_takes_names_as_they_are(self, session: Session, tmp_path: Path) -> None:
        hosts = ["a.b-c_d", "ž", "10.0.0.1", "::1", "2001:db8::1", "with space", "{{ x }}", "-i", "x:2222", "bad[1"]
        hosts += ["web[01:03]", "a,b", "*", "!a", "@a", "#a", "a=b", "null", "1e3", "a'b\"c", "_meta"]
        groups = ["group-with.dots", "db[1:2]", "g:1", "-g", "g,h", "{{ g }}", "hosts", "vars", "children", "g n"]
        inventory = make_inventory(session)
        members = [make_host(session, inventory, name=name, variables=json.dumps({"own": name})) for name in hosts]
        for name in groups:
            make_group(session, inventory, name=name, hosts=members)

        found = ansible_reads(inventory_script(session, inventory.id), tmp_path)

        assert {name: each["own"] for name, each in found["_meta"]["hostvars"].items()} == {h: h for h in hosts}
        assert {name: set(found[name]["hosts"]) for name in groups} == {name: set(hosts) for name in groups}
        assert set(found) == {"_meta", "all", *groups}

    def test_ten_thousand_hosts_are_a_matter_of_a_moment(self, session: Session) -> None:
        inventory = make_inventory(session)
        rows = [
            {"name": f"h{number}", "inventory_id": inventory.id, "variables": f'{{"n": {number}}}'}
            for number in range(10_000)
        ]
        session.execute(insert(Host), rows)
        began = time.process_time()

        script = inventory_script(session, inventory.id)

        assert len(script["all"]["hosts"]) == 10_000
        assert time.process_time() - began < 2


class TestHostPattern:
    def test_of_a_plain_name_is_the_name(self) -> None:
        assert [host_pattern(name) for name in ("web-1.example.org", "10.0.0.1", "ž")] == [
            "web-1.example.org",
            "10.0.0.1",
            "ž",
        ]

    def test_selects_that_host_alone(self, session: Session, tmp_path: Path) -> None:
        odd = ["web[01:03]", "x:2222", "a,b", "*", "!web", "&a", "~.", "@a", "a @b", "a;b", "::1", "a'b\\"]
        others = ["web", "web01", "x", "a", "b", "a.b", "axb", "web2"]
        script = inventory_script(session, make_inventory(session, hosts=[*odd, *others]).id)

        limit = ",".join(map(host_pattern, odd))

        found = ansible_reads(script, tmp_path, f"--limit={limit}")
        assert set(found["ungrouped"]["hosts"]) == set(odd)
        assert not names_a_file(limit)
