"""Surveys: which answers fit, which are missing, and that no message gives a password away."""

from typing import Any

import pytest

from core.crypto import Secrets
from models.surveys import answers_with_defaults, check_answers, default_context, missing_answers, with_clear_defaults


def spec(**question: Any) -> dict[str, Any]:
    return {"spec": [{"variable": "v", "type": "text", "required": True} | question]}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({}, "x"),
        ({"type": "textarea"}, "a\nb"),
        ({"min": 2, "max": 4}, "abcd"),
        ({"min": "", "max": None}, "abcd"),
        ({"required": False}, ""),
        ({"required": False, "min": 3}, ""),
        ({"required": False}, None),
        ({"type": "integer", "min": 1, "max": 9}, 9),
        ({"type": "integer", "required": False}, ""),
        ({"type": "float", "min": 0.5}, 1),
        ({"type": "float"}, 1.5),
        ({"type": "multiplechoice", "choices": "a\nb"}, "b"),
        ({"type": "multiplechoice", "choices": ["1", "2"]}, 1),
        ({"type": "multiplechoice", "choices": ["a"], "required": False}, ""),
        ({"type": "multiselect", "choices": ["a", "b"]}, ["a", "b"]),
        ({"type": "multiselect", "choices": ["a"], "required": False}, []),
    ],
)
def test_answer_that_fits(question: dict[str, Any], answer: Any) -> None:
    assert check_answers(spec(**question), {"v": answer}) == []


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        ({}, "", "'v' value missing"),
        ({}, 5, "Value 5 for 'v' expected to be a string."),
        ({"min": 3}, "ab", "'v' value ab is too small (length is 2 must be at least 3)."),
        ({"max": 1}, "ab", "'v' value ab is too large (must be no more than 1)."),
        ({"type": "integer"}, "5", "Value '5' for 'v' expected to be a numeric type."),
        ({"type": "integer"}, True, "Value True for 'v' expected to be a numeric type."),
        ({"type": "integer"}, 1.5, "Value 1.5 for 'v' expected to be an integer."),
        ({"type": "integer", "min": 2}, 1, "'v' value 1 is too small (must be at least 2)."),
        ({"type": "float", "max": 2}, 2.5, "'v' value 2.5 is too large (must be no more than 2)."),
        ({"type": "multiplechoice", "choices": ["a"]}, "b", "Value b for 'v' expected to be one of ['a']."),
        ({"type": "multiplechoice", "choices": ["a"]}, "", "Value  for 'v' expected to be one of ['a']."),
        ({"type": "multiselect", "choices": ["a"]}, "a", "'v' value is expected to be a list."),
        ({"type": "multiselect", "choices": ["a"]}, ["b"], "Value b for 'v' expected to be one of ['a']."),
        ({"type": "multiselect", "choices": ["a"]}, [], "'v' value missing"),
    ],
)
def test_answer_that_does_not_fit(question: dict[str, Any], answer: Any, message: str) -> None:
    assert check_answers(spec(**question), {"v": answer}) == [message]


@pytest.mark.parametrize(("question", "answer"), [({"min": 9}, "s3cret"), ({"max": 2}, "s3cret"), ({}, ["s3cret"])])
def test_message_about_a_password_does_not_tell_it(question: dict[str, Any], answer: Any) -> None:
    [message] = check_answers(spec(type="password", **question), {"v": answer})

    assert "s3cret" not in message


def test_missing_is_what_is_required_and_has_no_default() -> None:
    questions = {
        "spec": [
            {"variable": "a", "type": "text", "required": True},
            {"variable": "b", "type": "text", "required": True, "default": "x"},
            {"variable": "c", "type": "text", "required": False},
            {"variable": "d", "type": "multiselect", "required": True, "default": ""},
            {"variable": "e", "type": "integer", "required": True, "default": 0},
        ]
    }

    assert missing_answers(questions) == ["a", "d"]
    assert missing_answers({}) == []
    assert check_answers(questions, answers_with_defaults(questions, {})) == ["'a' value missing", "'d' value missing"]


def test_defaults_fill_what_was_not_answered() -> None:
    question = spec(type="multiselect", default="a\nb", choices=["a", "b"])

    assert answers_with_defaults(question, {}) == {"v": ["a", "b"]}
    assert answers_with_defaults(question, {"v": ["a"], "other": 1}) == {"v": ["a"]}


def test_the_mask_stands_for_the_stored_default_of_a_password() -> None:
    secrets = Secrets("k")
    stored = spec(type="password", default=secrets.encrypt("s3cret", default_context(7, "v")))

    clear = with_clear_defaults(stored, secrets, 7)

    assert answers_with_defaults(clear, {"v": "$encrypted$"}) == {"v": "s3cret"}
    assert answers_with_defaults(spec(type="password"), {"v": "$encrypted$"}) == {}
