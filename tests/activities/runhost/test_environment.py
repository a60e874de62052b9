"""Which environment a run gets."""

from pathlib import Path

import pytest

from activities.runhost.environment import INVENTORY_PLUGINS, build_environment, inherited
from activities.runhost.protocol import RunDir


def test_only_harmless_variables_are_inherited() -> None:
    worker = {
        "FORGE_SECRET_KEY": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LC_TIME": "sl_SI.UTF-8",
        "PATH": "/bin",
        "TZ": "CET",
    }

    env = inherited(worker)

    assert env.keys() == {"LC_TIME", "PATH", "TZ", "LANG"}
    assert env["LANG"] == "C.UTF-8"
    assert env["PATH"].endswith(":/bin")


def test_shims_that_need_the_old_home_are_left_out() -> None:
    assert "shims" not in inherited({"PATH": "/root/.pyenv/shims:/bin"})["PATH"]


def test_ssh_args_of_the_project_are_kept(base: Path) -> None:
    (base / "ansible.cfg").write_text("[ssh_connection]\nssh_args = -o ProxyJump=bastion%h\n")

    env = build_environment(RunDir(base, "job-1"), str(base), {})

    assert env["ANSIBLE_SSH_ARGS"] == f"-F {base}/job-1/ssh_config -o ProxyJump=bastion%h"


@pytest.mark.parametrize(
    ("config", "own", "enabled"),
    [
        ("", {}, f"script,{INVENTORY_PLUGINS}"),
        ("[inventory]\nenable_plugins = amazon.aws.aws_ec2, ini ; ours\n", {}, "script,amazon.aws.aws_ec2, ini"),
        ("[inventory]\nenable_plugins = ini\n", {"ANSIBLE_INVENTORY_ENABLED": "yaml"}, "script,yaml"),
    ],
)
def test_inventory_of_the_run_is_read_whatever_the_project_enables(
    base: Path, config: str, own: dict[str, str], enabled: str
) -> None:
    (base / "ansible.cfg").write_text(config)

    env = build_environment(RunDir(base, "job-1"), str(base), own)

    assert env["ANSIBLE_INVENTORY_ENABLED"] == enabled


def test_own_variables_do_not_undo_the_separation(base: Path) -> None:
    env = build_environment(RunDir(base, "job-1"), str(base), {"HOME": "/root", "ANSIBLE_SSH_ARGS": "-C", "X": "1"})

    assert env["HOME"] == f"{base}/job-1/home"
    assert env["ANSIBLE_SSH_ARGS"] == f"-F {base}/job-1/ssh_config -C"
    assert env["X"] == "1"
