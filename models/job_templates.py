"""Job templates: a playbook, where it runs, and what may be asked at launch."""

import re
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Json, nullify
from models.unified import UnifiedJobTemplate


def names_a_file(limit: str) -> bool:
    """Whether a limit has an `@path`: ansible would read that file of the worker's host and print its lines."""
    return any(part.strip().startswith("@") for part in re.split(r"[,:;\s]", limit))


def leaves_the_project(playbook: str) -> bool:
    """Whether a playbook's path is not one inside its project."""
    path = PurePosixPath(playbook)
    return path.is_absolute() or ".." in path.parts


class PlaybookOptions:
    """The options of a playbook run that a job copies from its template."""

    job_type: Mapped[str] = mapped_column(String(8), default="run", server_default="run")
    playbook: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    scm_branch: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    forks: Mapped[int] = mapped_column(default=0, server_default="0")
    limit: Mapped[str] = mapped_column(Text, default="", server_default="")
    verbosity: Mapped[int] = mapped_column(default=0, server_default="0")
    extra_vars: Mapped[str] = mapped_column(Text, default="", server_default="")
    job_tags: Mapped[str] = mapped_column(Text, default="", server_default="")
    force_handlers: Mapped[bool] = mapped_column(default=False, server_default="false")
    skip_tags: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    start_at_task: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    timeout: Mapped[int] = mapped_column(default=0, server_default="0")
    use_fact_cache: Mapped[bool] = mapped_column(default=False, server_default="false")
    become_enabled: Mapped[bool] = mapped_column(default=False, server_default="false")
    diff_mode: Mapped[bool] = mapped_column(default=False, server_default="false")
    allow_simultaneous: Mapped[bool] = mapped_column(default=False, server_default="false")
    job_slice_count: Mapped[int] = mapped_column(default=1, server_default="1")
    webhook_service: Mapped[str] = mapped_column(String(16), default="", server_default="")


class JobTemplate(PlaybookOptions, UnifiedJobTemplate):
    __tablename__ = "job_templates"
    __mapper_args__ = {"polymorphic_identity": "job_template"}

    id: Mapped[int] = mapped_column(ForeignKey("unified_job_templates.id", ondelete="CASCADE"), primary_key=True)
    inventory_id: Mapped[int | None] = nullify("inventories.id")
    project_id: Mapped[int | None] = nullify("projects.id")
    host_config_key: Mapped[str] = mapped_column(String(1024), default="", server_default="")
    webhook_key: Mapped[str] = mapped_column(String(64), default="", server_default="")
    webhook_credential_id: Mapped[int | None] = nullify("credentials.id", index=False)
    prevent_instance_group_fallback: Mapped[bool] = mapped_column(default=False, server_default="false")
    survey_enabled: Mapped[bool] = mapped_column(default=False, server_default="false")
    survey_spec: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    ask_scm_branch_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_diff_mode_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_variables_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_limit_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_tags_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_skip_tags_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_job_type_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_verbosity_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_inventory_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_credential_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_execution_environment_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_labels_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_forks_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_job_slice_count_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_timeout_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
    ask_instance_groups_on_launch: Mapped[bool] = mapped_column(default=False, server_default="false")
