"""A secret that Forge knows is nowhere to be read. One run is given every kind of secret and shows what it can; then
everything that Forge answers, wrote or passed on is searched for them."""

import base64
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import psutil
import pytest
from e2e.client import Client, Json
from e2e.forge import Forge, wait_for
from gitserver import GitHttp, GitRepo
from sshd import make_key

from core.embedded.postgres import find_wheel
from core.settings import Settings
from core.temporal import connect

SECRETS = {
    "ssh password": "Rosebud-of-the-machine",
    "become password": "Rosebud-of-becoming",
    "key passphrase": "Rosebud-of-the-key",
    "vault password": "Rosebud-of-the-vault",
    "survey answer": 'Rosebud "of" the\\survey',
    "survey default": "Rosebud-by-default",
    "custom environment": "Rosebud-of-the-environment",
    "custom variable": "Rosebud-of-a-variable",
    "custom file": "Rosebud-of-a-file",
    "scm password": "Rosebud-of-git",
}
VAULTED = "of the playbook's own"  # Forge does not know it, so the playbook keeps it to itself
CUSTOM_TYPE = {
    "kind": "cloud",
    "inputs": {
        "fields": [
            {"id": name, "label": name, "type": "string", "secret": True}
            for name in ("in_env", "in_variable", "in_file")
        ]
    },
    "injectors": {
        "env": {"CUSTOM_ENV": "{{ in_env }}", "CUSTOM_FILE": "{{ tower.filename }}"},
        "extra_vars": {"custom_variable": "{{ in_variable }}"},
        "file": {"template": "{{ in_file }}"},
    },
}


def question(variable: str, default: str = "") -> Json:
    return {
        "type": "password",
        "question_name": variable,
        "variable": variable,
        "required": not default,
        "default": default,
    }


SURVEY = {
    "name": "",
    "description": "",
    "spec": [question("answer"), question("by_default", SECRETS["survey default"])],
}


@dataclass
class Shown:
    """What was to be seen of the run, and where."""

    api: Client
    project: Json
    template: Json
    job: Json
    key: str
    proof: list[str]
    credentials: list[Json]
    command_lines: list[str] = field(default_factory=list)

    def found_in(self, text: str | bytes) -> list[str]:
        """The names of the secrets in the text, in any of the forms in which programs write them."""
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        forms = {
            name: {value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()}
            for name, value in SECRETS.items()
        }
        forms["key"] = {line for line in self.key.splitlines() if not line.startswith("-----")}
        return [name for name, values in forms.items() if any(value.encode() in data for value in values)]


def command_lines() -> list[str]:
    """Of every process of the machine, but for the tests' own."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append("\0".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines


def encrypt_with_vault(text: str, password_file: Path) -> str:
    vault = Path(sys.executable).with_name("ansible-vault")
    command = [str(vault), "encrypt", f"--vault-password-file={password_file}", "--output=-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def shown(api: Client, repo: GitRepo, inventory: Json, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    here = tmp_path_factory.mktemp("secrets")
    gate, proof = here / "gate", here / "proof"
    (here / "vault").write_text(SECRETS["vault password"])
    repo.commit({"vaulted.yml": encrypt_with_vault(f"vaulted: {VAULTED}\n", here / "vault")})
    key = make_key(here / "key", SECRETS["key passphrase"])

    git = GitHttp(repo.path.parent, "deploy", SECRETS["scm password"])
    scm = api.credential("Source Control", username="deploy", password=SECRETS["scm password"])
    git.hold()
    try:
        project = api.project(f"{git.url}/project", credential=scm["id"], synced=False)
        assert git.asked.wait(60)
        lines = command_lines()
        git.held.clear()
        assert api.finished(api.last_update(project))["status"] == "successful"
    finally:
        git.stop()

    api.create("credential_types", name="Rosebud", **CUSTOM_TYPE)
    credentials = [
        api.credential(
            "Machine",
            username="nobody",
            password=SECRETS["ssh password"],
            ssh_key_data=key.private,
            ssh_key_unlock="ASK",
            become_password=SECRETS["become password"],
        ),
        api.credential("Vault", vault_password=SECRETS["vault password"]),
        api.credential(
            "Rosebud",
            in_env=SECRETS["custom environment"],
            in_variable=SECRETS["custom variable"],
            in_file=SECRETS["custom file"],
        ),
    ]
    template = api.template(
        *credentials,
        project=project["id"],
        playbook="secrets.yml",
        inventory=inventory["id"],
        extra_vars=json.dumps({"gate": str(gate), "proof": str(proof)}),
        survey_enabled=True,
        verbosity=3,
    )
    api.post(template["related"]["survey_spec"], **SURVEY)
    job = api.launch(
        template,
        extra_vars={"answer": SECRETS["survey answer"]},
        credential_passwords={"ssh_key_unlock": SECRETS["key passphrase"]},
    )
    try:
        wait_for(lambda: "Wait to be looked at" in api.stdout(job), "the task that waits")
        lines += command_lines()
    finally:
        gate.touch()
    job = api.finished(job)
    assert "Fail with it" in api.stdout(job), api.stdout(job)
    return Shown(
        api, api.get(project["url"]), template, job, key.private, proof.read_text().split("\n"), credentials, lines
    )


def test_the_playbook_got_them(shown: Shown) -> None:
    """Else there would be nothing to hide."""
    names = ("survey answer", "survey default", "custom variable", "custom environment", "custom file")

    assert shown.proof == [VAULTED, *(SECRETS[name] for name in names)]
    assert sorted(shown.found_in("\n".join(shown.proof))) == sorted(names)
    assert shown.api.stdout(shown.job).count("$encrypted$") > 10
    assert shown.job["status"] == "failed"


def test_the_output(shown: Shown) -> None:
    for form in ("txt", "ansi", "html", "json", "txt_download", "ansi_download"):
        assert shown.found_in(shown.api.stdout(shown.job, form)) == [], form
    assert shown.found_in(json.dumps(shown.api.events(shown.job), ensure_ascii=False)) == []


def test_what_the_api_says_of_the_run(shown: Shown) -> None:
    job = shown.job

    assert shown.found_in(json.dumps(job, ensure_ascii=False)) == []
    assert job["artifacts"] == {"kept": "$encrypted$ and $encrypted$"}
    assert json.loads(job["extra_vars"])["answer"] == "$encrypted$"
    assert job["job_env"]["CUSTOM_ENV"] in ("$encrypted$", "**********")


def test_everything_else_that_the_api_says(shown: Shown) -> None:
    api, template = shown.api, shown.template
    update = api.last_update(shown.project)
    answers = [
        *(template["related"][name] for name in ("launch", "survey_spec", "credentials", "jobs")),
        *(credential["url"] for credential in shown.credentials),
        *(update["related"][name] for name in ("events", "stdout")),
        template["url"],
        shown.project["url"],
        update["url"],
        shown.job["related"]["relaunch"],
        "/api/v2/unified_jobs/?page_size=200",
        "/api/v2/credentials/?page_size=200",
        "/api/v2/credential_types/?page_size=200",
    ]

    for path in answers:
        answer = api.http.get(path)
        assert answer.is_success, path
        assert shown.found_in(answer.content) == [], path


def test_what_others_on_the_machine_see(shown: Shown) -> None:
    """While the repository was fetched, and while the playbook ran."""
    assert any("activities.runhost.host" in line for line in shown.command_lines)  # what the playbook runs in
    assert any("git" in line and "fetch" in line for line in shown.command_lines)
    assert [line for line in shown.command_lines if shown.found_in(line)] == []


def test_the_database(shown: Shown, forge: Forge) -> None:
    """Its credentials are there, encrypted."""
    pg_dump = find_wheel() / "pginstall" / "bin" / "pg_dump"
    dump = subprocess.run([pg_dump, "--dbname", forge.postgres.url], capture_output=True, check=True).stdout

    assert b"COPY public.job_events" in dump
    assert shown.found_in(dump) == []


def test_temporal(shown: Shown, forge: Forge) -> None:
    histories = anyio.run(fetch_histories, forge.temporal.address)

    assert any(f'"run_id":{shown.job["id"]}'.encode() in history for history in histories)
    assert shown.found_in(b"".join(histories)) == []


async def fetch_histories(address: str) -> list[bytes]:
    """Of every workflow there is, payloads included."""
    client = await connect(Settings(), address)
    return [
        event.SerializeToString()
        async for execution in client.list_workflows()
        for event in (await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()).events
    ]


def test_the_disk(shown: Shown, forge: Forge) -> None:
    """Every file that Forge keeps: logs, Temporal's and PostgreSQL's own files, the cache of projects."""
    files = [path for path in forge.data_dir.rglob("*") if path.is_file() and not path.is_symlink()]

    assert {"server.log", "worker.log", "temporal.log", "temporal.db", "runhost.log"} <= {path.name for path in files}
    assert {str(path): found for path in files if (found := shown.found_in(path.read_bytes()))} == {}
    assert not (forge.worker.runs_dir / f"job-{shown.job['id']}").exists()
