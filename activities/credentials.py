"""Credentials of a run: decrypted here, inside the activity, and turned into what ansible takes.

Machine and vault passwords go to ansible in private files (`--connection-password-file` and its kin) rather than
through prompts: nothing to match, nothing to hang on. Every other type describes its injection by templates over its
inputs, the managed types and the custom ones alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlalchemy.orm import Session

from activities.output import Masker
from activities.runhost.protocol import FileSpec, SshKey
from core.crypto import Secrets, is_encrypted
from core.errors import Invalid
from models.credential_inputs import ASK, credential_context
from models.credentials import Credential, CredentialType


@dataclass
class Injection:
    """What the credentials of a run add to it. Paths in `args` and `env` are made by `path_of` of the run."""

    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    extra_vars: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileSpec] = field(default_factory=dict)
    ssh_keys: list[SshKey] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)  # to be masked in all output


def decrypted_inputs(secrets: Secrets, credential: Credential) -> dict[str, Any]:
    return {
        name: secrets.decrypt(value, credential_context(credential.id, name)) if is_encrypted(value) else value
        for name, value in credential.inputs.items()
    }


class Injector:
    """`path_of(name)` gives the path that a private file will have; `asked` holds the passwords asked at launch."""

    def __init__(self, secrets: Secrets, asked: Mapping[str, str], path_of: Callable[[str], Path]) -> None:
        self._secrets = secrets
        self._asked = asked
        self._path_of = path_of

    def inject(self, credentials: Sequence[tuple[Credential, CredentialType]]) -> Injection:
        result = Injection(secrets=list(self._asked.values()))
        for credential, kind in credentials:
            inputs = decrypted_inputs(self._secrets, credential)
            # What is stored encrypted is a secret, whatever the type says of the field by now.
            result.secrets += [inputs[name] for name, stored in credential.inputs.items() if is_encrypted(stored)]
            match kind.namespace:  # not the kind: custom types have kinds too
                case "ssh":
                    self._machine(inputs, result)
                case "vault":
                    self._vault(credential.id, inputs, result)
                case "net":
                    self._network(credential.id, inputs, result)
                case _:
                    self._templates(credential, kind, inputs, result)
        return result

    def _machine(self, inputs: Mapping[str, Any], result: Injection) -> None:
        if inputs.get("username"):
            result.args.append(f"--user={inputs['username']}")
        if key := inputs.get("ssh_key_data"):
            passphrase = self._given(inputs, "ssh_key_unlock", "ssh_key_unlock")
            result.ssh_keys.append(SshKey(key, passphrase or None))
        if password := self._given(inputs, "password", "ssh_password"):
            result.args.append(f"--connection-password-file={self._file(result, 'connection_password', password)}")
        if inputs.get("become_method"):
            result.args.append(f"--become-method={inputs['become_method']}")
        if inputs.get("become_username"):
            result.args.append(f"--become-user={inputs['become_username']}")
        if password := self._given(inputs, "become_password", "become_password"):
            result.args.append(f"--become-password-file={self._file(result, 'become_password', password)}")

    def _vault(self, credential_id: int, inputs: Mapping[str, Any], result: Injection) -> None:
        vault_id = inputs.get("vault_id") or ""
        name = f"vault_password.{vault_id}" if vault_id else "vault_password"
        if password := self._given(inputs, "vault_password", name):
            path = self._file(result, f"vault_{credential_id}", password)
            result.args.append(f"--vault-id={vault_id}@{path}" if vault_id else f"--vault-id={path}")

    def _network(self, credential_id: int, inputs: Mapping[str, Any], result: Injection) -> None:
        result.env["ANSIBLE_NET_USERNAME"] = inputs.get("username", "")
        result.env["ANSIBLE_NET_PASSWORD"] = inputs.get("password", "")
        if key := inputs.get("ssh_key_data"):
            result.env["ANSIBLE_NET_SSH_KEYFILE"] = self._file(result, f"net_key_{credential_id}", key)
        authorize = bool(inputs.get("authorize"))
        result.env["ANSIBLE_NET_AUTHORIZE"] = str(int(authorize))
        if authorize:
            result.env["ANSIBLE_NET_AUTH_PASS"] = inputs.get("authorize_password", "")

    def _given(self, inputs: Mapping[str, Any], name: str, asked_name: str) -> str:
        value = inputs.get(name) or ""
        return self._asked.get(asked_name, "") if value == ASK else value

    def _file(self, result: Injection, name: str, content: str) -> str:
        result.files[name] = FileSpec(content if content.endswith("\n") else content + "\n")
        return str(self._path_of(name))

    def _templates(
        self, credential: Credential, kind: CredentialType, inputs: Mapping[str, Any], result: Injection
    ) -> None:
        injectors = kind.injectors or {}
        values: dict[str, Any] = {f["id"]: "" for f in kind.inputs.get("fields", [])}
        values |= {f["id"]: f["default"] for f in kind.inputs.get("fields", []) if "default" in f} | dict(inputs)
        names: dict[str, str] = {}
        for label, template in sorted((injectors.get("file") or {}).items()):
            file_name = f"credential_{credential.id}_{label.removeprefix('template').lstrip('.') or 'file'}"
            path = self._file(result, file_name, self._render(kind, template, values))
            names[label.removeprefix("template.") if label != "template" else ""] = path
        # Written as in AWX: `tower.filename` for a single file, `tower.filename.<name>` for several.
        values["tower"] = {"filename": names.get("", names)}
        for name, template in (injectors.get("env") or {}).items():
            result.env[name] = self._render(kind, template, values)
        for name, template in (injectors.get("extra_vars") or {}).items():
            result.extra_vars[name] = self._render_nested(kind, template, values)

    def _render_nested(self, kind: CredentialType, template: Any, values: Mapping[str, Any]) -> Any:
        if isinstance(template, Mapping):
            return {key: self._render_nested(kind, value, values) for key, value in template.items()}
        if isinstance(template, list):
            return [self._render_nested(kind, value, values) for value in template]
        return self._render(kind, template, values)

    def _render(self, kind: CredentialType, template: Any, values: Mapping[str, Any]) -> str:
        try:
            return _SANDBOX.from_string(str(template)).render(values)
        except (TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            # It may quote a value that the template worked on.
            reason = Masker(value for value in values.values() if isinstance(value, str)).text(str(error))
            raise Invalid(f"The injectors of credential type {kind.name} do not render: {reason}") from None


_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def credential_inputs(session: Session, secrets: Secrets, credential_id: int | None) -> dict[str, Any]:
    """The decrypted inputs of one credential; {} without one."""
    credential = session.get(Credential, credential_id) if credential_id else None
    return decrypted_inputs(secrets, credential) if credential else {}
