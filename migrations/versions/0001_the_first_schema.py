"""The first schema

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instances",
        sa.Column("hostname", sa.String(length=250), nullable=False),
        sa.Column("uuid", sa.String(length=40), nullable=False),
        sa.Column("node_type", sa.String(length=16), server_default="hybrid", nullable=False),
        sa.Column("ip_address", sa.String(length=50), server_default="", nullable=False),
        sa.Column("version", sa.String(length=120), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("managed_by_policy", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("cpu", sa.Numeric(precision=6, scale=1), server_default="0", nullable=False),
        sa.Column("memory", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cpu_capacity", sa.Integer(), server_default="0", nullable=False),
        sa.Column("mem_capacity", sa.Integer(), server_default="0", nullable=False),
        sa.Column("capacity", sa.Integer(), server_default="0", nullable=False),
        sa.Column("capacity_adjustment", sa.Numeric(precision=3, scale=2), server_default="1.0", nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("health_check_started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_health_check", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("hostname", name=op.f("uq_instances_hostname")),
    )
    op.create_table(
        "job_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("job_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=100), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("parent_uuid", sa.Text(), nullable=False),
        sa.Column("event_data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("host_name", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("play", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("stdout", sa.Text(), nullable=False),
        sa.Column("start_line", sa.Integer(), nullable=False),
        sa.Column("end_line", sa.Integer(), nullable=False),
        sa.Column("verbosity", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", "job_created", name=op.f("pk_job_events")),
        sa.UniqueConstraint("job_id", "counter", "job_created", name=op.f("uq_job_events_job_id_counter_job_created")),
        postgresql_partition_by="RANGE (job_created)",
    )
    op.create_index(
        "ix_job_events_host_id", "job_events", ["host_id"], unique=False, postgresql_where="host_id IS NOT NULL"
    )
    op.create_index("ix_job_events_job_id_start_line", "job_events", ["job_id", "start_line"], unique=False)
    op.create_table(
        "roles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_type", sa.String(length=32), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("role_field", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint(
            "resource_type", "resource_id", "role_field", name=op.f("uq_roles_resource_type_resource_id_role_field")
        ),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )
    op.create_table(
        "users",
        sa.Column("username", sa.String(length=150), nullable=False),
        sa.Column("first_name", sa.String(length=150), server_default="", nullable=False),
        sa.Column("last_name", sa.String(length=150), server_default="", nullable=False),
        sa.Column("email", sa.String(length=254), server_default="", nullable=False),
        sa.Column("is_superuser", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_system_auditor", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("password", sa.Text(), server_default="", nullable=False),
        sa.Column("last_login", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "credential_types",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("namespace", sa.String(length=1024), nullable=True),
        sa.Column("managed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "inputs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "injectors", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_credential_types_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_credential_types_modified_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential_types")),
        sa.UniqueConstraint("name", "kind", name=op.f("uq_credential_types_name_kind")),
        sa.UniqueConstraint("namespace", name=op.f("uq_credential_types_namespace")),
    )
    op.create_table(
        "organizations",
        sa.Column("max_hosts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("default_environment_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_organizations_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_organizations_modified_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "role_users",
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_role_users_role_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_role_users_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("role_id", "user_id", name=op.f("pk_role_users")),
    )
    op.create_index(op.f("ix_role_users_user_id"), "role_users", ["user_id"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("window_ends", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_login_failures")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "user_sessions",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_user_sessions_key_hash")),
    )
    op.create_index(op.f("ix_user_sessions_expires"), "user_sessions", ["expires"], unique=False)
    op.create_index(op.f("ix_user_sessions_user_id"), "user_sessions", ["user_id"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("organization_id", sa.Integer(), nullable=True),
        sa.Column("credential_type_id", sa.Integer(), nullable=False),
        sa.Column("managed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "inputs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_credentials_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["credential_type_id"],
            ["credential_types.id"],
            name=op.f("fk_credentials_credential_type_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_credentials_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_credentials_organization_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint(
            "organization_id",
            "name",
            "credential_type_id",
            name=op.f("uq_credentials_organization_id_name_credential_type_id"),
        ),
    )
    op.create_index(op.f("ix_credentials_credential_type_id"), "credentials", ["credential_type_id"], unique=False)
    op.create_index(op.f("ix_credentials_organization_id"), "credentials", ["organization_id"], unique=False)
    op.create_table(
        "execution_environments",
        sa.Column("organization_id", sa.Integer(), nullable=True),
        sa.Column("image", sa.String(length=1024), nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=True),
        sa.Column("pull", sa.String(length=16), server_default="", nullable=False),
        sa.Column("managed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_execution_environments_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_execution_environments_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_execution_environments_organization_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execution_environments")),
        sa.UniqueConstraint("name", name=op.f("uq_execution_environments_name")),
    )
    op.create_index(
        op.f("ix_execution_environments_credential_id"), "execution_environments", ["credential_id"], unique=False
    )
    op.create_index(
        op.f("ix_execution_environments_organization_id"), "execution_environments", ["organization_id"], unique=False
    )
    op.create_table(
        "inventories",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), server_default="", nullable=False),
        sa.Column("host_filter", sa.Text(), nullable=True),
        sa.Column("variables", sa.Text(), server_default="", nullable=False),
        sa.Column("prevent_instance_group_fallback", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("pending_deletion", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_inventories_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_inventories_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_inventories_organization_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventories")),
        sa.UniqueConstraint("name", "organization_id", name=op.f("uq_inventories_name_organization_id")),
    )
    op.create_index(op.f("ix_inventories_organization_id"), "inventories", ["organization_id"], unique=False)
    op.create_table(
        "labels",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_labels_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_labels_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_labels_organization_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("name", "organization_id", name=op.f("uq_labels_name_organization_id")),
    )
    op.create_index(op.f("ix_labels_organization_id"), "labels", ["organization_id"], unique=False)
    op.create_table(
        "oauth2_applications",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=100), nullable=False),
        sa.Column("client_secret_hash", sa.String(length=64), nullable=False),
        sa.Column("client_type", sa.String(length=32), nullable=False),
        sa.Column("authorization_grant_type", sa.String(length=32), nullable=False),
        sa.Column("redirect_uris", sa.Text(), server_default="", nullable=False),
        sa.Column("skip_authorization", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_oauth2_applications_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_oauth2_applications_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_oauth2_applications_organization_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth2_applications")),
        sa.UniqueConstraint("client_id", name=op.f("uq_oauth2_applications_client_id")),
        sa.UniqueConstraint("name", "organization_id", name=op.f("uq_oauth2_applications_name_organization_id")),
    )
    op.create_index(
        op.f("ix_oauth2_applications_organization_id"), "oauth2_applications", ["organization_id"], unique=False
    )
    op.create_table(
        "teams",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_teams_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_teams_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_teams_organization_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", "organization_id", name=op.f("uq_teams_name_organization_id")),
    )
    op.create_index(op.f("ix_teams_organization_id"), "teams", ["organization_id"], unique=False)
    op.create_table(
        "groups",
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("variables", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_groups_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventories.id"], name=op.f("fk_groups_inventory_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_groups_modified_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("inventory_id", "name", name=op.f("uq_groups_inventory_id_name")),
    )
    op.create_table(
        "instance_groups",
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("max_concurrent_jobs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_forks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_container_group", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=True),
        sa.Column("policy_instance_percentage", sa.Integer(), server_default="0", nullable=False),
        sa.Column("policy_instance_minimum", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "policy_instance_list",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
        ),
        sa.Column("pod_spec_override", sa.Text(), server_default="", nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name=op.f("fk_instance_groups_credential_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_instance_groups_name")),
    )
    op.create_index(op.f("ix_instance_groups_credential_id"), "instance_groups", ["credential_id"], unique=False)
    op.create_table(
        "inventory_labels",
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventories.id"], name=op.f("fk_inventory_labels_inventory_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_inventory_labels_label_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inventory_id", "label_id", name=op.f("pk_inventory_labels")),
    )
    op.create_index(op.f("ix_inventory_labels_label_id"), "inventory_labels", ["label_id"], unique=False)
    op.create_table(
        "oauth2_tokens",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("application_id", sa.Integer(), nullable=True),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("scope", sa.String(length=32), server_default="write", nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("refresh_token_hash", sa.String(length=64), nullable=True),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"],
            ["oauth2_applications.id"],
            name=op.f("fk_oauth2_tokens_application_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_oauth2_tokens_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth2_tokens")),
        sa.UniqueConstraint("refresh_token_hash", name=op.f("uq_oauth2_tokens_refresh_token_hash")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_oauth2_tokens_token_hash")),
    )
    op.create_index(op.f("ix_oauth2_tokens_application_id"), "oauth2_tokens", ["application_id"], unique=False)
    op.create_index(op.f("ix_oauth2_tokens_expires"), "oauth2_tokens", ["expires"], unique=False)
    op.create_index(op.f("ix_oauth2_tokens_user_id"), "oauth2_tokens", ["user_id"], unique=False)
    op.create_table(
        "organization_galaxy_credentials",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["credentials.id"],
            name=op.f("fk_organization_galaxy_credentials_credential_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_organization_galaxy_credentials_organization_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "credential_id", name=op.f("pk_organization_galaxy_credentials")),
    )
    op.create_index(
        op.f("ix_organization_galaxy_credentials_credential_id"),
        "organization_galaxy_credentials",
        ["credential_id"],
        unique=False,
    )
    op.create_table(
        "role_teams",
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_role_teams_role_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_role_teams_team_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("role_id", "team_id", name=op.f("pk_role_teams")),
    )
    op.create_index(op.f("ix_role_teams_team_id"), "role_teams", ["team_id"], unique=False)
    op.create_table(
        "unified_job_templates",
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=True),
        sa.Column("execution_environment_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=32), server_default="never updated", nullable=False),
        sa.Column("current_job_id", sa.Integer(), nullable=True),
        sa.Column("last_job_id", sa.Integer(), nullable=True),
        sa.Column("last_job_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job_failed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("next_job_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_unified_job_templates_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["execution_environment_id"],
            ["execution_environments.id"],
            name=op.f("fk_unified_job_templates_execution_environment_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_unified_job_templates_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_unified_job_templates_organization_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unified_job_templates")),
    )
    op.create_index(
        op.f("ix_unified_job_templates_current_job_id"), "unified_job_templates", ["current_job_id"], unique=False
    )
    op.create_index(
        op.f("ix_unified_job_templates_last_job_id"), "unified_job_templates", ["last_job_id"], unique=False
    )
    op.create_index(
        op.f("ix_unified_job_templates_organization_id"), "unified_job_templates", ["organization_id"], unique=False
    )
    op.create_index("ix_unified_job_templates_type_name", "unified_job_templates", ["type", "name"], unique=False)
    op.create_table(
        "group_children",
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("child_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("parent_id <> child_id", name=op.f("ck_group_children_no_self_parent")),
        sa.ForeignKeyConstraint(
            ["child_id"], ["groups.id"], name=op.f("fk_group_children_child_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["groups.id"], name=op.f("fk_group_children_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("parent_id", "child_id", name=op.f("pk_group_children")),
    )
    op.create_index(op.f("ix_group_children_child_id"), "group_children", ["child_id"], unique=False)
    op.create_table(
        "instance_group_instances",
        sa.Column("instance_group_id", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_instance_group_instances_instance_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_instance_group_instances_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_group_id", "instance_id", name=op.f("pk_instance_group_instances")),
    )
    op.create_index(
        op.f("ix_instance_group_instances_instance_id"), "instance_group_instances", ["instance_id"], unique=False
    )
    op.create_table(
        "inventory_instance_groups",
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("instance_group_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_inventory_instance_groups_instance_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"],
            ["inventories.id"],
            name=op.f("fk_inventory_instance_groups_inventory_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("inventory_id", "instance_group_id", name=op.f("pk_inventory_instance_groups")),
    )
    op.create_index(
        op.f("ix_inventory_instance_groups_instance_group_id"),
        "inventory_instance_groups",
        ["instance_group_id"],
        unique=False,
    )
    op.create_table(
        "organization_instance_groups",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("instance_group_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_organization_instance_groups_instance_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_organization_instance_groups_organization_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "instance_group_id", name=op.f("pk_organization_instance_groups")),
    )
    op.create_index(
        op.f("ix_organization_instance_groups_instance_group_id"),
        "organization_instance_groups",
        ["instance_group_id"],
        unique=False,
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=True),
        sa.Column("scm_update_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("scm_update_cache_timeout", sa.Integer(), server_default="0", nullable=False),
        sa.Column("allow_override", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("default_environment_id", sa.Integer(), nullable=True),
        sa.Column("signature_validation_credential_id", sa.Integer(), nullable=True),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_update_failed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "playbook_files",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
        ),
        sa.Column(
            "inventory_files",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
        ),
        sa.Column("local_path", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_type", sa.String(length=8), server_default="", nullable=False),
        sa.Column("scm_url", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_branch", sa.String(length=256), server_default="", nullable=False),
        sa.Column("scm_refspec", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_clean", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("scm_track_submodules", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("scm_delete_on_update", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("timeout", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scm_revision", sa.String(length=1024), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name=op.f("fk_projects_credential_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["default_environment_id"],
            ["execution_environments.id"],
            name=op.f("fk_projects_default_environment_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["id"], ["unified_job_templates.id"], name=op.f("fk_projects_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["signature_validation_credential_id"],
            ["credentials.id"],
            name=op.f("fk_projects_signature_validation_credential_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_index(op.f("ix_projects_credential_id"), "projects", ["credential_id"], unique=False)
    op.create_table(
        "system_job_templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_type", sa.String(length=32), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["id"], ["unified_job_templates.id"], name=op.f("fk_system_job_templates_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_job_templates")),
    )
    op.create_table(
        "unified_job_template_credentials",
        sa.Column("unified_job_template_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["credentials.id"],
            name=op.f("fk_unified_job_template_credentials_credential_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_template_id"],
            ["unified_job_templates.id"],
            name=op.f("fk_unified_job_template_credentials_unified_job_template_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "unified_job_template_id", "credential_id", name=op.f("pk_unified_job_template_credentials")
        ),
    )
    op.create_index(
        op.f("ix_unified_job_template_credentials_credential_id"),
        "unified_job_template_credentials",
        ["credential_id"],
        unique=False,
    )
    op.create_table(
        "unified_job_template_instance_groups",
        sa.Column("unified_job_template_id", sa.Integer(), nullable=False),
        sa.Column("instance_group_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_unified_job_template_instance_groups_instance_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_template_id"],
            ["unified_job_templates.id"],
            name=op.f("fk_unified_job_template_instance_groups_unified_job_template_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "unified_job_template_id", "instance_group_id", name=op.f("pk_unified_job_template_instance_groups")
        ),
    )
    op.create_index(
        op.f("ix_unified_job_template_instance_groups_instance_group_id"),
        "unified_job_template_instance_groups",
        ["instance_group_id"],
        unique=False,
    )
    op.create_table(
        "unified_job_template_labels",
        sa.Column("unified_job_template_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_unified_job_template_labels_label_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_template_id"],
            ["unified_job_templates.id"],
            name=op.f("fk_unified_job_template_labels_unified_job_template_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unified_job_template_id", "label_id", name=op.f("pk_unified_job_template_labels")),
    )
    op.create_index(
        op.f("ix_unified_job_template_labels_label_id"), "unified_job_template_labels", ["label_id"], unique=False
    )
    op.create_table(
        "unified_jobs",
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("unified_job_template_id", sa.Integer(), nullable=True),
        sa.Column("organization_id", sa.Integer(), nullable=True),
        sa.Column("launch_type", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("failed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("canceled_on", sa.DateTime(timezone=True), nullable=True),
        sa.Column("elapsed", sa.Numeric(precision=12, scale=3), server_default="0", nullable=False),
        sa.Column("job_explanation", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "waiting_on",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
        ),
        sa.Column("cancel_flag", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("execution_environment_id", sa.Integer(), nullable=True),
        sa.Column("instance_group_id", sa.Integer(), nullable=True),
        sa.Column("execution_node", sa.Text(), server_default="", nullable=False),
        sa.Column("controller_node", sa.Text(), server_default="", nullable=False),
        sa.Column("work_unit_id", sa.String(length=255), server_default="", nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("task_impact", sa.Integer(), server_default="1", nullable=False),
        sa.Column("start_args", sa.Text(), server_default="", nullable=False),
        sa.Column("job_args", sa.Text(), server_default="", nullable=False),
        sa.Column("job_cwd", sa.String(length=1024), server_default="", nullable=False),
        sa.Column(
            "job_env", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("result_traceback", sa.Text(), server_default="", nullable=False),
        sa.Column("events_stored", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lines_stored", sa.Integer(), server_default="0", nullable=False),
        sa.Column("event_processing_finished", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("host_status_counts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("playbook_counts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_unified_jobs_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["execution_environment_id"],
            ["execution_environments.id"],
            name=op.f("fk_unified_jobs_execution_environment_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_unified_jobs_instance_group_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_unified_jobs_modified_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_unified_jobs_organization_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_template_id"],
            ["unified_job_templates.id"],
            name=op.f("fk_unified_jobs_unified_job_template_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unified_jobs")),
    )
    op.create_index("ix_unified_jobs_active", "unified_jobs", ["id"], unique=False, postgresql_where="finished IS NULL")
    op.create_index(
        "ix_unified_jobs_active_on", "unified_jobs", ["execution_node"], unique=False, postgresql_where="finished IS NULL"
    )
    op.create_index("ix_unified_jobs_created", "unified_jobs", ["created"], unique=False)
    op.create_index("ix_unified_jobs_finished", "unified_jobs", ["finished"], unique=False)
    op.create_index(op.f("ix_unified_jobs_instance_group_id"), "unified_jobs", ["instance_group_id"], unique=False)
    op.create_index(op.f("ix_unified_jobs_organization_id"), "unified_jobs", ["organization_id"], unique=False)
    op.create_index(
        op.f("ix_unified_jobs_unified_job_template_id"), "unified_jobs", ["unified_job_template_id"], unique=False
    )
    op.create_table(
        "job_templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("inventory_id", sa.Integer(), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("host_config_key", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("webhook_key", sa.String(length=64), server_default="", nullable=False),
        sa.Column("webhook_credential_id", sa.Integer(), nullable=True),
        sa.Column("prevent_instance_group_fallback", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("survey_enabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "survey_spec",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("ask_scm_branch_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_diff_mode_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_variables_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_limit_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_tags_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_skip_tags_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_job_type_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_verbosity_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_inventory_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_credential_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_execution_environment_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_labels_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_forks_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_job_slice_count_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_timeout_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ask_instance_groups_on_launch", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("job_type", sa.String(length=8), server_default="run", nullable=False),
        sa.Column("playbook", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_branch", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("forks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("limit", sa.Text(), server_default="", nullable=False),
        sa.Column("verbosity", sa.Integer(), server_default="0", nullable=False),
        sa.Column("extra_vars", sa.Text(), server_default="", nullable=False),
        sa.Column("job_tags", sa.Text(), server_default="", nullable=False),
        sa.Column("force_handlers", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("skip_tags", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("start_at_task", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("timeout", sa.Integer(), server_default="0", nullable=False),
        sa.Column("use_fact_cache", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("become_enabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("diff_mode", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("allow_simultaneous", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("job_slice_count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("webhook_service", sa.String(length=16), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["id"], ["unified_job_templates.id"], name=op.f("fk_job_templates_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventories.id"], name=op.f("fk_job_templates_inventory_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_job_templates_project_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_credential_id"],
            ["credentials.id"],
            name=op.f("fk_job_templates_webhook_credential_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_templates")),
    )
    op.create_index(op.f("ix_job_templates_inventory_id"), "job_templates", ["inventory_id"], unique=False)
    op.create_index(op.f("ix_job_templates_project_id"), "job_templates", ["project_id"], unique=False)
    op.create_table(
        "project_updates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("credential_id", sa.Integer(), nullable=True),
        sa.Column("job_type", sa.String(length=8), server_default="check", nullable=False),
        sa.Column("job_tags", sa.Text(), server_default="", nullable=False),
        sa.Column("local_path", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_type", sa.String(length=8), server_default="", nullable=False),
        sa.Column("scm_url", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_branch", sa.String(length=256), server_default="", nullable=False),
        sa.Column("scm_refspec", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_clean", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("scm_track_submodules", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("scm_delete_on_update", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("timeout", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scm_revision", sa.String(length=1024), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name=op.f("fk_project_updates_credential_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["id"], ["unified_jobs.id"], name=op.f("fk_project_updates_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_updates_project_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_updates")),
    )
    op.create_index(op.f("ix_project_updates_project_id"), "project_updates", ["project_id"], unique=False)
    op.create_table(
        "unified_job_credentials",
        sa.Column("unified_job_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["credentials.id"],
            name=op.f("fk_unified_job_credentials_credential_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_id"],
            ["unified_jobs.id"],
            name=op.f("fk_unified_job_credentials_unified_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unified_job_id", "credential_id", name=op.f("pk_unified_job_credentials")),
    )
    op.create_index(
        op.f("ix_unified_job_credentials_credential_id"), "unified_job_credentials", ["credential_id"], unique=False
    )
    op.create_table(
        "unified_job_dependencies",
        sa.Column("unified_job_id", sa.Integer(), nullable=False),
        sa.Column("depends_on_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["depends_on_id"],
            ["unified_jobs.id"],
            name=op.f("fk_unified_job_dependencies_depends_on_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_id"],
            ["unified_jobs.id"],
            name=op.f("fk_unified_job_dependencies_unified_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unified_job_id", "depends_on_id", name=op.f("pk_unified_job_dependencies")),
    )
    op.create_index(
        op.f("ix_unified_job_dependencies_depends_on_id"), "unified_job_dependencies", ["depends_on_id"], unique=False
    )
    op.create_table(
        "unified_job_instance_groups",
        sa.Column("unified_job_id", sa.Integer(), nullable=False),
        sa.Column("instance_group_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_group_id"],
            ["instance_groups.id"],
            name=op.f("fk_unified_job_instance_groups_instance_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_id"],
            ["unified_jobs.id"],
            name=op.f("fk_unified_job_instance_groups_unified_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unified_job_id", "instance_group_id", name=op.f("pk_unified_job_instance_groups")),
    )
    op.create_index(
        op.f("ix_unified_job_instance_groups_instance_group_id"),
        "unified_job_instance_groups",
        ["instance_group_id"],
        unique=False,
    )
    op.create_table(
        "unified_job_labels",
        sa.Column("unified_job_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_unified_job_labels_label_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["unified_job_id"],
            ["unified_jobs.id"],
            name=op.f("fk_unified_job_labels_unified_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unified_job_id", "label_id", name=op.f("pk_unified_job_labels")),
    )
    op.create_index(op.f("ix_unified_job_labels_label_id"), "unified_job_labels", ["label_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_template_id", sa.Integer(), nullable=True),
        sa.Column("inventory_id", sa.Integer(), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("scm_revision", sa.String(length=1024), server_default="", nullable=False),
        sa.Column(
            "survey_passwords",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column(
            "artifacts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("job_slice_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("webhook_credential_id", sa.Integer(), nullable=True),
        sa.Column("webhook_guid", sa.String(length=128), server_default="", nullable=False),
        sa.Column("job_type", sa.String(length=8), server_default="run", nullable=False),
        sa.Column("playbook", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("scm_branch", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("forks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("limit", sa.Text(), server_default="", nullable=False),
        sa.Column("verbosity", sa.Integer(), server_default="0", nullable=False),
        sa.Column("extra_vars", sa.Text(), server_default="", nullable=False),
        sa.Column("job_tags", sa.Text(), server_default="", nullable=False),
        sa.Column("force_handlers", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("skip_tags", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("start_at_task", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("timeout", sa.Integer(), server_default="0", nullable=False),
        sa.Column("use_fact_cache", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("become_enabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("diff_mode", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("allow_simultaneous", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("job_slice_count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("webhook_service", sa.String(length=16), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["id"], ["unified_jobs.id"], name=op.f("fk_jobs_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventories.id"], name=op.f("fk_jobs_inventory_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["job_template_id"], ["job_templates.id"], name=op.f("fk_jobs_job_template_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["webhook_credential_id"],
            ["credentials.id"],
            name=op.f("fk_jobs_webhook_credential_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_inventory_id"), "jobs", ["inventory_id"], unique=False)
    op.create_index(op.f("ix_jobs_job_template_id"), "jobs", ["job_template_id"], unique=False)
    op.create_index(op.f("ix_jobs_project_id"), "jobs", ["project_id"], unique=False)
    op.create_table(
        "job_host_summaries",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("host_name", sa.String(length=1024), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("dark", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("ok", sa.Integer(), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("ignored", sa.Integer(), nullable=False),
        sa.Column("rescued", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_host_summaries_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_host_summaries")),
    )
    op.create_index(op.f("ix_job_host_summaries_host_id"), "job_host_summaries", ["host_id"], unique=False)
    op.create_index(
        "uq_job_host_summaries_job_id_host_name", "job_host_summaries", ["job_id", "host_name"], unique=True
    )
    op.create_table(
        "hosts",
        sa.Column("inventory_id", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("instance_id", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("variables", sa.Text(), server_default="", nullable=False),
        sa.Column("last_job_id", sa.Integer(), nullable=True),
        sa.Column("last_job_host_summary_id", sa.Integer(), nullable=True),
        sa.Column(
            "ansible_facts",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("ansible_facts_modified", sa.DateTime(timezone=True), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by_id", sa.Integer(), nullable=True),
        sa.Column("modified_by_id", sa.Integer(), nullable=True),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("modified", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name=op.f("fk_hosts_created_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventories.id"], name=op.f("fk_hosts_inventory_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["last_job_host_summary_id"],
            ["job_host_summaries.id"],
            name=op.f("fk_hosts_last_job_host_summary_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["last_job_id"], ["jobs.id"], name=op.f("fk_hosts_last_job_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["modified_by_id"], ["users.id"], name=op.f("fk_hosts_modified_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("inventory_id", "name", name=op.f("uq_hosts_inventory_id_name")),
    )
    op.create_index(op.f("ix_hosts_last_job_host_summary_id"), "hosts", ["last_job_host_summary_id"], unique=False)
    op.create_index(op.f("ix_hosts_last_job_id"), "hosts", ["last_job_id"], unique=False)
    op.create_table(
        "group_hosts",
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_group_hosts_group_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_group_hosts_host_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "host_id", name=op.f("pk_group_hosts")),
    )
    op.create_index(op.f("ix_group_hosts_host_id"), "group_hosts", ["host_id"], unique=False)
    # Circles between tables: added when both sides exist.
    op.create_foreign_key(
        "fk_organizations_default_environment_id",
        "organizations",
        "execution_environments",
        ["default_environment_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_foreign_key(
        "fk_execution_environments_credential_id",
        "execution_environments",
        "credentials",
        ["credential_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_foreign_key(
        "fk_unified_job_templates_current_job_id",
        "unified_job_templates",
        "unified_jobs",
        ["current_job_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_foreign_key(
        "fk_unified_job_templates_last_job_id",
        "unified_job_templates",
        "unified_jobs",
        ["last_job_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_foreign_key(
        "fk_job_host_summaries_host_id", "job_host_summaries", "hosts", ["host_id"], ["id"], ondelete="SET NULL"
    )
