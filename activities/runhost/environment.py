"""What a run sees of the machine: an environment of its own, and an ssh that knows neither the worker user's keys,
configuration and known hosts nor another run's connections."""

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from activities.runhost.protocol import FileSpec, RunDir

# All that passes from the worker's environment to a run. Nothing of FORGE_*, no agent, no cloud credentials.
INHERITED = ("PATH", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV")

SSH_ARGS = "-C -o ControlMaster=auto -o ControlPersist=60s"  # ansible's own default
INVENTORY_PLUGINS = "host_list,auto,yaml,ini,toml"  # ansible's own default, but for `script`
SSH_CONFIG = """\
# ssh takes the home directory from the password database, so HOME alone does not keep it away from ~/.ssh.
IdentityFile none
UserKnownHostsFile {known_hosts}
Include /etc/ssh/ssh_config
"""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of `environ` that runs may see, with this Python's `ansible-playbook` first on the path."""
    env = {k: v for k, v in environ.items() if k in INHERITED or k.startswith("LC_")}
    env.setdefault("LANG", "C.UTF-8")  # ansible refuses to run without UTF-8
    # The shims of pyenv, rbenv or asdf are scripts that look into HOME, which a run has changed: with them on the path
    # ansible discovers a Python that does not start.
    path = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if Path(part).name != "shims"]
    env["PATH"] = os.pathsep.join(dict.fromkeys([str(Path(sys.executable).parent), *path]))
    return env


def build_environment(run: RunDir, project_dir: str, own: Mapping[str, str]) -> dict[str, str]:
    """The environment of the run: what is inherited, `own` (the run's), and what keeps it apart, which always wins."""
    env = {
        **inherited(os.environ),
        "TERM": "xterm",
        "ANSIBLE_FORCE_COLOR": "True",
        # A git checkout over ssh in a task is held to the same rules as ansible's connections.
        "GIT_SSH_COMMAND": f"ssh -F {run.ssh_config}",
        **own,
    }
    config = _ansible_config(project_dir, env)
    ssh_args = env.get("ANSIBLE_SSH_ARGS") or config.get("ssh_connection", "ssh_args", fallback="") or SSH_ARGS
    plugins = env.get("ANSIBLE_INVENTORY_ENABLED") or config.get("inventory", "enable_plugins", fallback="")
    return {
        **env,
        # First, so that a project's own `-F` (a bastion's configuration) still counts: ssh takes the last one.
        "ANSIBLE_SSH_ARGS": f"-F {run.ssh_config} {ssh_args}",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(run.control),
        # The run's inventory is a script's: it is read even where a project enables other plugins, and a run whose
        # inventory could not be read does not go on without hosts.
        "ANSIBLE_INVENTORY_ENABLED": f"script,{plugins or INVENTORY_PLUGINS}",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_LOCAL_TEMP": str(run.tmp),
        "HOME": str(run.home),  # and with it ANSIBLE_HOME, galaxy's token and cache, ~/.config, ~/.netrc
        "KRB5CCNAME": f"FILE:{run.path / 'krb5cc'}",
        "TMPDIR": str(run.tmp),
    }


def _ansible_config(project_dir: str, env: Mapping[str, str]) -> configparser.ConfigParser:
    """The ansible.cfg that ansible will read, whose options our environment variables would silently replace."""
    candidates = [env["ANSIBLE_CONFIG"]] if "ANSIBLE_CONFIG" in env else []
    for path in map(Path, [*candidates, f"{project_dir}/ansible.cfg", "/etc/ansible/ansible.cfg"]):
        if path.is_file():
            parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
            try:
                parser.read(path)
            except (configparser.Error, UnicodeDecodeError, OSError):
                break  # ansible says better what is wrong with it
            return parser
    return configparser.ConfigParser()


def write_layout(run: RunDir, files: Mapping[str, FileSpec]) -> None:
    """The run's private directories and files. Raises OSError."""
    for directory in (run.files, run.home, run.tmp, run.control, run.artifacts):
        directory.mkdir(mode=0o700)
    run.ssh_config.write_text(SSH_CONFIG.format(known_hosts=run.known_hosts))
    for name, spec in files.items():
        path = run.files / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(spec.content)
        path.chmod(spec.mode)
