"""What credentials add to a run: arguments, private files, environment and variables, and nothing anywhere else."""

from pathlib import Path
from typing import Any

import pytest
from make import SECRETS, make_credential, make_credential_type
from sqlalchemy.orm import Session

from activities.credentials import Injection, Injector, credential_inputs
from core.errors import DecryptionError, Invalid
from models.credentials import Credential, CredentialType
from models.managed_credential_types import MANAGED_TYPES

KEY = Path(__file__).read_text()  # any text of several lines: what is a key is checked when it is saved
RUN = Path("/run")


def inject(session: Session, *credentials: Credential, asked: dict[str, str] | None = None) -> Injection:
    pairs = [(each, session.get_one(CredentialType, each.credential_type_id)) for each in credentials]
    return Injector(SECRETS, asked or {}, lambda name: RUN / name).inject(pairs)


def contents(injection: Injection) -> dict[str, str]:
    return {name: file.content for name, file in injection.files.items()}


class TestMachine:
    def test_passwords_go_in_files_and_keys_to_the_agent(self, session: Session) -> None:
        credential = make_credential(
            session,
            "ssh",
            {
                "username": "ada",
                "password": "login-pw",
                "ssh_key_data": KEY,
                "ssh_key_unlock": "key-pw",
                "become_method": "sudo",
                "become_username": "root",
                "become_password": "become-pw",
            },
        )

        injection = inject(session, credential)

        assert injection.args == [
            "--user=ada",
            "--connection-password-file=/run/connection_password",
            "--become-method=sudo",
            "--become-user=root",
            "--become-password-file=/run/become_password",
        ]
        assert contents(injection) == {"connection_password": "login-pw\n", "become_password": "become-pw\n"}
        assert all(file.mode == 0o600 for file in injection.files.values())
        [key] = injection.ssh_keys
        assert (key.key, key.passphrase) == (KEY, "key-pw")
        assert set(injection.secrets) == {"login-pw", KEY, "key-pw", "become-pw"}
        assert (injection.env, injection.extra_vars) == ({}, {})

    def test_empty_one_adds_nothing(self, session: Session) -> None:
        assert inject(session, make_credential(session, "ssh")) == Injection()

    def test_asked_passwords_take_the_place_of_ask(self, session: Session) -> None:
        credential = make_credential(
            session, "ssh", {"password": "ASK", "become_password": "ASK", "ssh_key_unlock": "ASK"}
        )
        asked = {"ssh_password": "one-pw", "become_password": "two-pw"}

        injection = inject(session, credential, asked=asked)

        assert contents(injection) == {"connection_password": "one-pw\n", "become_password": "two-pw\n"}
        assert {"one-pw", "two-pw"} <= set(injection.secrets)

    def test_user_that_begins_with_a_dash_stays_a_user(self, session: Session) -> None:
        assert inject(session, make_credential(session, "ssh", {"username": "-e@/etc/passwd"})).args == [
            "--user=-e@/etc/passwd"
        ]


class TestVault:
    def test_each_with_its_id(self, session: Session) -> None:
        plain = make_credential(session, "vault", {"vault_password": "one-pw"})
        named = make_credential(session, "vault", {"vault_password": "two-pw", "vault_id": "prod"})
        asked = make_credential(session, "vault", {"vault_password": "ASK", "vault_id": "dev"})

        injection = inject(session, plain, named, asked, asked={"vault_password.dev": "three-pw"})

        paths = [f"/run/vault_{each.id}" for each in (plain, named, asked)]
        assert injection.args == [f"--vault-id={paths[0]}", f"--vault-id=prod@{paths[1]}", f"--vault-id=dev@{paths[2]}"]
        assert list(contents(injection).values()) == ["one-pw\n", "two-pw\n", "three-pw\n"]


class TestNetwork:
    def test_goes_into_the_environment(self, session: Session) -> None:
        credential = make_credential(
            session,
            "net",
            {
                "username": "ada",
                "password": "net-pw",
                "ssh_key_data": KEY,
                "authorize": True,
                "authorize_password": "auth-pw",
            },
        )

        injection = inject(session, credential)

        assert injection.env == {
            "ANSIBLE_NET_USERNAME": "ada",
            "ANSIBLE_NET_PASSWORD": "net-pw",
            "ANSIBLE_NET_SSH_KEYFILE": f"/run/net_key_{credential.id}",
            "ANSIBLE_NET_AUTHORIZE": "1",
            "ANSIBLE_NET_AUTH_PASS": "auth-pw",
        }


class TestCustom:
    def make(self, session: Session, injectors: dict[str, Any], kind: str = "cloud", **inputs: Any) -> Credential:
        fields = [
            {"id": "token", "label": "Token", "secret": True},
            {"id": "region", "label": "Region", "default": "eu"},
            {"id": "verify", "label": "Verify", "type": "boolean"},
        ]
        made = make_credential_type(session, kind=kind, inputs={"fields": fields}, injectors=injectors)
        return make_credential(session, made, inputs)

    @pytest.mark.parametrize("kind", ["cloud", "net"])
    def test_environment_and_variables(self, session: Session, kind: str) -> None:
        credential = self.make(
            session,
            {
                "env": {"MY_TOKEN": "{{ token }}", "MY_REGION": "{{ region }}"},
                "extra_vars": {"auth": {"token": "{{ token }}", "list": ["{{ 'yes' if verify else 'no' }}"]}},
            },
            kind,
            token="t0ken-value",
        )

        injection = inject(session, credential)

        assert injection.env == {"MY_TOKEN": "t0ken-value", "MY_REGION": "eu"}
        assert injection.extra_vars == {"auth": {"token": "t0ken-value", "list": ["no"]}}
        assert injection.secrets == ["t0ken-value"]

    def test_one_file(self, session: Session) -> None:
        credential = self.make(
            session,
            {"file": {"template": "[auth]\ntoken={{ token }}"}, "env": {"INI": "{{ tower.filename }}"}},
            token="t0ken",
        )

        injection = inject(session, credential)

        assert injection.env == {"INI": f"/run/credential_{credential.id}_file"}
        assert contents(injection) == {f"credential_{credential.id}_file": "[auth]\ntoken=t0ken\n"}

    def test_several_files(self, session: Session) -> None:
        files = {"template.cert": "CERT", "template.key": "{{ token }}"}
        env = {"CERT": "{{ tower.filename.cert }}", "KEY": "{{ tower.filename.key }}"}

        injection = inject(session, self.make(session, {"file": files, "env": env}, token="t0ken"))

        assert {name: contents(injection)[Path(path).name] for name, path in injection.env.items()} == {
            "CERT": "CERT\n",
            "KEY": "t0ken\n",
        }

    @pytest.mark.parametrize(
        "template",
        [
            "{{ token.__class__.__mro__ }}",
            "{{ ''.__class__.__base__.__subclasses__() }}",
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "{{ self._TemplateReference__context }}",
            "{{ token.format.__globals__ }}",
            "{{ '{0.__class__}'.format(token) }}",
            "{% for n in range(999999999) %}x{% endfor %}",
            "{{ undefined_field }}",
            "{{ {}[token] }}",
            "{{ 1 / 0 }}",
            "{{ token + 1 }}",
            "{% include '/etc/passwd' %}",
            "{{ token",
        ],
    )
    def test_template_that_reaches_out_or_breaks_is_refused_without_telling(
        self, session: Session, template: str
    ) -> None:
        credential = self.make(session, {"env": {"X": template}}, token="t0ken-value")

        with pytest.raises(Invalid, match="do not render") as error:
            inject(session, credential)

        assert "t0ken-value" not in str(error.value)
        assert error.value.__cause__ is None


class TestManaged:
    @pytest.mark.parametrize("managed", MANAGED_TYPES, ids=lambda managed: managed.namespace)
    def test_every_type_renders(self, session: Session, managed: Any) -> None:
        inputs = {
            field["id"]: True if field.get("type") == "boolean" else f"value-of-{field['id']}"
            for field in managed.fields
            if "choices" not in field
        }
        credential = make_credential(session, managed.namespace, inputs)

        injection = inject(session, credential)

        secret = {
            f"value-of-{field['id']}" for field in managed.fields if field.get("secret") and field["id"] in inputs
        }
        assert secret <= set(injection.secrets)
        assert not any(value in argument for value in secret for argument in injection.args)

    @pytest.mark.parametrize("managed", MANAGED_TYPES, ids=lambda managed: managed.namespace)
    def test_every_type_renders_when_empty(self, session: Session, managed: Any) -> None:
        inject(session, make_credential(session, managed.namespace))


class TestInputs:
    def test_are_decrypted(self, session: Session) -> None:
        credential = make_credential(session, "scm", {"username": "ada", "password": "scm-pw"})
        assert "scm-pw" not in str(credential.inputs)

        assert credential_inputs(session, SECRETS, credential.id) == {"username": "ada", "password": "scm-pw"}
        assert credential_inputs(session, SECRETS, None) == {}

    def test_of_another_credential_are_worth_nothing(self, session: Session) -> None:
        stolen = make_credential(session, "scm", {"password": "scm-pw"})
        thief = make_credential(session, "scm")
        thief.inputs = dict(stolen.inputs)

        with pytest.raises(DecryptionError):
            credential_inputs(session, SECRETS, thief.id)
