"""What a launch of a template may be asked, and what it must bring: the form behind `GET launch/`."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import surveys
from models.credential_inputs import ASK, fields_of
from models.credentials import Credential, CredentialType
from models.environments import ExecutionEnvironment
from models.instances import InstanceGroup
from models.inventories import Inventory
from models.job_templates import JobTemplate
from models.labels import Label
from models.unified import (
    unified_job_credentials,
    unified_job_template_credentials,
    unified_job_template_instance_groups,
    unified_job_template_labels,
)

# prompt -> the template's flag that lets it be asked
ASKED_BY: Mapping[str, str] = {
    "inventory": "ask_inventory_on_launch",
    "scm_branch": "ask_scm_branch_on_launch",
    "limit": "ask_limit_on_launch",
    "job_tags": "ask_tags_on_launch",
    "skip_tags": "ask_skip_tags_on_launch",
    "job_type": "ask_job_type_on_launch",
    "verbosity": "ask_verbosity_on_launch",
    "diff_mode": "ask_diff_mode_on_launch",
    "credentials": "ask_credential_on_launch",
    "execution_environment": "ask_execution_environment_on_launch",
    "labels": "ask_labels_on_launch",
    "forks": "ask_forks_on_launch",
    "job_slice_count": "ask_job_slice_count_on_launch",
    "timeout": "ask_timeout_on_launch",
    "instance_groups": "ask_instance_groups_on_launch",
}
ASK_FLAGS = (*ASKED_BY.values(), "ask_variables_on_launch")


def template_credentials(session: Session, template_id: int) -> list[tuple[Credential, CredentialType]]:
    return with_types(
        session,
        select(unified_job_template_credentials.c.credential_id).where(
            unified_job_template_credentials.c.unified_job_template_id == template_id
        ),
    )


def job_credentials(session: Session, job_id: int) -> list[tuple[Credential, CredentialType]]:
    return with_types(
        session,
        select(unified_job_credentials.c.credential_id).where(unified_job_credentials.c.unified_job_id == job_id),
    )


def with_types(session: Session, ids: Any) -> list[tuple[Credential, CredentialType]]:
    rows = session.execute(
        select(Credential, CredentialType)
        .join(CredentialType, CredentialType.id == Credential.credential_type_id)
        .where(Credential.id.in_(ids))
        .order_by(Credential.id)
    )
    return [(credential, kind) for credential, kind in rows]


def passwords_needed(credential: Credential, kind: CredentialType) -> list[str]:
    """Names of the passwords to ask at launch, as clients send them back in `credential_passwords`."""
    fields = fields_of(kind.inputs)
    asked = [
        name for name, value in credential.inputs.items() if value == ASK and fields.get(name, {}).get("ask_at_runtime")
    ]
    if kind.kind == "ssh":
        return ["ssh_password" if name == "password" else name for name in asked]
    if kind.kind == "vault" and "vault_password" in asked:
        vault_id = credential.inputs.get("vault_id")
        return [f"vault_password.{vault_id}" if vault_id else "vault_password"]
    return []


def launch_data(session: Session, template: JobTemplate) -> dict[str, Any]:
    """The body of `GET launch/`: what may be asked, what must be brought, and the defaults."""
    credentials = template_credentials(session, template.id)
    needed = sorted({name for pair in credentials for name in passwords_needed(*pair)})
    survey = template.survey_spec if template.survey_enabled else {}
    variables_needed = surveys.missing_answers(survey)
    inventory = session.get(Inventory, template.inventory_id) if template.inventory_id else None
    environment_id = template.execution_environment_id
    environment = session.get(ExecutionEnvironment, environment_id) if environment_id else None
    labels = session.execute(
        select(Label.id, Label.name)
        .join(unified_job_template_labels, unified_job_template_labels.c.label_id == Label.id)
        .where(unified_job_template_labels.c.unified_job_template_id == template.id)
        .order_by(Label.name)
    ).all()
    groups = session.execute(
        select(InstanceGroup.id, InstanceGroup.name)
        .join(
            unified_job_template_instance_groups,
            unified_job_template_instance_groups.c.instance_group_id == InstanceGroup.id,
        )
        .where(unified_job_template_instance_groups.c.unified_job_template_id == template.id)
        .order_by(unified_job_template_instance_groups.c.position)
    ).all()
    flags = {flag: getattr(template, flag) for flag in ASK_FLAGS}
    return {
        "can_start_without_user_input": not (needed or variables_needed or any(flags.values()) or inventory is None),
        "passwords_needed_to_start": needed,
        **flags,
        "survey_enabled": template.survey_enabled,
        "variables_needed_to_start": variables_needed,
        "credential_needed_to_start": False,
        "inventory_needed_to_start": inventory is None,
        "job_template_data": {"name": template.name, "id": template.id, "description": template.description},
        "defaults": {
            "inventory": {"name": inventory.name, "id": inventory.id} if inventory else {},
            **{name: getattr(template, name) for name in ("limit", "scm_branch", "job_tags", "skip_tags")},
            "extra_vars": template.extra_vars,
            **{name: getattr(template, name) for name in ("diff_mode", "job_type", "verbosity")},
            "credentials": [
                {
                    "id": credential.id,
                    "name": credential.name,
                    "credential_type": credential.credential_type_id,
                    "passwords_needed": passwords_needed(credential, kind),
                }
                for credential, kind in credentials
            ],
            "execution_environment": {"id": environment.id, "name": environment.name} if environment else {},
            "forks": template.forks,
            "job_slice_count": template.job_slice_count,
            "timeout": template.timeout,
            **({"labels": [{"id": id_, "name": name} for id_, name in labels]} if labels else {}),
            "instance_groups": [{"id": id_, "name": name} for id_, name in groups],
        },
    }
