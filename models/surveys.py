"""Surveys: the questions a template asks at launch, and the check of the answers."""

from collections.abc import Mapping
from typing import Any

from core.crypto import MASK, Secrets, is_encrypted


def default_context(template_id: int, variable: str) -> str:
    """What the encrypted default of a password question is bound to."""
    return f"job_template:{template_id}:survey:{variable}"


def with_clear_defaults(spec: Mapping[str, Any], secrets: Secrets, template_id: int) -> dict[str, Any]:
    """The spec as a launch needs it: defaults of passwords decrypted."""
    asked = [
        question | {"default": secrets.decrypt(question["default"], default_context(template_id, question["variable"]))}
        if is_encrypted(question.get("default"))
        else question
        for question in questions(spec)
    ]
    return {**spec, "spec": asked}


def questions(spec: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return list((spec or {}).get("spec", []))


def choices_of(question: Mapping[str, Any]) -> list[str]:
    """Choices come as a list or as one text, a choice a line."""
    choices = question.get("choices") or []
    return choices.splitlines() if isinstance(choices, str) else [str(choice) for choice in choices]


def _default(question: Mapping[str, Any]) -> Any:
    value = question.get("default")
    if question["type"] == "multiselect" and isinstance(value, str):
        return value.splitlines()
    return value


def answers_with_defaults(spec: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """What was answered, and the defaults of what was not; a question without either is left out."""
    merged: dict[str, Any] = {}
    for question in questions(spec):
        variable = question["variable"]
        default = _default(question)
        if variable in answers and answers[variable] != MASK:
            merged[variable] = answers[variable]
        elif default not in (None, "", []):
            merged[variable] = default
    return merged


def missing_answers(spec: Mapping[str, Any]) -> list[str]:
    """Variables that a launch must bring: required, with no default."""
    return [q["variable"] for q in questions(spec) if q.get("required") and _default(q) in (None, "", [])]


def check_answers(spec: Mapping[str, Any], answers: Mapping[str, Any]) -> list[str]:
    """Messages for what is missing or does not fit; [] when all is well."""
    messages: list[str] = []
    for question in questions(spec):
        variable = question["variable"]
        if variable not in answers:
            if question.get("required"):
                messages.append(f"'{variable}' value missing")
            continue
        messages += _check(question, variable, answers[variable])
    return messages


def _check(question: Mapping[str, Any], variable: str, value: Any) -> list[str]:
    kind = question["type"]
    if kind in ("text", "textarea", "password"):
        return _check_text(question, variable, value)
    if kind in ("integer", "float"):
        return _check_number(question, variable, value)
    if kind == "multiselect":
        if not isinstance(value, list):
            return [f"'{variable}' value is expected to be a list."]
        wrong = [item for item in value if str(item) not in choices_of(question)]
        if question.get("required") and not value:
            return [f"'{variable}' value missing"]
    else:
        if value in (None, "") and not question.get("required"):
            return []
        wrong = [] if str(value) in choices_of(question) else [value]
    if wrong and not question.get("dynamic_choices", {}).get("enabled"):
        return [f"Value {item} for '{variable}' expected to be one of {choices_of(question)}." for item in wrong]
    return []


def _check_text(question: Mapping[str, Any], variable: str, value: Any) -> list[str]:
    if value is None and not question.get("required"):
        return []
    secret = question["type"] == "password"  # what it is must not be repeated in an error
    if not isinstance(value, str):
        return [f"Value {'' if secret else f'{value!r} '}for '{variable}' expected to be a string."]
    if question.get("required") and value == "":
        return [f"'{variable}' value missing"]
    shown = f"'{variable}'" if secret else f"'{variable}' value {value}"
    minimum, maximum = question.get("min"), question.get("max")
    if minimum not in (None, "") and len(value) < int(minimum) and (value or question.get("required")):
        return [f"{shown} is too small (length is {len(value)} must be at least {minimum})."]
    if maximum not in (None, "") and len(value) > int(maximum):
        return [f"{shown} is too large (must be no more than {maximum})."]
    return []


def _check_number(question: Mapping[str, Any], variable: str, value: Any) -> list[str]:
    if value in (None, "") and not question.get("required"):
        return []
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [f"Value {value!r} for '{variable}' expected to be a numeric type."]
    if question["type"] == "integer" and not isinstance(value, int):
        return [f"Value {value!r} for '{variable}' expected to be an integer."]
    minimum, maximum = question.get("min"), question.get("max")
    if minimum not in (None, "") and value < float(minimum):
        return [f"'{variable}' value {value} is too small (must be at least {minimum})."]
    if maximum not in (None, "") and value > float(maximum):
        return [f"'{variable}' value {value} is too large (must be no more than {maximum})."]
    return []
