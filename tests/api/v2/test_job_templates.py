"""Job templates, their surveys and their launch."""

from typing import Any

import pytest

from api.v2.job_templates import LAUNCH_FIELDS
from core.crypto import Secrets, is_encrypted
from models.job_templates import JobTemplate
from models.launch_form import ASKED_BY
from models.surveys import default_context
from tests.api.conftest import RecordedRuns
from tests.api.world import PLAYBOOK, World, new_name


class TestCreate:
    def test_takes_the_organization_of_the_project(self, world: World) -> None:
        project = world.project()

        assert world.template(project=project["id"])["organization"] == project["organization"]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"project": None}, {"project": ["This field is required."]}),
            ({"playbook": ""}, {"playbook": ["Must select playbook for project."]}),
            ({"playbook": "../x"}, {"playbook": ["A playbook is a path inside its project."]}),
            ({"playbook": "a/../../x"}, {"playbook": ["A playbook is a path inside its project."]}),
            ({"playbook": "/etc/x"}, {"playbook": ["A playbook is a path inside its project."]}),
            ({"inventory": None}, {"inventory": ["Must either set a default value or ask to prompt on launch."]}),
            ({"scm_branch": "x"}, {"scm_branch": ["Project does not allow overriding branch."]}),
            ({"ask_scm_branch_on_launch": True}, {"ask_scm_branch_on_launch": ["Project does not allow overriding branch."]}),  # noqa: E501  the message in one piece
            ({"job_slice_count": 2}, {"job_slice_count": ["Ensure this value is less than or equal to 1."]}),
            ({"forks": -1}, {"forks": ["Ensure this value is greater than or equal to 0."]}),
            ({"extra_vars": "- a"}, {"extra_vars": ["Input type `list` is not a dictionary"]}),
            ({"use_fact_cache": True}, {"use_fact_cache": ["Fact caching is not supported by this version."]}),
        ],
    )  # fmt: skip
    def test_checks_what_belongs_together(self, world: World, body: dict[str, Any], expected: dict[str, Any]) -> None:
        inventory = world.inventory()
        project = world.project(organization=inventory["organization"])
        good = {"name": "x", "project": project["id"], "inventory": inventory["id"], "playbook": PLAYBOOK}

        refused = world.admin.post("/api/v2/job_templates/", json=good | body)

        assert (refused.status_code, refused.json()) == (400, expected)

    def test_an_inventory_may_be_left_to_the_launch(self, world: World) -> None:
        made = world.template(inventory=None, ask_inventory_on_launch=True)

        assert made["inventory"] is None
        assert "inventory" not in made["summary_fields"]
        assert "inventory" not in made["related"]


class TestCredentials:
    def test_are_one_of_a_kind(self, world: World) -> None:
        template = world.template()
        first, second = world.credential(), world.credential()
        url = template["related"]["credentials"]

        assert world.admin.post(url, json={"id": first["id"]}).status_code == 204
        assert world.admin.post(url, json={"id": first["id"]}).status_code == 204
        refused = world.admin.post(url, json={"id": second["id"]})
        assert (refused.status_code, refused.json()) == (
            400,
            {"error": ["Cannot assign multiple Machine credentials."]},
        )

    def test_but_vaults_one_of_each_id(self, world: World) -> None:
        template = world.template()
        url = template["related"]["credentials"]
        vaults = [
            world.credential("vault", inputs={"vault_password": "x", "vault_id": name}) for name in ("a", "b", "a")
        ]

        answers = [world.admin.post(url, json={"id": each["id"]}) for each in vaults]

        assert [each.status_code for each in answers] == [204, 204, 400]
        assert answers[2].json() == {"error": ["Cannot assign multiple Vault credentials with id `a`."]}
        assert [each["kind"] for each in world.get(f"job_templates/{template['id']}")["summary_fields"]["credentials"]] == [  # noqa: E501  the message in one piece
            "vault", "vault",
        ]  # fmt: skip

    def test_that_playbooks_do_not_use_are_refused(self, world: World) -> None:
        template = world.template()

        refused = world.admin.post(template["related"]["credentials"], json={"id": world.credential("scm")["id"]})

        assert refused.json() == {"error": ["Cannot assign a Credential of kind `scm`."]}


class TestLaunch:
    def test_answers_with_the_job(self, world: World, runs: RecordedRuns) -> None:
        template = world.template()

        answer = world.admin.post(template["related"]["launch"], json={})

        shown = answer.json()
        assert answer.status_code == 201
        assert (shown["type"], shown["job"], shown["status"]) == ("job", shown["id"], "pending")
        assert shown["ignored_fields"] == {}
        assert answer.headers["location"] == shown["url"]
        assert set(shown["related"]) >= {"job_events", "stdout", "cancel", "relaunch", "job_template"}
        assert shown["id"] in runs.started
        assert world.get(f"job_templates/{template['id']}/jobs")["count"] == 1
        assert world.get(f"job_templates/{template['id']}")["summary_fields"]["recent_jobs"][0]["id"] == shown["id"]

    def test_says_what_it_ignored(self, world: World) -> None:
        template = world.template(ask_limit_on_launch=True)
        prompts = {"limit": "web", "job_tags": "a", "extra_vars": '{"x": 1}', "verbosity": 2, "nonsense": 1}

        shown = world.admin.post(template["related"]["launch"], json=prompts).json()

        assert shown["limit"] == "web"
        assert shown["ignored_fields"] == {"job_tags": "a", "extra_vars": {"x": 1}, "verbosity": 2}

    @pytest.mark.parametrize(
        ("prompts", "field"),
        [
            ({"verbosity": 9}, "verbosity"),
            ({"inventory": "x"}, "inventory"),
            ({"inventory": 99999999}, "inventory"),
            ({"credentials": 5}, "credentials"),
            ({"credentials": ["x"]}, "credentials"),
            ({"labels": [99999999]}, "labels"),
            ({"extra_vars": "{"}, "extra_vars"),
            ({"extra_vars": [1]}, "extra_vars"),
            ({"credential_passwords": "x"}, "credential_passwords"),
            ({"diff_mode": "perhaps"}, "diff_mode"),
            ({"forks": 10**20}, "forks"),
        ],
    )
    def test_refuses_by_field(self, world: World, prompts: dict[str, Any], field: str) -> None:
        names = ("variables", "inventory", "credential", "labels", "verbosity", "diff_mode", "forks")
        template = world.template(**{f"ask_{name}_on_launch": True for name in names})

        refused = world.admin.post(template["related"]["launch"], json=prompts)

        assert refused.status_code == 400
        assert list(refused.json()) == [field]

    def test_takes_what_can_be_asked_and_no_more(self) -> None:
        assert {each.name for each in LAUNCH_FIELDS} == {*ASKED_BY, "extra_vars", "credential_passwords"}

    def test_takes_numbers_and_flags_as_text(self, world: World) -> None:
        template = world.template(ask_verbosity_on_launch=True, ask_diff_mode_on_launch=True, ask_forks_on_launch=True)

        answer = world.admin.post(
            template["related"]["launch"], data={"verbosity": "3", "diff_mode": "1", "forks": "7"}
        )

        assert [answer.json()[name] for name in ("verbosity", "diff_mode", "forks")] == [3, True, 7]

    def test_keeps_the_template_while_it_runs(self, world: World) -> None:
        template = world.template()
        world.admin.post(template["related"]["launch"], json={})

        refused = world.admin.delete(template["url"])

        assert (refused.status_code, refused.json()) == (409, {"detail": "Resource is being used by running jobs."})

    def test_data_names_what_may_be_asked(self, world: World) -> None:
        template = world.template(ask_limit_on_launch=True)

        data = world.admin.get(template["related"]["launch"]).json()

        assert data["ask_limit_on_launch"] is True
        assert data["can_start_without_user_input"] is False
        assert data["job_template_data"] == {"id": template["id"], "name": template["name"], "description": ""}


def _question(**over: Any) -> dict[str, Any]:
    return {"type": "text", "question_name": "A?", "variable": "a", "required": False, "default": ""} | over


def _survey(*questions: dict[str, Any]) -> dict[str, Any]:
    return {"name": "Survey", "description": "What we ask", "spec": list(questions)}


class TestSurvey:
    def test_is_stored_shown_and_removed(self, world: World) -> None:
        template = world.template()
        url = template["related"]["survey_spec"]
        survey = _survey(_question(), _question(variable="b", type="multiplechoice", choices=["x", "y"], default="x"))

        assert world.admin.get(url).json() == {}
        assert world.admin.post(url, json=survey).status_code == 200
        assert world.admin.get(url).json() == survey
        assert world.get(f"job_templates/{template['id']}")["summary_fields"]["survey"] == {
            "title": "Survey",
            "description": "What we ask",
        }
        assert world.admin.delete(url).status_code == 200
        assert world.admin.get(url).json() == {}
        assert "survey" not in world.get(f"job_templates/{template['id']}")["summary_fields"]

    @pytest.mark.parametrize(
        ("survey", "detail"),
        [
            ({}, "'name' missing from survey spec."),
            ({"name": 1, "description": "", "spec": []}, "Expected string for 'name', received int type."),
            ({"name": "", "description": "", "spec": {}}, "Expected list of items for 'spec', received dict type."),
            (_survey(), "'spec' doesn't contain any items."),
            ({"name": "", "description": "", "spec": [1]}, "Survey question 0 is not a json object."),
            (_survey({"type": "text"}), "'question_name' missing from survey question 0."),
            (_survey(_question(type="song")), "'song' in survey question 0 is not one of 'text, textarea, password, multiplechoice, multiselect, integer, float' allowed question types."),  # noqa: E501  the message in one piece
            (_survey(_question(variable=" ")), "'variable' in survey question 0 is not a non-empty string."),
            (_survey(_question(required="yes")), "'required' in survey question 0 expected to be boolean."),
            (_survey(_question(), _question()), "'variable' 'a' duplicated in survey question 1."),
            (_survey(_question(type="multiselect")), "Survey question 0 of type multiselect must specify choices."),
            (_survey(_question(type="multiplechoice", choices="x\ny", default="z")), "Default choice must be answered from the choices listed."),  # noqa: E501  the message in one piece
            (_survey(_question(type="multiplechoice", choices="x\ny", default=["x", "y"])), "Multiple Choice (Single Select) can only have one default value."),  # noqa: E501  the message in one piece
            (_survey(_question(type="integer", default="x")), "Default of 'a' in survey question 0 expected to be integer."),  # noqa: E501  the message in one piece
            (_survey(_question(default=5)), "Default of 'a' in survey question 0 expected to be string."),
            (_survey(_question(min="x")), "The min limit in survey question 0 expected to be numeric."),
            (_survey(_question(type="password", default="$encrypted$")), "$encrypted$ is a reserved keyword, may not be used for new default in a survey."),  # noqa: E501  the message in one piece
        ],
    )  # fmt: skip
    def test_that_makes_no_sense_is_refused(self, world: World, survey: dict[str, Any], detail: str) -> None:
        template = world.template()

        refused = world.admin.post(template["related"]["survey_spec"], json=survey)

        assert (refused.status_code, refused.json()) == (400, {"detail": detail})

    def test_defaults_of_passwords_are_secret(self, world: World) -> None:
        template = world.template(survey_enabled=True)
        url = template["related"]["survey_spec"]
        secret = _survey(_question(type="password", default="hunter2-default", required=True))
        masked = _survey(_question(type="password", default="$encrypted$", required=True))

        world.admin.post(url, json=secret)
        assert world.admin.get(url).json() == masked
        assert world.admin.post(url, json=masked).status_code == 200
        assert world.admin.get(url).json() == masked

        with world.database.transaction() as session:
            stored = session.get_one(JobTemplate, template["id"]).survey_spec["spec"][0]["default"]
        launched = world.admin.post(template["related"]["launch"], json={})
        assert is_encrypted(stored)
        assert launched.status_code == 201
        assert launched.json()["extra_vars"] == '{"a":"$encrypted$"}'
        for text in (launched.text, world.admin.get(template["related"]["launch"]).text):
            assert "hunter2-default" not in text
            assert stored not in text

    def test_secret_of_another_key_is_said_to_be_one(self, world: World) -> None:
        """As after a start with another FORGE_SECRET_KEY."""
        template = world.template(survey_enabled=True)
        secret = _question(type="password", default="hunter2-default")
        world.admin.post(template["related"]["survey_spec"], json=_survey(secret))
        job = world.admin.post(template["related"]["launch"], json={}).json()
        ciphertext = Secrets("another key").encrypt("hunter2-default", default_context(template["id"], "a"))
        with world.database.transaction() as session:
            session.get_one(JobTemplate, template["id"]).survey_spec = _survey(secret | {"default": ciphertext})

        for url in (template["related"]["launch"], job["related"]["relaunch"]):
            answer = world.admin.post(url, json={})
            assert answer.status_code == 500
            assert "FORGE_SECRET_KEY" in answer.json()["detail"]
            assert ciphertext not in answer.text

    def test_asks_at_launch(self, world: World) -> None:
        template = world.template(survey_enabled=True)
        world.admin.post(template["related"]["survey_spec"], json=_survey(_question(required=True, min=2)))
        launch = template["related"]["launch"]

        assert world.admin.get(launch).json()["variables_needed_to_start"] == ["a"]
        assert "variables_needed_to_start" in world.admin.post(launch, json={}).json()
        launched = world.admin.post(launch, json={"extra_vars": {"a": "yes"}})
        assert launched.json()["extra_vars"] == '{"a":"yes"}'

    def test_is_changed_by_admins_only(self, world: World) -> None:
        template = world.template()
        client = world.client(("job_template", template["id"], "execute_role"))

        assert client.get(template["related"]["survey_spec"]).status_code == 200
        assert client.post(template["related"]["survey_spec"], json=_survey(_question())).status_code == 403
        assert client.delete(template["related"]["survey_spec"]).status_code == 403


def test_the_environment_that_a_job_would_get(world: World) -> None:
    first, second = (world.post("execution_environments", name=new_name("ee"), image="x")["id"] for _ in range(2))
    organization = world.organization(default_environment=first)
    template = world.template(organization=organization["id"])

    def resolved() -> Any:
        return world.get(f"job_templates/{template['id']}")["summary_fields"]["resolved_environment"]["id"]

    assert resolved() == first
    world.admin.patch(template["url"], json={"execution_environment": second})
    assert resolved() == second
