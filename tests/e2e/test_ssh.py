"""Jobs on hosts behind a real sshd: how they sign in, and that they do not lend each other what they sign in with."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e.client import Client, Json
from e2e.forge import Forge, processes_of, wait_for
from sshd import Key, Sshd, User, make_key, needs_sshd, needs_users, temporary_user

pytestmark = needs_sshd

HOSTS = 3


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd(ports=HOSTS, passwords=True) as sshd:
        yield sshd


@pytest.fixture(scope="module")
def machines(api: Client, sshd: Sshd) -> Json:
    """The inventory of all ports."""
    hosts = {f"machine{n}": {"ansible_host": "127.0.0.1", "ansible_port": port} for n, port in enumerate(sshd.ports)}
    return api.inventory(hosts)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with temporary_user() as user:
        yield user


@pytest.fixture
def key(sshd: Sshd, tmp_path: Path) -> Key:
    key = make_key(tmp_path / "key")
    sshd.authorize(key.public)
    return key


@pytest.fixture
def fields(project: Json, machines: Json) -> Json:
    return {"project": project["id"], "playbook": "ssh.yml", "inventory": machines["id"]}


def assert_signed_in(api: Client, job: Json, username: str) -> None:
    output = api.stdout(job)
    assert job["status"] == "successful", output
    events = api.events(job, event="runner_on_ok")
    assert sorted(event["host_name"] for event in events) == [f"machine{n}" for n in range(HOSTS)]
    assert all(f"signed in as {username} on" in event["event_data"]["res"]["stdout"] for event in events)


def reason(api: Client, job: Json) -> str:
    """What ansible says why it could not reach the first host."""
    event = api.events(job, event="runner_on_unreachable")[0]
    return event["event_data"]["res"]["msg"]


def test_a_key(api: Client, fields: Json, sshd: Sshd, key: Key) -> None:
    machine = api.credential("Machine", username=sshd.user, ssh_key_data=key.private)

    assert_signed_in(api, api.run(api.template(machine, **fields)), sshd.user)


def test_a_key_with_a_passphrase(api: Client, fields: Json, sshd: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "locked", "open sesame")
    sshd.authorize(key.public)
    machine = api.credential("Machine", username=sshd.user, ssh_key_data=key.private, ssh_key_unlock="open sesame")

    assert_signed_in(api, api.run(api.template(machine, **fields)), sshd.user)


def test_a_passphrase_asked_at_launch(api: Client, fields: Json, sshd: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "locked", "open sesame")
    sshd.authorize(key.public)
    machine = api.credential("Machine", username=sshd.user, ssh_key_data=key.private, ssh_key_unlock="ASK")
    template = api.template(machine, **fields)

    assert api.get(template["related"]["launch"])["passwords_needed_to_start"] == ["ssh_key_unlock"]
    assert_signed_in(api, api.run(template, credential_passwords={"ssh_key_unlock": "open sesame"}), sshd.user)
    wrong = api.run(template, credential_passwords={"ssh_key_unlock": "open barley"})
    assert wrong["status"] in ("failed", "error")


@needs_users
def test_a_password(api: Client, fields: Json, user: User) -> None:
    machine = api.credential("Machine", username=user.name, password=user.password)

    assert_signed_in(api, api.run(api.template(machine, **fields)), user.name)


@needs_users
def test_a_password_asked_at_launch(api: Client, fields: Json, user: User) -> None:
    template = api.template(api.credential("Machine", username=user.name, password="ASK"), **fields)

    assert api.refused(template["related"]["launch"]) == (400, {"passwords_needed_to_start": ["ssh_password"]})
    job = api.run(template, credential_passwords={"ssh_password": user.password})
    assert_signed_in(api, job, user.name)
    assert api.refused(job["related"]["relaunch"]) == (400, {"passwords_needed_to_start": ["ssh_password"]})
    again = api.post(job["related"]["relaunch"], credential_passwords={"ssh_password": user.password})
    assert_signed_in(api, api.finished(again), user.name)


@needs_users
def test_a_wrong_password(api: Client, fields: Json, user: User) -> None:
    job = api.run(api.template(api.credential("Machine", username=user.name, password="wrong"), **fields))

    assert job["status"] == "failed"
    assert job["host_status_counts"] == {"dark": HOSTS}
    assert "password" in reason(api, job).lower()


@needs_users
def test_becoming_another_user_with_a_password(api: Client, fields: Json, user: User) -> None:
    """By `su`, which asks for the password of the other one."""
    with ExitStack() as stack:
        other = stack.enter_context(temporary_user())
        machine = api.credential(
            "Machine",
            username=user.name,
            password=user.password,
            become_method="su",
            become_username=other.name,
            become_password=other.password,
        )
        become = api.run(api.template(machine, become_enabled=True, **fields))
        without = api.run(api.template(machine, **fields))

        assert_signed_in(api, become, other.name)
        assert_signed_in(api, without, user.name)


@needs_users
def test_a_wrong_become_password(api: Client, fields: Json, user: User) -> None:
    machine = api.credential(
        "Machine",
        username=user.name,
        password=user.password,
        become_method="su",
        become_username="root",
        become_password="wrong",
    )
    job = api.run(api.template(machine, become_enabled=True, **fields))

    assert job["status"] == "failed"
    assert "su" in api.stdout(job)


def test_a_run_without_a_credential_does_not_profit_from_the_one_before(
    api: Client, fields: Json, sshd: Sshd, key: Key
) -> None:
    machine = api.credential("Machine", username=sshd.user, ssh_key_data=key.private)
    assert_signed_in(api, api.run(api.template(machine, **fields)), sshd.user)

    job = api.run(api.template(**fields))

    assert job["status"] == "failed"
    assert job["host_status_counts"] == {"dark": HOSTS}
    assert "Permission denied" in reason(api, job)


def test_nothing_of_a_run_is_left(api: Client, forge: Forge, fields: Json, sshd: Sshd, key: Key) -> None:
    machine = api.credential("Machine", username=sshd.user, ssh_key_data=key.private)
    job = api.run(api.template(machine, **fields))
    directory = forge.worker.runs_dir / f"job-{job['id']}"

    wait_for(lambda: not directory.exists(), "the run's directory to go")
    assert processes_of(directory) == []
