"""What custom credential types may say."""

from typing import Any

import pytest

from models.credential_inputs import check_injectors, check_schema, is_locked_key, is_private_key
from models.managed_credential_types import MANAGED_TYPES

FIELDS = {"fields": [{"id": "user", "label": "User"}, {"id": "flag", "label": "Flag", "type": "boolean"}]}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"nonsense": 1}, "Additional properties are not allowed ('nonsense' was unexpected)"),
        ({"fields": {}}, "'fields' must be a list of objects."),
        ({"fields": [1]}, "'fields' must be a list of objects."),
        ({"fields": [{"label": "x"}]}, "'id' is a required property"),
        ({"fields": [{"id": "x"}]}, "'label' is a required property"),
        ({"fields": [{"id": 1, "label": "x"}]}, "'id' is not of type 'str'"),
        ({"fields": [{"id": "a-b", "label": "x"}]}, "'a-b' is not a valid identifier."),
        ({"fields": [{"id": "tower", "label": "x"}]}, "'tower' is a reserved field name."),
        ({"fields": [{"id": "a", "label": "x"}] * 2}, "id must be unique (a)"),
        ({"fields": [{"id": "a", "label": "x", "type": "list"}]}, "list is not one of ['string', 'boolean']"),
        ({"fields": [{"id": "a", "label": "x", "type": "boolean", "secret": True}]}, "secret not allowed for boolean type (a)"),  # noqa: E501  the message in one piece
        ({"fields": [{"id": "a", "label": "x", "format": "y"}]}, "'y' is not one of ['ssh_private_key', 'vault_id', 'url']"),  # noqa: E501  the message in one piece
        ({"fields": [{"id": "a", "label": "x", "choices": []}]}, "'choices' must be a list of text."),
        ({"fields": [{"id": "a", "label": "x", "default": 1}]}, "'default' is not of type 'string'"),
        ({"fields": [{"id": "a", "label": "x", "ask_at_runtime": True}]}, "'ask_at_runtime' not supported for custom credential types."),  # noqa: E501  the message in one piece
        ({"required": ["x"]}, "'required' names no field: x."),
        ({"required": "x"}, "'required' must be a list of field ids."),
    ],
)  # fmt: skip
def test_inputs_that_are_no_schema(schema: dict[str, Any], message: str) -> None:
    assert check_schema(schema) == [message]


def test_inputs_that_are_one() -> None:
    assert check_schema({}) == []
    assert check_schema({**FIELDS, "required": ["user"]}) == []


@pytest.mark.parametrize(
    ("injectors", "message"),
    [
        ({"nonsense": {}}, "'nonsense' is not one of file, env, extra_vars."),
        ({"env": []}, "'env' must be an object."),
        ({"env": {"A-B": "x"}}, "'A-B' is not a valid name of an environment variable."),
        ({"env": {"PATH": "x"}}, "Environment variable PATH may affect Ansible configuration so its use is not allowed."),  # noqa: E501  the message in one piece
        ({"env": {"ANSIBLE_X": "x"}}, "Environment variable ANSIBLE_X may affect Ansible configuration so its use is not allowed."),  # noqa: E501  the message in one piece
        ({"env": {"A": 1}}, "A in env is not of type 'string'"),
        ({"env": {"A": "{{ nobody }}"}}, "A uses an undefined field ('nobody' is undefined)"),
        ({"env": {"A": "{{ user"}}, "Syntax error rendering template for A inside of env (unexpected end of template, expected 'end of print statement'.)"),  # noqa: E501  the message in one piece
        ({"env": {"A": "{{ ().__class__.__bases__ }}"}}, "Encountered error while rendering A inside of env (access to attribute '__class__' of 'tuple' object is unsafe.)"),  # noqa: E501  the message in one piece
        ({"env": {"A": "{{ 1 // 0 }}"}}, "Encountered error while rendering A inside of env (integer division or modulo by zero)"),  # noqa: E501  the message in one piece
        ({"env": {"A": "{{ tower.filename.other }}"}, "file": {"template.one": "x"}}, "A uses an undefined field ('models.credential_inputs._Files object' has no attribute 'other')"),  # noqa: E501  the message in one piece
        ({"file": {"one": "x"}}, "'one' is not template or template.<name>."),
        ({"file": {"template": "x", "template.one": "y"}}, "Must use multi-file syntax when injecting multiple files"),
        ({"extra_vars": {"a b": "x"}}, "'a b' is not a valid variable name."),
        ({"extra_vars": {"a": {"b": ["{{ nobody }}"]}}}, "a uses an undefined field ('nobody' is undefined)"),
    ],
)  # fmt: skip
def test_injectors_that_do_not_work(injectors: dict[str, Any], message: str) -> None:
    assert check_injectors(FIELDS, injectors) == [message]


def test_injectors_that_do() -> None:
    injectors = {
        "file": {"template": "{{ user }}"},
        "env": {"A": "{{ tower.filename }}", "B": "{% if flag %}x{% endif %}"},
        "extra_vars": {"a": {"b": ["{{ user }}", 5]}},
    }

    assert check_injectors(FIELDS, injectors) == []


@pytest.mark.parametrize("managed", MANAGED_TYPES, ids=lambda each: each.namespace)
def test_managed_types_keep_the_rules(managed: Any) -> None:
    fields = [{key: value for key, value in each.items() if key != "ask_at_runtime"} for each in managed.fields]
    schema = {"fields": fields, "required": list(managed.required)}

    assert check_schema(schema) == []
    assert check_injectors(schema, managed.injectors) == []


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"]
)
def test_what_is_no_key(text: str) -> None:
    assert not is_private_key(text)
    assert not is_locked_key(text)
