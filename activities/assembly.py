"""From a job row to the order for the run host: inventory, variables, credentials and options, read and decrypted
inside the activity in one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from activities.credentials import Injection, Injector
from activities.runhost.protocol import FileSpec, RunSpec
from activities.services import WorkerServices
from core.errors import Invalid
from models.inventories import Host, Inventory
from models.inventory_script import inventory_script
from models.job_templates import JobTemplate, names_a_file
from models.jobs import Job
from models.launch import start_context, survey_context
from models.launch_form import job_credentials
from models.projects import Project
from models.settings import get_setting
from models.users import User
from models.variables import parse_variables

LONGEST_LIMIT = 100_000  # characters: a single argument may have 128 KiB, and the failed hosts of a run may be many


@dataclass
class Assembly:
    """Everything but the checkout. `secrets` are the values to mask, `host_ids` the inventory's hosts by name."""

    spec: RunSpec
    secrets: list[str]
    host_ids: dict[str, int]


def assemble(session: Session, services: WorkerServices, job: Job, project: Project, project_dir: Path) -> Assembly:
    """Raises Invalid with the reason when the job cannot run as it stands."""
    run_id = f"job-{job.id}"

    def path_of(name: str) -> Path:
        return services.run_host.file_path(run_id, name)

    if job.inventory_id is None:
        raise Invalid("The inventory of this job was deleted before it could start.")
    if names_a_file(job.limit):
        raise Invalid("The limit of this job names a file (@...), which is not allowed.")
    injection, answers = _inputs(session, services, job, path_of)
    secrets = [*injection.secrets, *answers.values()]
    files = dict(injection.files)
    options = _options(job)
    if len(job.limit) > LONGEST_LIMIT:
        files["limit"] = FileSpec(job.limit.replace(",", "\n"))
        options.append(f"--limit=@{path_of('limit')}")
    elif job.limit:
        options.append(f"--limit={job.limit}")
    files |= _inventory(session, job.inventory_id)
    files["extra_vars.yml"] = FileSpec(
        _extra_vars(session, job, answers, {**injection.extra_vars, **_facts_about(session, job, project)})
    )
    env = {
        **{str(name): str(value) for name, value in get_setting(session, "AWX_TASK_ENV").items()},
        **injection.env,
        "JOB_ID": str(job.id),
        "INVENTORY_ID": str(job.inventory_id),
        "PROJECT_REVISION": job.scm_revision,
    }
    spec = RunSpec(
        run_id=run_id,
        project_dir=str(project_dir),
        playbook=job.playbook,
        inventory=[str(path_of("inventory"))],
        args=[*options, *injection.args, "--extra-vars", f"@{path_of('extra_vars.yml')}"],
        env=env,
        ssh_keys=injection.ssh_keys,
        files=files,
        timeout=max(job.timeout, 0),
        idle_timeout=get_setting(session, "DEFAULT_JOB_IDLE_TIMEOUT"),
        note=note_of(services, job.id, secrets),
    )
    return Assembly(spec, secrets, inventory_hosts(session, job))


def note_of(services: WorkerServices, job_id: int, secrets: list[str]) -> str:
    """What is to be masked in the run's output, encrypted. It stays with the run: its credentials may be changed or
    deleted while it runs, and a worker that attaches to it later still has to hide what it was given."""
    return services.secrets.encrypt(orjson.dumps(secrets).decode(), f"job:{job_id}:note")


def secrets_of(services: WorkerServices, job_id: int, note: str) -> list[str]:
    """What `note_of` noted."""
    noted: list[str] = orjson.loads(services.secrets.decrypt(note, f"job:{job_id}:note"))
    return noted


def _inputs(
    session: Session, services: WorkerServices, job: Job, path_of: Callable[[str], Path]
) -> tuple[Injection, dict[str, str]]:
    """What the credentials add to the run, and the survey's secret answers by variable; all of it decrypted."""
    asked = _asked_passwords(services, job)
    injection = Injector(services.secrets, asked, path_of).inject(job_credentials(session, job.id))
    answers = {
        name: services.secrets.decrypt(value, survey_context(job.id, name))
        for name, value in job.survey_passwords.items()
    }
    return injection, answers


def _inventory(session: Session, inventory_id: int) -> dict[str, FileSpec]:
    """A script that prints the inventory, which is in a file beside it. Of all that ansible reads only a script's
    output has names that stay as they are: elsewhere `web[1:3]` means three hosts, and `web:22` a port. It is also
    read in half the time of the same in YAML, which counts from 1,000 hosts on."""
    return {
        "inventory": FileSpec('#!/bin/sh\nexec cat "$0.json"\n', mode=0o700),
        "inventory.json": FileSpec(orjson.dumps(inventory_script(session, inventory_id)).decode()),
    }


def inventory_hosts(session: Session, job: Job) -> dict[str, int]:
    rows = session.execute(select(Host.name, Host.id).where(Host.inventory_id == job.inventory_id))
    return dict(rows.all())


def _asked_passwords(services: WorkerServices, job: Job) -> dict[str, str]:
    if not job.start_args:
        return {}
    passwords: dict[str, str] = orjson.loads(services.secrets.decrypt(job.start_args, start_context(job.id)))
    return passwords


def _options(job: Job) -> list[str]:
    """ansible-playbook's options, in the form `--name=value`: a value that begins with a dash stays a value."""
    options = []
    if job.job_type == "check":
        options.append("--check")
    if job.diff_mode:
        options.append("--diff")
    if job.become_enabled:
        options.append("--become")
    if job.force_handlers:
        options.append("--force-handlers")
    if job.forks:
        options.append(f"--forks={job.forks}")
    if job.job_tags:
        options.append(f"--tags={job.job_tags}")
    if job.skip_tags:
        options.append(f"--skip-tags={job.skip_tags}")
    if job.start_at_task:
        options.append(f"--start-at-task={job.start_at_task}")
    if job.verbosity:
        options.append("-" + "v" * min(job.verbosity, 5))
    return options


def _facts_about(session: Session, job: Job, project: Project) -> dict[str, Any]:
    """What a playbook may know about its own run, under AWX's two spellings."""
    user = session.get(User, job.created_by_id) if job.created_by_id else None
    inventory = session.get(Inventory, job.inventory_id)
    facts: dict[str, Any] = {
        "job_id": job.id,
        "job_launch_type": job.launch_type,
        "job_template_id": job.job_template_id,
        "job_template_name": job.name,
        "project_revision": job.scm_revision,
        "project_scm_branch": job.scm_branch or project.scm_branch,
        "inventory_id": job.inventory_id,
        "inventory_name": inventory.name if inventory else "",
    }
    if user is not None:
        facts |= {
            "user_id": user.id,
            "user_name": user.username,
            "user_email": user.email,
            "user_first_name": user.first_name,
            "user_last_name": user.last_name,
        }
    return {f"{prefix}_{name}": value for name, value in facts.items() for prefix in ("awx", "tower")}


class _Unsafe(str):
    """Text that ansible must never evaluate as a template."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Unsafe, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value)))


def _extra_vars(session: Session, job: Job, answers: Mapping[str, str], added: Mapping[str, Any]) -> str:
    """The variables as YAML. Only what stands in the template itself may hold Jinja2 expressions: a value that came
    with the launch is data, else whoever may launch could read whatever the controller can."""
    template = session.get(JobTemplate, job.job_template_id) if job.job_template_id else None
    trusted = parse_variables(template.extra_vars) if template else {}
    variables = parse_variables(job.extra_vars) | dict(answers)
    merged = {
        name: value if name in trusted and trusted[name] == value else _unsafe(value)
        for name, value in variables.items()
    }
    return yaml.dump({**merged, **_unsafe(dict(added))}, Dumper=_Dumper, allow_unicode=True, sort_keys=False)


def _unsafe(value: Any) -> Any:
    if isinstance(value, str):
        return _Unsafe(value)
    if isinstance(value, dict):
        return {_unsafe(key): _unsafe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unsafe(item) for item in value]
    return value
