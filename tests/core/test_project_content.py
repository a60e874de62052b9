import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.project_content import MAX_INVENTORY_FILES, find_inventory_files, find_playbooks, holds_plays

PLAY_KEYS = ["hosts", "import_playbook", "ansible.builtin.import_playbook", "include"]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "- hosts: all\n",
        "---\n# a comment\n\n- name: first\n  hosts: all\n",
        "-   name: wide\n    hosts: all\n",
        "  - name: indented\n    hosts: all\n",
        "-\n  name: dash alone\n  hosts: all\n",
        "- # why\n  hosts: all\n",
        "- import_playbook: other.yml\n",
        "- ansible.builtin.import_playbook: other.yml\n",
        "- include: other.yml\n",
        "- {hosts: all, roles: [web]}\n",
        "- {name: x,\n   hosts: all}\n",
        "[{hosts: all}]\n",
        "- 'hosts': all\n",
        '- "hosts" : all\n',
        "- hosts:\n    - one\n    - two\n",
        "\ufeff- hosts: all\r\n",
        "%YAML 1.2\n---\n- hosts: all\n",
        "- hosts: all\n  tasks:\n   - broken: [\n",
        "- name: not a play\n- hosts: all\n",
        "- name: |\n    hosts\n  hosts: all\n",
    ],
)
def test_plays_are_seen(text: str) -> None:
    assert holds_plays(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "hosts: all\n",
        "- name: a task\n  ansible.builtin.debug:\n    hosts: all\n",
        "- name: |\n    hosts: all\n",
        "- debug:\n- - hosts: all\n",
        "- hostsfile: x\n",
        "- hosts\n",
        "$ANSIBLE_VAULT;1.1;AES256\n3965\n",
        "all:\n  hosts:\n    web1:\n",
        "just text - hosts: all\n",
        "- # hosts: all\n  name: x\n",
    ],
)
def test_other_yaml_holds_no_plays(text: str) -> None:
    assert not holds_plays(text)


scalars = st.one_of(st.text(max_size=30), st.integers(), st.booleans(), st.none())
keys = st.one_of(st.sampled_from([*PLAY_KEYS, "name", "tasks", "vars"]), st.text(alphabet="abhost_:- ", min_size=1))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
documents = st.lists(st.dictionaries(keys, values, max_size=4), max_size=4) | values


@settings(deadline=None, max_examples=60)
@given(documents, st.sampled_from([2, 4]), st.booleans())
def test_it_sees_what_a_yaml_parser_sees(document: object, indent: int, explicit_start: bool) -> None:
    text = yaml.safe_dump(document, indent=indent, explicit_start=explicit_start, default_flow_style=False)

    items = document if isinstance(document, list) else []
    expected = any(isinstance(item, dict) and not item.keys().isdisjoint(PLAY_KEYS) for item in items)
    assert holds_plays(text) == expected


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange(data: bytes) -> None:
    holds_plays(data.decode("utf-8", errors="replace"))


def test_playbooks_are_found_where_awx_finds_them(tmp_path: Path) -> None:
    play = "- hosts: all\n"
    skipped = ["roles/r/tasks/main.yml", "tasks/x.yml", "vars/x.yml", "group_vars/all.yml", "host_vars/h.yml"]
    hidden = [".github/ci.yml", ".hidden.yml", "playbooks/.x/y.yml"]
    found = ["Zeta.yml", "alpha.yaml", "playbooks/deploy.yml"]
    write(tmp_path, dict.fromkeys([*skipped, *hidden, *found, "readme.md", "play.yml.j2"], play))
    write(tmp_path, {"vars.yml": "a: 1\n", "secret.yml": "$ANSIBLE_VAULT;1.1;AES256\n00\n"})

    assert find_playbooks(tmp_path) == ["alpha.yaml", "playbooks/deploy.yml", "Zeta.yml"]


def test_links_pipes_and_strange_names_do_no_harm(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"site.yml": "- hosts: all\n", "sub/x.yml": "- hosts: all\n"})
    write(tmp_path, {"outside.yml": "- hosts: all\n"})
    (tree / "loop").symlink_to(".")
    (tree / "circle.yml").symlink_to("circle.yml")
    (tree / "outside.yml").symlink_to("../outside.yml")
    (tree / "inside.yml").symlink_to("site.yml")
    os.mkfifo(tree / "pipe.yml")
    (tree / os.fsdecode(b"bad\xff.yml")).write_text("- hosts: all\n")
    (tree / "utf8.yml").write_bytes(b"- name: \xff\xfe\n  hosts: all\n")
    (tree / "huge.yml").write_text("- hosts: all\n" + "# filler\n" * 500_000)

    assert find_playbooks(tree) == ["huge.yml", "inside.yml", "site.yml", "sub/x.yml", "utf8.yml"]


def test_inventories_are_ini_yaml_mappings_or_scripts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "hosts": "# mine\nweb1 ansible_host=10.0.0.1\n\n[db]\ndb[1:3].example.com\n",
            "prod.ini": "[web:children]\nblue\n[web:vars]\nport=80\n",
            "inventories/cloud.yml": "---\nplugin: amazon.aws.aws_ec2\n",
            "inventories/dynamic": "#!/usr/bin/env python3\n",
            "site.yml": "- hosts: all\n",
            "README": "This is a text. It explains things.\n",
            "notes": "#!/bin/sh\n",
            "roles/r/defaults/main.yml": "a: 1\n",
            "main.py": "x = 1\n",
            "empty.ini": "",
        },
    )
    (tmp_path / "inventories/dynamic").chmod(0o755)
    (tmp_path / "binary").write_bytes(b"\x7fELF\x00\x00")

    assert find_inventory_files(tmp_path) == ["hosts", "inventories/cloud.yml", "inventories/dynamic", "prod.ini"]


def test_inventory_files_are_cut_off(tmp_path: Path) -> None:
    write(tmp_path, {f"{number:03}.ini": "[a]\n" for number in range(60)})

    assert len(find_inventory_files(tmp_path)) == MAX_INVENTORY_FILES
