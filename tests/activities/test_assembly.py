"""From a row to the order for the run host; what ansible makes of it is asked of the real ansible."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from make import (
    SECRETS,
    attach,
    make_actor,
    make_credential,
    make_credential_type,
    make_host,
    make_inventory,
    make_job,
    make_template,
)
from sqlalchemy.orm import Session

from activities.assembly import LONGEST_LIMIT, assemble, secrets_of
from activities.runhost.environment import write_layout
from activities.runhost.protocol import RunDir, RunSpec
from activities.services import WorkerServices
from core.errors import Invalid
from models.jobs import Job
from models.launch import launch_job
from models.launch_form import ASKED_BY
from models.projects import Project
from models.settings import Setting

ASK_ALL = dict.fromkeys([*ASKED_BY.values(), "ask_variables_on_launch"], True)


def order(session: Session, services: WorkerServices, job: Job) -> RunSpec:
    project = session.get_one(Project, job.project_id)
    return assemble(session, services, job, project, Path("/checkout")).spec


def variables_of(spec: RunSpec) -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]
    found: dict[str, Any] = yaml.load(spec.files["extra_vars.yml"].content, Loader)
    return found


class TestOptions:
    def test_plain_job_has_none(self, session: Session, services: WorkerServices) -> None:
        spec = order(session, services, make_job(session))

        path = services.run_host.file_path(spec.run_id, "extra_vars.yml")
        assert spec.args == ["--extra-vars", f"@{path}"]
        assert (spec.timeout, spec.idle_timeout, spec.playbook, spec.project_dir) == (0, 0, "site.yml", "/checkout")

    def test_each_is_one_argument(self, session: Session, services: WorkerServices) -> None:
        job = make_job(
            session,
            job_type="check",
            diff_mode=True,
            become_enabled=True,
            force_handlers=True,
            forks=3,
            limit="-web; rm",
            job_tags="a b",
            skip_tags="--x",
            start_at_task="Say 'hi'",
            verbosity=3,
            timeout=60,
        )

        spec = order(session, services, job)

        assert spec.args[:-2] == [
            "--check",
            "--diff",
            "--become",
            "--force-handlers",
            "--forks=3",
            "--tags=a b",
            "--skip-tags=--x",
            "--start-at-task=Say 'hi'",
            "-vvv",
            "--limit=-web; rm",
        ]
        assert spec.timeout == 60

    def test_negative_timeout_is_none(self, session: Session, services: WorkerServices) -> None:
        assert order(session, services, make_job(session, timeout=-1)).timeout == 0

    def test_limit_longer_than_an_argument_may_be_goes_in_a_file(
        self, session: Session, services: WorkerServices
    ) -> None:
        names = [f"host-{number:05}" for number in range(LONGEST_LIMIT // 8)]

        spec = order(session, services, make_job(session, limit=",".join(names)))

        path = services.run_host.file_path(spec.run_id, "limit")
        assert f"--limit=@{path}" in spec.args
        assert spec.files["limit"].content.splitlines() == names


class TestVariables:
    def test_facts_about_the_run(self, session: Session, services: WorkerServices) -> None:
        actor = make_actor(session, username="ada", email="ada@example.org")
        job = make_job(session, name="Deploy", created_by_id=actor.id, scm_revision="abc")

        found = variables_of(order(session, services, job))

        assert (found["awx_job_id"], found["tower_job_template_name"]) == (job.id, "Deploy")
        assert (found["awx_user_name"], found["tower_user_email"]) == ("ada", "ada@example.org")
        assert (found["awx_project_revision"], found["awx_inventory_id"]) == ("abc", job.inventory_id)

    def test_secret_answers_are_put_in_their_place(self, session: Session, services: WorkerServices) -> None:
        question = {"variable": "token", "type": "password", "required": True}
        template = make_template(session, survey_enabled=True, survey_spec={"spec": [question]})
        root = make_actor(session, is_superuser=True)
        job = launch_job(session, SECRETS, root, template, {"extra_vars": {"token": "s3cr3t"}}).job

        assembly = assemble(session, services, job, session.get_one(Project, job.project_id), Path("/x"))

        assert variables_of(assembly.spec)["token"] == "s3cr3t"
        assert assembly.secrets == ["s3cr3t"]

    def test_custom_credentials_bring_variables_and_environment(
        self, session: Session, services: WorkerServices
    ) -> None:
        kind = make_credential_type(
            session, injectors={"extra_vars": {"t": "{{ token }}"}, "env": {"T": "{{ token }}"}}
        )
        template = make_template(session)
        attach(session, template, make_credential(session, kind, {"token": "t0ken"}))
        session.add(Setting(key="AWX_TASK_ENV", value={"http_proxy": "http://proxy", "T": "other", "N": 1}))
        job = launch_job(session, SECRETS, make_actor(session, is_superuser=True), template, {}).job

        spec = order(session, services, job)

        assert variables_of(spec)["t"] == "t0ken"
        assert spec.env == {
            "http_proxy": "http://proxy",
            "T": "t0ken",
            "N": "1",
            "JOB_ID": str(job.id),
            "INVENTORY_ID": str(job.inventory_id),
            "PROJECT_REVISION": "",
        }


def test_secrets_are_noted_with_the_run_and_not_in_clear(session: Session, services: WorkerServices) -> None:
    inventory = make_inventory(session, hosts=["web", "db"])
    template = make_template(session, inventory_id=inventory.id)
    attach(session, template, make_credential(session, "ssh", {"password": "ASK", "ssh_key_data": "key\ndata"}))
    root = make_actor(session, is_superuser=True)
    job = launch_job(session, SECRETS, root, template, {"credential_passwords": {"ssh_password": "pa55word"}}).job

    assembly = assemble(session, services, job, session.get_one(Project, job.project_id), Path("/x"))

    assert set(assembly.secrets) == {"pa55word", "key\ndata"}
    assert secrets_of(services, job.id, assembly.spec.note) == assembly.secrets
    assert "pa55word" not in assembly.spec.note
    assert set(assembly.host_ids) == {"web", "db"}


def test_job_without_inventory_cannot_run(session: Session, services: WorkerServices) -> None:
    with pytest.raises(Invalid, match="inventory of this job was deleted"):
        order(session, services, make_job(session, inventory_id=None))


def test_broken_variables_of_a_host_are_named(session: Session, services: WorkerServices) -> None:
    inventory = make_inventory(session)
    make_host(session, inventory, name="web1", variables="a: [")

    with pytest.raises(Invalid, match="host web1"):
        order(session, services, make_job(session, make_template(session, inventory_id=inventory.id)))


PRINT = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ {'asked': asked, 'trusted': trusted, 'from_host': from_host, 'answer': answer} | to_json }}"
        dest: "{{ dest }}"
"""


def test_what_came_with_the_launch_is_never_evaluated(
    session: Session, services: WorkerServices, tmp_path: Path
) -> None:
    """The template's and the inventory's own expressions are; a value, a list, a key that was asked for is not."""
    touch = f"{{{{ lookup('pipe', 'touch {tmp_path}/evaluated') }}}}"
    inventory = make_inventory(session)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    make_host(session, inventory, name="localhost", variables=json.dumps(local | {"from_host": "{{ 2 * 21 }}"}))
    template = make_template(
        session,
        inventory_id=inventory.id,
        extra_vars=f'trusted: "{{{{ 6 * 7 }}}}"\ndest: {tmp_path}/out.json\nasked: ""',
        survey_enabled=True,
        survey_spec={"spec": [{"variable": "answer", "type": "password", "required": True}]},
        **ASK_ALL,
    )
    asked = {"text": touch, "list": [touch, {"deep": touch}], touch: "key", "number": 5, "none": None, "flag": True}
    root = make_actor(session, is_superuser=True)
    job = launch_job(session, SECRETS, root, template, {"extra_vars": {"asked": asked, "answer": touch}}).job
    spec = order(session, services, job)
    run = RunDir(tmp_path, "job-1")
    run.path.mkdir()
    write_layout(run, spec.files)
    playbook = tmp_path / "site.yml"
    playbook.write_text(PRINT)

    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", run.files / "inventory", playbook]
    result = subprocess.run(
        [*command, "--extra-vars", f"@{run.files / 'extra_vars.yml'}"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(tmp_path)},
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "asked": asked,
        "trusted": 42,
        "from_host": 42,
        "answer": touch,
    }
    assert not (tmp_path / "evaluated").exists()
