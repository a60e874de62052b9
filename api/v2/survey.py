"""`survey_spec/` of a job template: the questions asked at launch."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from api.call import Call
from api.responses import json_response
from api.rest.fields import Json, String
from api.rest.permissions import role
from api.rest.resource import Action
from core.crypto import MASK
from core.errors import Invalid
from models.job_templates import JobTemplate
from models.surveys import choices_of, default_context

TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
WITH_CHOICES = ("multiplechoice", "multiselect")


def _load(call: Call, template_id: int) -> JobTemplate:
    template = call.session.get(JobTemplate, template_id)
    assert template is not None
    return template


def _show(call: Call, template_id: int) -> Response:
    """The survey, {} without one. The default of a password is not shown."""
    return json_response(_masked(_load(call, template_id).survey_spec))


def _masked(spec: Mapping[str, Any]) -> dict[str, Any]:
    questions = [
        question | {"default": MASK} if question["type"] == "password" and question.get("default") else question
        for question in spec.get("spec", [])
    ]
    return {**spec, "spec": questions} if spec else {}


def _store(call: Call, template_id: int) -> Response:
    """Replace the survey. `$encrypted$` as the default of a password keeps the one that is stored."""
    template = _load(call, template_id)
    spec = check_spec(call.data())
    old = {each["variable"]: each for each in template.survey_spec.get("spec", [])}
    for question in spec["spec"]:
        if question["type"] != "password" or not question.get("default"):
            continue
        context = default_context(template_id, question["variable"])
        if question["default"] == MASK:
            kept = old.get(question["variable"], {})
            if kept.get("type") != "password":
                raise Invalid("$encrypted$ is a reserved keyword, may not be used for new default in a survey.")
            question["default"] = kept.get("default", "")
        else:
            question["default"] = call.services.secrets.encrypt(question["default"], context)
    template.survey_spec = spec
    return Response(status_code=200)


def _clear(call: Call, template_id: int) -> Response:
    _load(call, template_id).survey_spec = {}
    return Response(status_code=200)


def check_spec(data: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, without what is no part of one. Raises Invalid with AWX's messages."""
    for name, kind in (("name", str), ("description", str), ("spec", list)):
        if name not in data:
            raise Invalid(f"'{name}' missing from survey spec.")
        if not isinstance(data[name], kind):
            shown = "string" if kind is str else "list of items"
            raise Invalid(f"Expected {shown} for '{name}', received {type(data[name]).__name__} type.")
    if not data["spec"]:
        raise Invalid("'spec' doesn't contain any items.")
    variables: set[str] = set()
    for index, question in enumerate(data["spec"]):
        _check_question(index, question)
        if question["variable"] in variables:
            raise Invalid(f"'variable' '{question['variable']}' duplicated in survey question {index}.")
        variables.add(question["variable"])
    return {"name": data["name"], "description": data["description"], "spec": [dict(each) for each in data["spec"]]}


def _check_question(index: int, question: Any) -> None:
    if not isinstance(question, dict):
        raise Invalid(f"Survey question {index} is not a json object.")
    for name in ("type", "question_name", "variable", "required"):
        if name not in question:
            raise Invalid(f"'{name}' missing from survey question {index}.")
    kind, variable = question["type"], question["variable"]
    if kind not in TYPES:
        allowed = ", ".join(TYPES)
        raise Invalid(f"'{kind}' in survey question {index} is not one of '{allowed}' allowed question types.")
    for name in ("question_name", "variable"):
        if not isinstance(question[name], str) or not question[name].strip():
            raise Invalid(f"'{name}' in survey question {index} is not a non-empty string.")
    if not isinstance(question["required"], bool):
        raise Invalid(f"'required' in survey question {index} expected to be boolean.")
    if kind in WITH_CHOICES and not (question.get("dynamic_choices") or {}).get("enabled"):
        _check_choices(index, question)
    _check_default(index, variable, question)


def _check_choices(index: int, question: Mapping[str, Any]) -> None:
    known = choices_of(question)
    if not known:
        raise Invalid(f"Survey question {index} of type {question['type']} must specify choices.")
    default = question.get("default")
    if default in (None, "", []):
        return
    wanted = default if isinstance(default, list) else str(default).splitlines()
    if question["type"] == "multiplechoice" and len(wanted) > 1:
        raise Invalid("Multiple Choice (Single Select) can only have one default value.")
    if any(each not in known for each in wanted):
        raise Invalid("Default choice must be answered from the choices listed.")


def _check_default(index: int, variable: str, question: Mapping[str, Any]) -> None:
    kind, default = question["type"], question.get("default")
    for limit in ("min", "max"):
        if question.get(limit) not in (None, "") and not isinstance(question[limit], int | float):
            raise Invalid(f"The {limit} limit in survey question {index} expected to be numeric.")
    if default in (None, "") or kind in WITH_CHOICES:
        return
    if kind in ("integer", "float"):
        number = int if kind == "integer" else (int, float)
        if isinstance(default, bool) or not isinstance(default, number):
            raise Invalid(f"Default of '{variable}' in survey question {index} expected to be {kind}.")
    elif not isinstance(default, str):
        raise Invalid(f"Default of '{variable}' in survey question {index} expected to be string.")


SURVEY = Action(
    "survey_spec",
    {"GET": _show, "POST": _store, "DELETE": _clear},
    may=role("job_template", "admin_role"),
    fields=(
        String("name", required=True),
        String("description", required=True),
        Json("spec", kind=list, required=True),
    ),
    description="The questions asked at launch.",
)
