"""What a credential's inputs may be, and what a credential type may say of inputs and injectors. Pure rules: data in,
messages out."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from core.crypto import MASK, PREFIX, Secrets, is_encrypted

ASK = "ASK"  # in place of a password: asked at launch

IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
FILE_LABEL = re.compile(r"template(\.[a-zA-Z_][a-zA-Z0-9_]*)?")
FORMATS = ("ssh_private_key", "vault_id", "url")
FIELD_KEYS: Mapping[str, type] = {
    "id": str,
    "label": str,
    "type": str,
    "help_text": str,
    "multiline": bool,
    "secret": bool,
    "format": str,
    "choices": list,
    "default": object,
}
# A custom type must not change how Forge and ansible themselves behave.
PROTECTED_ENV = frozenset({
    "PATH", "HOME", "USER", "SHELL", "PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
    "SSH_AUTH_SOCK", "JOB_ID", "INVENTORY_ID", "PROJECT_REVISION",
})  # fmt: skip


def credential_context(credential_id: int, name: str) -> str:
    """What an encrypted input is bound to."""
    return f"credential:{credential_id}:{name}"


def fields_of(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["id"]: each for each in schema.get("fields", [])}


# --- inputs -----------------------------------------------------------------------------------------------------------


def check_inputs(schema: Mapping[str, Any], inputs: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Messages for what does not fit the type; `stored` is what `$encrypted$` stands for. No message repeats a value.

    What a type requires may be missing, as in AWX: an import brings no secrets, and somebody fills them in later."""
    fields = fields_of(schema)
    unknown = sorted(set(inputs) - set(fields))
    messages = [f"Additional properties are not allowed ('{name}' was unexpected)" for name in unknown]
    for name, value in inputs.items():
        if name in fields and value is not None:
            messages += [f"{name}: {message}" for message in _check_value(fields[name], value, stored.get(name))]
    return messages or _check_passphrase(fields, inputs)


def _check_value(field: Mapping[str, Any], value: Any, stored: Any) -> Iterator[str]:
    wanted = bool if field.get("type") == "boolean" else str
    if not isinstance(value, wanted):
        yield f"Expected {'a boolean' if wanted is bool else 'a string'}."
        return
    if not isinstance(value, str) or not value:
        return
    if value == MASK:
        if not stored:
            yield f"{MASK} stands for a stored value, and there is none."
        return
    if value.startswith(PREFIX):
        yield f"A value cannot begin with {PREFIX}."
    if "choices" in field and value not in field["choices"]:
        yield f"Must be one of {', '.join(map(str, field['choices']))}."
    if field.get("format") == "ssh_private_key" and not (value == ASK and field.get("ask_at_runtime")):
        if not is_private_key(value):
            yield "Invalid private key."
    elif field.get("format") == "vault_id" and "@" in value:
        yield "@ is not an allowed character."


def _check_passphrase(fields: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    """A passphrase for a key that is locked, and only then."""
    key, passphrase = inputs.get("ssh_key_data"), inputs.get("ssh_key_unlock")
    if "ssh_key_unlock" not in fields or not key or MASK in (key, passphrase):
        return []
    if is_locked_key(key) and not passphrase:
        return ["ssh_key_unlock: must be set when SSH key is encrypted."]
    if passphrase and passphrase != ASK and not is_locked_key(key):
        return ["ssh_key_unlock: should not be set when SSH key is not encrypted."]
    return []


def is_private_key(text: str) -> bool:
    """A key in PEM or OpenSSH form, locked or not."""
    return _load_key(text) is not False


def is_locked_key(text: str) -> bool:
    """A private key that needs a passphrase."""
    return _load_key(text) is None


def _load_key(text: str) -> bool | None:
    """True: a key; None: a locked one; False: none at all."""
    data = text.strip().encode() + b"\n"
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        load(data, password=None)
    except TypeError:  # that is how both say "a passphrase is needed"
        return None
    except UnsupportedAlgorithm:
        return True  # a key, of a kind that ssh may know
    except ValueError as error:
        return None if "password-protected" in str(error) else False
    return True


def encrypt_inputs(
    secrets: Secrets,
    schema: Mapping[str, Any],
    credential_id: int,
    inputs: Mapping[str, Any],
    stored: Mapping[str, Any],
) -> dict[str, Any]:
    """What to store: secrets encrypted, `$encrypted$` replaced by what is stored; empty values are left out."""
    fields = fields_of(schema)
    result: dict[str, Any] = {}
    for name, value in inputs.items():
        if value in (None, ""):
            continue
        field = fields[name]
        if value == MASK:
            value = stored[name]
        elif field.get("secret") and not (value == ASK and field.get("ask_at_runtime")):
            value = secrets.encrypt(value, credential_context(credential_id, name))
        result[name] = value
    return result


def masked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown."""
    return {name: MASK if is_encrypted(value) else value for name, value in inputs.items()}


# --- custom types -----------------------------------------------------------------------------------------------------


def check_schema(schema: Mapping[str, Any]) -> list[str]:
    """Messages for the `inputs` of a custom credential type."""
    unknown = sorted(set(schema) - {"fields", "required"})
    if unknown:
        return [f"Additional properties are not allowed ('{name}' was unexpected)" for name in unknown]
    fields = schema.get("fields", [])
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        return ["'fields' must be a list of objects."]
    messages: list[str] = []
    ids: set[str] = set()
    for each in fields:
        messages += _check_field(each)
        name = each.get("id")
        if isinstance(name, str):
            if name in ids:
                messages.append(f"id must be unique ({name})")
            ids.add(name)
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
        return [*messages, "'required' must be a list of field ids."]
    return messages + [f"'required' names no field: {name}." for name in required if name not in ids]


def _check_field(field: Mapping[str, Any]) -> list[str]:
    messages = [f"'{name}' is a required property" for name in ("id", "label") if name not in field]
    for name, value in field.items():
        if name == "ask_at_runtime":
            messages.append("'ask_at_runtime' not supported for custom credential types.")
        elif name not in FIELD_KEYS:
            messages.append(f"Additional properties are not allowed ('{name}' was unexpected)")
        elif not isinstance(value, FIELD_KEYS[name]):
            messages.append(f"'{name}' is not of type '{FIELD_KEYS[name].__name__}'")
    if messages:
        return messages
    kind = field.get("type", "string")
    if kind not in ("string", "boolean"):
        messages.append(f"{kind} is not one of ['string', 'boolean']")
    if kind == "boolean":
        messages += [
            f"{name} not allowed for {kind} type ({field['id']})" for name in ("choices", "secret") if field.get(name)
        ]
    if not IDENTIFIER.fullmatch(field["id"]):
        messages.append(f"'{field['id']}' is not a valid identifier.")
    if field["id"] == "tower":
        messages.append("'tower' is a reserved field name.")
    if "format" in field and field["format"] not in FORMATS:
        messages.append(f"'{field['format']}' is not one of {list(FORMATS)}")
    if "choices" in field and not (field["choices"] and all(isinstance(each, str) for each in field["choices"])):
        messages.append("'choices' must be a list of text.")
    if "default" in field and not isinstance(field["default"], bool if kind == "boolean" else str):
        messages.append(f"'default' is not of type '{kind}'")
    return messages


class _Files:
    """Stands for `tower.filename` and `tower.filename.<label>` while templates are tried."""

    def __init__(self, labels: list[str]) -> None:
        for label in labels:
            setattr(self, label, f"/path/of/{label}")

    def __str__(self) -> str:
        return "/path/of/the/file"


def check_injectors(schema: Mapping[str, Any], injectors: Mapping[str, Any]) -> list[str]:
    """Messages for the `injectors` of a custom credential type; every template is tried once."""
    messages = [f"'{name}' is not one of file, env, extra_vars." for name in injectors if name not in _INJECTORS]
    messages += [f"'{name}' must be an object." for name, value in injectors.items() if not isinstance(value, dict)]
    if messages:
        return messages
    labels = list(injectors.get("file", {}))
    messages += [
        f"'{label}' is not template or template.<name>." for label in labels if not FILE_LABEL.fullmatch(label)
    ]
    if "template" in labels and len(labels) > 1:
        messages.append("Must use multi-file syntax when injecting multiple files")
    for name in injectors.get("env", {}):
        if not IDENTIFIER.fullmatch(name):
            messages.append(f"'{name}' is not a valid name of an environment variable.")
        elif name in PROTECTED_ENV or name.startswith("ANSIBLE_"):
            messages.append(f"Environment variable {name} may affect Ansible configuration so its use is not allowed.")
    messages += [
        f"'{name}' is not a valid variable name."
        for name in injectors.get("extra_vars", {})
        if not IDENTIFIER.fullmatch(name)
    ]
    if messages:
        return messages
    values: dict[str, Any] = {
        name: field.get("default", True if field.get("type") == "boolean" else "EXAMPLE")
        for name, field in fields_of(schema).items()
    }
    values["tower"] = {"filename": _Files([label.removeprefix("template.") for label in labels if label != "template"])}
    for kind, templates in injectors.items():
        for name, template in templates.items():
            messages += _try(kind, name, template, values)
    return messages


def _try(kind: str, name: str, template: Any, values: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(template, Mapping | list):
        for each in template.values() if isinstance(template, Mapping) else template:
            yield from _try(kind, name, each, values)
        return
    if not isinstance(template, str):
        if kind != "extra_vars":
            yield f"{name} in {kind} is not of type 'string'"
        return
    try:
        _SANDBOX.from_string(template).render(values)
    except UndefinedError as error:
        yield f"{name} uses an undefined field ({error.message})"
    except TemplateSyntaxError as error:
        yield f"Syntax error rendering template for {name} inside of {kind} ({error.message})"
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        yield f"Encountered error while rendering {name} inside of {kind} ({error})"


_INJECTORS = ("file", "env", "extra_vars")
_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
