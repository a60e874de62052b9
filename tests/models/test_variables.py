"""Variables: what users write becomes a mapping of plain values, or a message; never anything else."""

import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from models.variables import parse_variables


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (None, {}),
        ("", {}),
        ("---", {}),
        ("# nothing", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ("a: 1\nb: [x, {c: null}]", {"a": 1, "b": ["x", {"c": None}]}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ("a: 2026-11-21", {"a": "2026-11-21"}),
        ("a: {2: x, true: y, null: z, 1.5: w}", {"a": {"2": "x", "true": "y", "null": "z", "1.5": "w"}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ('a: "{{ b }}"', {"a": "{{ b }}"}),
        ("a: ž😀", {"a": "ž😀"}),
    ],
)
def test_mapping(text: Any, parsed: dict[str, Any]) -> None:
    assert parse_variables(text) == parsed


BILLIONS = "\n".join(  # each line ten times the one before
    ["a: &a [0]"]
    + [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "or YAML"),
        ("a: b: c", "line 1, column 5"),
        ('{"a": 1,}}', "line 1 column"),
        ("[1]", "Input type `list` is not a dictionary"),
        ("just text", "Input type `str` is not a dictionary"),
        ("1: a", "names must be text"),
        (7, "must be a JSON or YAML mapping"),
        ("a: !!binary aGk=", "`bytes`"),
        ("a: !!set {x}", "`set`"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!timestamp x", "or YAML"),
        ("a: !!bool x", "or YAML"),
        ('a: !!int ""', "or YAML"),
        ("a: 2026-99-99", "or YAML"),
        ("? [a]\n: b", "or YAML"),
        ('{"a": "\\ud800"}', "surrogate"),
        ("a: 99999999999999999999", "64 bits"),
        ("a: &x [*x]", "too deeply"),
        ("[" * 100_000, "too deeply"),
        ('{"a":' * 200 + "1" + "}" * 200, "too deeply"),
        ("a: " + "[" * 200 + "]" * 200, "too deeply"),
        (BILLIONS, "too many"),
    ],
)
def test_message(text: Any, words: str) -> None:
    with pytest.raises(Invalid) as error:
        parse_variables(text, "extra_vars")

    [message] = error.value.fields["extra_vars"]
    assert words in message


def test_nesting_does_not_end_the_process() -> None:
    """libyaml's nodes are composed recursively in C: unchecked, this is a segmentation fault."""
    code = (
        "from models.variables import parse_variables as p\ntry: p('- ' * 1_000_000)\nexcept Exception as e: print(e)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0
    assert "too deeply" in result.stdout


@given(st.text() | st.text("[]{}:,-&*!|>'\"#%@ \n\tab01~?."))
def test_any_text_is_plain_values_or_a_message(text: str) -> None:
    try:
        parsed = parse_variables(text)
    except Invalid:
        return
    orjson.dumps(parsed)
