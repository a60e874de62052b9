"""Credentials: secrets go in and never come out."""

import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from sqlalchemy import select

from api.services import Services
from core.crypto import MASK, is_encrypted
from models.access import grant
from models.credential_inputs import credential_context
from models.credentials import Credential, CredentialType
from tests.api.world import GIT, Body, World, new_name

SECRET = "hunter2-is-the-secret"


def private_key(encryption: KeySerializationEncryption | None = None) -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption or NoEncryption()).decode()


def _stored(services: Services, credential_id: int) -> dict[str, Any]:
    with services.database.transaction() as session:
        return dict(session.scalars(select(Credential.inputs).where(Credential.id == credential_id)).one())


def _type_id(services: Services, namespace: str) -> int:
    with services.database.transaction() as session:
        return session.scalars(select(CredentialType.id).where(CredentialType.namespace == namespace)).one()


class TestSecrets:
    def test_are_stored_encrypted_and_bound_to_their_place(self, world: World, services: Services) -> None:
        made = world.credential(inputs={"username": "alice", "password": SECRET})

        stored = _stored(services, made["id"])

        assert stored["username"] == "alice"
        assert is_encrypted(stored["password"])
        context = credential_context(made["id"], "password")
        assert services.secrets.decrypt(stored["password"], context) == SECRET

    def test_show_as_a_mask(self, world: World) -> None:
        made = world.credential(inputs={"username": "alice", "password": SECRET})

        assert made["inputs"] == {"username": "alice", "password": MASK}
        assert world.get(f"credentials/{made['id']}")["inputs"] == made["inputs"]

    def test_show_nowhere(self, world: World, services: Services) -> None:
        template = world.template()
        made = world.credential(inputs={"password": SECRET}, organization=template["organization"])
        world.attach(f"job_templates/{template['id']}/credentials", id=made["id"])
        ciphertext = _stored(services, made["id"])["password"]

        for path in (
            f"credentials/{made['id']}/",
            f"credentials/?id={made['id']}",
            f"credential_types/{made['credential_type']}/credentials/?page_size=200",
            f"organizations/{template['organization']}/credentials/",
            f"job_templates/{template['id']}/",
            f"job_templates/{template['id']}/credentials/",
            f"job_templates/{template['id']}/launch/",
            f"unified_job_templates/?id={template['id']}",
        ):
            text = world.admin.get(f"/api/v2/{path}").text
            assert SECRET not in text, path
            assert ciphertext not in text, path
        assert SECRET not in world.admin.options("/api/v2/credentials/").text

    def test_come_back_masked_and_stay(self, world: World, services: Services) -> None:
        made = world.credential(inputs={"username": "alice", "password": SECRET})
        before = _stored(services, made["id"])["password"]

        put = world.admin.put(made["url"], json={**made, "inputs": {"username": "bob", "password": MASK}})

        assert put.status_code == 200
        assert put.json()["inputs"] == {"username": "bob", "password": MASK}
        assert _stored(services, made["id"])["password"] == before

    def test_are_replaced_and_removed(self, world: World, services: Services) -> None:
        made = world.credential(inputs={"password": SECRET, "username": "alice"})

        world.admin.patch(made["url"], json={"inputs": {"password": "another"}})
        assert services.secrets.decrypt(
            _stored(services, made["id"])["password"], credential_context(made["id"], "password")
        ) == "another"  # fmt: skip
        world.admin.patch(made["url"], json={"inputs": {"password": ""}})
        assert _stored(services, made["id"]) == {}

    def test_are_never_repeated_in_a_refusal(self, world: World) -> None:
        kind = world.credential()["credential_type"]
        body = {
            "name": new_name("credential"),
            "organization": world.organization()["id"],
            "credential_type": kind,
            "inputs": {"ssh_key_data": SECRET, "password": [SECRET], "nonsense": SECRET},
        }

        refused = world.admin.post("/api/v2/credentials/", json=body)

        assert refused.status_code == 400
        assert SECRET not in refused.text

    def test_may_be_asked_for_at_launch(self, world: World) -> None:
        template = world.template()
        inputs = {"password": "ASK", "become_password": "ASK", "username": "ASK"}
        made = world.credential(inputs=inputs, organization=template["organization"])
        world.attach(f"job_templates/{template['id']}/credentials", id=made["id"])

        assert made["inputs"] == inputs
        assert world.get(f"job_templates/{template['id']}/launch")["passwords_needed_to_start"] == [
            "become_password",
            "ssh_password",
        ]


class TestInputs:
    @pytest.mark.parametrize(
        ("namespace", "inputs", "message"),
        [
            ("ssh", {"nonsense": "x"}, "Additional properties are not allowed ('nonsense' was unexpected)"),
            ("ssh", {"username": 5}, "username: Expected a string."),
            ("net", {"authorize": "yes"}, "authorize: Expected a boolean."),
            ("ssh", {"ssh_key_data": "no key"}, "ssh_key_data: Invalid private key."),
            ("ssh", {"password": MASK}, f"password: {MASK} stands for a stored value, and there is none."),
            ("ssh", {"password": "$forge$1$x"}, "password: A value cannot begin with $forge$1$."),
            ("vault", {"vault_id": "a@b"}, "vault_id: @ is not an allowed character."),
            ("scm", {"ssh_key_data": "ASK"}, "ssh_key_data: Invalid private key."),
        ],
    )
    def test_that_do_not_fit_the_type(
        self, world: World, services: Services, namespace: str, inputs: dict[str, Any], message: str
    ) -> None:
        body = {
            "name": new_name("credential"),
            "organization": world.organization()["id"],
            "credential_type": _type_id(services, namespace),
            "inputs": inputs,
        }

        refused = world.admin.post("/api/v2/credentials/", json=body)

        assert (refused.status_code, refused.json()) == (400, {"inputs": [message]})

    def test_json_text_is_taken_for_what_it_holds(self, world: World) -> None:
        assert world.credential(inputs=json.dumps({"username": "alice"}))["inputs"] == {"username": "alice"}

    def test_a_locked_key_wants_its_passphrase(self, world: World) -> None:
        locked, clear = private_key(BestAvailableEncryption(b"open sesame")), private_key()
        organization, kind = world.organization()["id"], world.credential()["credential_type"]

        def answer(**inputs: str) -> httpx.Response:
            body = {"name": new_name("c"), "organization": organization, "credential_type": kind, "inputs": inputs}
            return world.admin.post("/api/v2/credentials/", json=body)

        assert answer(ssh_key_data=clear).status_code == 201
        assert answer(ssh_key_data=locked, ssh_key_unlock="open sesame").status_code == 201
        assert answer(ssh_key_data=locked, ssh_key_unlock="ASK").status_code == 201
        assert answer(ssh_key_data=locked).json() == {
            "inputs": ["ssh_key_unlock: must be set when SSH key is encrypted."]
        }
        assert answer(ssh_key_data=clear, ssh_key_unlock="x").json() == {
            "inputs": ["ssh_key_unlock: should not be set when SSH key is not encrypted."]
        }

    def test_a_vault_id_stays(self, world: World) -> None:
        made = world.credential("vault", inputs={"vault_password": "x", "vault_id": "dev"})

        kept = world.admin.patch(made["url"], json={"inputs": {"vault_password": MASK, "vault_id": "dev"}})
        changed = world.admin.patch(made["url"], json={"inputs": {"vault_password": MASK, "vault_id": "prod"}})

        assert kept.status_code == 200
        assert changed.json() == {"inputs": ["vault_id: Vault IDs cannot be changed once they have been created."]}


class TestOwners:
    def test_there_is_one(self, world: World) -> None:
        kind = world.credential()["credential_type"]
        body = {"name": new_name("credential"), "credential_type": kind}
        two = {"user": world.user().id, "organization": world.organization()["id"]}

        assert world.admin.post("/api/v2/credentials/", json=body).json() == {
            "detail": "Missing 'user', 'team', or 'organization'."
        }
        assert "Only one of" in world.admin.post("/api/v2/credentials/", json=body | two).json()["detail"]

    def test_a_user_owns_theirs_alone(self, world: World) -> None:
        user, kind = world.user(), world.credential()["credential_type"]
        client, other = world.client(user=user), world.user()
        body = {"name": new_name("credential"), "credential_type": kind}

        made = client.post("/api/v2/credentials/", json=body | {"user": user.id})
        for_another = client.post("/api/v2/credentials/", json=body | {"user": other.id})

        assert made.status_code == 201
        assert [each["id"] for each in made.json()["summary_fields"]["owners"]] == [user.id]
        assert "user" not in made.json()
        assert client.get(made.json()["url"]).status_code == 200
        assert world.client(user=other).get(made.json()["url"]).status_code == 404
        assert for_another.status_code == 403

    def test_a_team_may_use_its_own(self, world: World, services: Services) -> None:
        team = world.post("teams", name=new_name("team"), organization=world.organization()["id"])
        member = world.user()
        with services.database.transaction() as session:
            grant(session, member.id, "team", team["id"], "member_role")
        kind = _type_id(services, "ssh")

        made = world.post("credentials", name=new_name("credential"), credential_type=kind, team=team["id"])

        shown = world.client(user=member).get(made["url"]).json()
        assert shown["organization"] == team["organization"]
        assert shown["summary_fields"]["user_capabilities"] == {
            "edit": False, "delete": False, "copy": False, "use": True,
        }  # fmt: skip

    def test_use_is_not_reading_the_secret(self, world: World) -> None:
        made = world.credential(inputs={"password": SECRET})
        client = world.client(("credential", made["id"], "use_role"))

        assert client.get(made["url"]).json()["inputs"] == {"password": MASK}
        assert client.patch(made["url"], json={"inputs": {}}).status_code == 403


def test_kinds(world: World) -> None:
    machine = world.credential()
    cloud = world.credential("aws", inputs={"username": "a", "password": "b"})
    kubernetes = world.credential("kubernetes_bearer_token", inputs={"host": "a", "bearer_token": "b"})

    assert [machine[key] for key in ("kind", "cloud", "kubernetes")] == ["ssh", False, False]
    assert [cloud[key] for key in ("kind", "cloud", "kubernetes")] == ["aws", True, False]
    assert kubernetes["kubernetes"] is True
    assert world.get("credentials", id=cloud["id"], cloud="true", credential_type__kind="cloud")["count"] == 1


def test_the_type_stays_while_something_uses_the_credential(world: World, services: Services) -> None:
    template = world.template()
    made = world.credential(organization=template["organization"])
    other = {"credential_type": _type_id(services, "scm")}
    world.attach(f"job_templates/{template['id']}/credentials", id=made["id"])

    assert "credential_type" in world.admin.patch(made["url"], json=other).json()
    world.attach(f"job_templates/{template['id']}/credentials", id=made["id"], disassociate=True)
    assert world.admin.patch(made["url"], json=other).status_code == 200


class TestDelete:
    def _waits_for(self, world: World, credential: Body, run: int) -> None:
        refused = world.admin.delete(credential["url"])
        world.end(run)

        assert (refused.status_code, refused.json()) == (409, {"detail": "Resource is being used by running jobs."})
        assert world.admin.delete(credential["url"]).status_code == 204

    def test_waits_for_the_job_that_was_launched_with_it(self, world: World) -> None:
        template, credential = world.template(), world.credential()
        world.attach(f"job_templates/{template['id']}/credentials", id=credential["id"])
        job = world.admin.post(template["related"]["launch"], json={}).json()["id"]

        self._waits_for(world, credential, job)

    def test_waits_for_the_update_that_signs_in_with_it(self, world: World) -> None:
        credential = world.credential("scm")
        project = world.project(credential=credential["id"], **GIT)

        self._waits_for(world, credential, project["summary_fields"]["current_update"]["id"])

    def test_waits_for_the_job_whose_project_is_fetched_with_it(self, world: World) -> None:
        credential = world.credential("scm")
        project = world.project(credential=credential["id"], **GIT)
        world.end(project["summary_fields"]["current_update"]["id"])
        job = world.job(world.template(project=project["id"]), status="waiting", finished=None)

        self._waits_for(world, credential, job)


class TestCredentialTypes:
    INPUTS = {
        "fields": [
            {"id": "url", "label": "URL"},
            {"id": "token", "label": "Token", "secret": True},
            {"id": "verify", "label": "Verify", "type": "boolean"},
        ],
        "required": ["url"],
    }
    INJECTORS = {
        "env": {"SERVICE_URL": "{{ url }}", "SERVICE_FILE": "{{ tower.filename.config }}"},
        "extra_vars": {"service": {"verify": "{% if verify %}yes{% else %}no{% endif %}"}},
        "file": {"template.config": "token={{ token }}"},
    }

    def test_managed_ones_are_there_and_stay(self, world: World) -> None:
        managed = world.get("credential_types", managed="true", order_by="id", page_size=50)["results"]

        assert (len(managed), managed[0]["name"], managed[0]["namespace"]) == (21, "Machine", "ssh")
        assert world.admin.patch(managed[0]["url"], json={"description": "x"}).status_code == 403
        assert world.admin.delete(managed[0]["url"]).status_code == 403
        assert managed[0]["summary_fields"]["user_capabilities"] == {"edit": False, "delete": False}

    def test_custom_ones_work_like_managed_ones(self, world: World) -> None:
        made = world.post(
            "credential_types", name=new_name("type"), kind="cloud", inputs=self.INPUTS, injectors=self.INJECTORS
        )
        credential = world.post(
            f"credential_types/{made['id']}/credentials",
            name=new_name("credential"),
            organization=world.organization()["id"],
            inputs={"url": "https://example.org", "token": SECRET, "verify": True},
        )

        assert (made["inputs"], made["injectors"], made["namespace"]) == (self.INPUTS, self.INJECTORS, None)
        assert credential["inputs"] == {"url": "https://example.org", "token": MASK, "verify": True}
        refused = world.admin.patch(made["url"], json={"inputs": {"fields": []}})
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "Modifications to inputs are not allowed for credential types that are in use",
        )
        assert world.admin.delete(made["url"]).status_code == 403
        assert world.admin.patch(made["url"], json={"description": "x"}).status_code == 200

    def test_are_for_superusers(self, world: World) -> None:
        admin = world.client(("organization", world.organization()["id"], "admin_role"))

        assert admin.get("/api/v2/credential_types/").json()["count"] >= 21
        assert admin.post("/api/v2/credential_types/", json={"name": "x", "kind": "net"}).status_code == 403


def test_organizations_take_galaxy_credentials_only_for_collections(world: World) -> None:
    organization = world.organization()
    galaxy = world.credential("galaxy_api_token", inputs={"url": "https://galaxy.example.org/"})
    url = f"/api/v2/organizations/{organization['id']}/galaxy_credentials/"

    refused = world.admin.post(url, json={"id": world.credential()["id"]})

    assert (refused.status_code, refused.json()) == (
        400,
        {"msg": ["Credential must be a galaxy credential, not Machine."]},
    )
    assert world.admin.post(url, json={"id": galaxy["id"]}).status_code == 204
