"""The credential types that come with Forge, as data: what they ask for and how a run gets it.

Namespaces, inputs and what runs see are AWX's, so that playbooks and clients find what they know. Machine, vault,
network and source control credentials are given to ansible or git directly and have no injectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.credentials import CredentialType


def _field(id: str, label: str, help_text: str = "", *, type: str = "string", **more: Any) -> dict[str, Any]:
    shown = {"id": id, "label": label, "type": type} | more
    return shown | {"help_text": help_text} if help_text else shown


def _secret(id: str, label: str, help_text: str = "", **more: Any) -> dict[str, Any]:
    return _field(id, label, help_text, secret=True, **more)


def _key(id: str = "ssh_key_data", label: str = "SCM Private Key") -> dict[str, Any]:
    return _secret(id, label, format="ssh_private_key", multiline=True)


USERNAME = _field("username", "Username")
PASSWORD = _secret("password", "Password")
VERIFY_SSL = _field("verify_ssl", "Verify SSL", type="boolean", default=True)


@dataclass(frozen=True)
class ManagedType:
    namespace: str
    name: str
    kind: str
    fields: Sequence[Mapping[str, Any]]
    required: Sequence[str] = ()
    injectors: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"fields": [dict(each) for each in self.fields]}
        return shown | {"required": list(self.required)} if self.required else shown


# Machine stands first: clients know it by id 1.
MANAGED_TYPES: tuple[ManagedType, ...] = (
    ManagedType(
        "ssh",
        "Machine",
        "ssh",
        (
            USERNAME,
            _secret("password", "Password", ask_at_runtime=True),
            _key(label="SSH Private Key"),
            _secret("ssh_public_key_data", "Signed SSH Certificate", multiline=True),
            _secret("ssh_key_unlock", "Private Key Passphrase", ask_at_runtime=True),
            _field(
                "become_method",
                "Privilege Escalation Method",
                'How to become another user: the same as giving "--become-method" to ansible-playbook.',
            ),
            _field("become_username", "Privilege Escalation Username"),
            _secret("become_password", "Privilege Escalation Password", ask_at_runtime=True),
        ),
    ),
    ManagedType(
        "scm",
        "Source Control",
        "scm",
        (USERNAME, PASSWORD, _key(), _secret("ssh_key_unlock", "Private Key Passphrase")),
    ),
    ManagedType(
        "vault",
        "Vault",
        "vault",
        (
            _secret("vault_password", "Vault Password", ask_at_runtime=True),
            _field(
                "vault_id",
                "Vault Identifier",
                "The id that the vault was encrypted with: the same as giving several --vault-id to ansible-playbook. "
                "It cannot be changed afterwards.",
                format="vault_id",
            ),
        ),
        ("vault_password",),
    ),
    ManagedType(
        "net",
        "Network",
        "net",
        (
            USERNAME,
            PASSWORD,
            _key(label="SSH Private Key"),
            _secret("ssh_key_unlock", "Private Key Passphrase"),
            _field("authorize", "Authorize", type="boolean"),
            _secret("authorize_password", "Authorize Password"),
        ),
        ("username",),
    ),
    ManagedType(
        "aws",
        "Amazon Web Services",
        "cloud",
        (
            _field("username", "Access Key"),
            _secret("password", "Secret Key"),
            _secret("security_token", "STS Token", "Temporary credentials of the Security Token Service have one."),
        ),
        ("username", "password"),
        {
            "env": {
                "AWS_ACCESS_KEY_ID": "{{ username }}",
                "AWS_SECRET_ACCESS_KEY": "{{ password }}",
                "AWS_SECURITY_TOKEN": "{{ security_token }}",
                "AWS_SESSION_TOKEN": "{{ security_token }}",
            }
        },
    ),
    ManagedType(
        "openstack",
        "OpenStack",
        "cloud",
        (
            USERNAME,
            _secret("password", "Password (API Key)"),
            _field(
                "host", "Host (Authentication URL)", "The host to authenticate with, https://openstack.example/v2.0."
            ),
            _field("project", "Project (Tenant Name)"),
            _field("project_domain_name", "Project (Domain Name)"),
            _field("domain", "Domain Name", "Needed for Keystone v3 authentication URLs only."),
            _field("region", "Region Name"),
            VERIFY_SSL,
        ),
        ("username", "password", "host", "project"),
        {
            "file": {
                "template": "{{ {'clouds': {'devstack': {'auth': {'auth_url': host, 'username': username, "
                "'password': password, 'project_name': project, 'project_domain_name': project_domain_name or none, "
                "'domain_name': domain or none}, 'verify': verify_ssl, 'region_name': region or none}}} | tojson }}"
            },
            "env": {"OS_CLIENT_CONFIG_FILE": "{{ tower.filename }}"},
        },
    ),
    ManagedType(
        "vmware",
        "VMware vCenter",
        "cloud",
        (_field("host", "VCenter Host", "Hostname or IP address of the vCenter."), USERNAME, PASSWORD),
        ("host", "username", "password"),
        {
            "env": {
                "VMWARE_HOST": "{{ host }}",
                "VMWARE_USER": "{{ username }}",
                "VMWARE_PASSWORD": "{{ password }}",
                "VMWARE_VALIDATE_CERTS": "False",
            }
        },
    ),
    ManagedType(
        "satellite6",
        "Red Hat Satellite 6",
        "cloud",
        (_field("host", "Satellite 6 URL", "For example https://satellite.example.org."), USERNAME, PASSWORD),
        ("host", "username", "password"),
        {
            "env": {
                "FOREMAN_SERVER": "{{ host }}",
                "FOREMAN_USER": "{{ username }}",
                "FOREMAN_PASSWORD": "{{ password }}",
            }
        },
    ),
    ManagedType(
        "gce",
        "Google Compute Engine",
        "cloud",
        (
            _field("username", "Service Account Email Address"),
            _field("project", "Project", "The GCE project, known by two words and three digits or by a name."),
            _key(label="RSA Private Key"),
        ),
        ("username", "ssh_key_data"),
        {
            "file": {
                "template": "{{ {'type': 'service_account', 'private_key': ssh_key_data, 'client_email': username, "
                "'project_id': project, 'token_uri': 'https://oauth2.googleapis.com/token'} | tojson }}"
            },
            "env": {
                "GCE_EMAIL": "{{ username }}",
                "GCE_PROJECT": "{{ project }}",
                "GCE_CREDENTIALS_FILE_PATH": "{{ tower.filename }}",
                "GCP_SERVICE_ACCOUNT_FILE": "{{ tower.filename }}",
                "GOOGLE_APPLICATION_CREDENTIALS": "{{ tower.filename }}",
                "GCP_AUTH_KIND": "serviceaccount",
                "GCP_PROJECT": "{{ project }}",
            },
        },
    ),
    ManagedType(
        "azure_rm",
        "Microsoft Azure Resource Manager",
        "cloud",
        (
            _field("subscription", "Subscription ID"),
            USERNAME,
            PASSWORD,
            _field("client", "Client ID"),
            _secret("secret", "Client Secret"),
            _field("tenant", "Tenant ID"),
            _field(
                "cloud_environment", "Azure Cloud Environment", "AZURE_CLOUD_ENVIRONMENT, for Azure Stack and the like."
            ),
        ),
        ("subscription",),
        {
            "env": {
                "AZURE_SUBSCRIPTION_ID": "{{ subscription }}",
                "AZURE_CLIENT_ID": "{{ client }}",
                "AZURE_SECRET": "{{ secret }}",
                "AZURE_TENANT": "{{ tenant }}",
                "AZURE_AD_USER": "{{ username }}",
                "AZURE_PASSWORD": "{{ password }}",
                "AZURE_CLOUD_ENVIRONMENT": "{{ cloud_environment or 'AzureCloud' }}",
            }
        },
    ),
    ManagedType("github_token", "GitHub Personal Access Token", "token", (_secret("token", "Token"),), ("token",)),
    ManagedType("gitlab_token", "GitLab Personal Access Token", "token", (_secret("token", "Token"),), ("token",)),
    ManagedType(
        "bitbucket_dc_token",
        "Bitbucket Data Center HTTP Access Token",
        "token",
        (_secret("token", "Token"),),
        ("token",),
    ),
    ManagedType(
        "insights",
        "Insights",
        "insights",
        (USERNAME, PASSWORD),
        ("username", "password"),
        {
            "extra_vars": {"scm_username": "{{ username }}", "scm_password": "{{ password }}"},
            "env": {"INSIGHTS_USER": "{{ username }}", "INSIGHTS_PASSWORD": "{{ password }}"},
        },
    ),
    ManagedType(
        "rhv",
        "Red Hat Virtualization",
        "cloud",
        (
            _field("host", "Host (Authentication URL)", "The host to authenticate with."),
            USERNAME,
            PASSWORD,
            _field("ca_file", "CA File", "Absolute path of the CA file to use."),
        ),
        ("host", "username", "password"),
        {
            "file": {
                "template": "[ovirt]\novirt_url={{ host }}\novirt_username={{ username }}\n"
                "ovirt_password={{ password }}\n{% if ca_file %}ovirt_ca_file={{ ca_file }}\n{% endif %}"
            },
            "env": {
                "OVIRT_INI_PATH": "{{ tower.filename }}",
                "OVIRT_URL": "{{ host }}",
                "OVIRT_USERNAME": "{{ username }}",
                "OVIRT_PASSWORD": "{{ password }}",
            },
        },
    ),
    ManagedType(
        "controller",
        "Red Hat Ansible Automation Platform",
        "cloud",
        (
            _field("host", "Base URL", "Base URL of the controller to sign in to."),
            _field("username", "Username", "Not needed with an OAuth token."),
            PASSWORD,
            _secret("oauth_token", "OAuth Token", "In place of a user name and password."),
            _field("verify_ssl", "Verify SSL", type="boolean"),
        ),
        ("host",),
        {
            "env": {
                f"{prefix}_{name}": f"{{{{ {value} }}}}"
                for prefix in ("TOWER", "CONTROLLER")
                for name, value in (
                    ("HOST", "host"),
                    ("USERNAME", "username"),
                    ("PASSWORD", "password"),
                    ("VERIFY_SSL", "verify_ssl"),
                    ("OAUTH_TOKEN", "oauth_token"),
                )
            }
        },
    ),
    ManagedType(
        "kubernetes_bearer_token",
        "OpenShift or Kubernetes API Bearer Token",
        "kubernetes",
        (
            _field("host", "OpenShift or Kubernetes API Endpoint"),
            _secret("bearer_token", "API authentication bearer token"),
            VERIFY_SSL,
            _secret("ssl_ca_cert", "Certificate Authority data", multiline=True),
        ),
        ("host", "bearer_token"),
        {
            "file": {"template": "{{ ssl_ca_cert }}"},
            "env": {
                "K8S_AUTH_HOST": "{{ host }}",
                "K8S_AUTH_API_KEY": "{{ bearer_token }}",
                "K8S_AUTH_VERIFY_SSL": "{{ verify_ssl }}",
                "K8S_AUTH_SSL_CA_CERT": "{% if verify_ssl and ssl_ca_cert %}{{ tower.filename }}{% endif %}",
            },
        },
    ),
    ManagedType(
        "registry",
        "Container Registry",
        "registry",
        (
            _field("host", "Authentication URL", "Where the registry signs in.", default="quay.io"),
            USERNAME,
            _secret("password", "Password or Token"),
            VERIFY_SSL,
        ),
        ("host",),
    ),
    ManagedType(
        "galaxy_api_token",
        "Ansible Galaxy/Automation Hub API Token",
        "galaxy",
        (
            _field("url", "Galaxy Server URL", "The Galaxy instance to fetch from."),
            _field("auth_url", "Auth Server URL", "The token endpoint of a Keycloak server, for SSO."),
            _secret("token", "API Token", "A token to sign in with."),
        ),
        ("url",),
    ),
    ManagedType(
        "gpg_public_key",
        "GPG Public Key",
        "cryptography",
        (_secret("gpg_public_key", "GPG Public Key", "To check the signatures of content with.", multiline=True),),
        ("gpg_public_key",),
    ),
    ManagedType(
        "terraform",
        "Terraform backend configuration",
        "cloud",
        (
            _secret("configuration", "Backend configuration", "Terraform's backend config, in HCL.", multiline=True),
            _secret("gce_credentials", "Google Cloud Platform account credentials", multiline=True),
        ),
        ("configuration",),
        {
            "file": {"template.config": "{{ configuration }}", "template.gce": "{{ gce_credentials }}"},
            "env": {
                "TF_BACKEND_CONFIG_FILE": "{{ tower.filename.config }}",
                "GOOGLE_BACKEND_CREDENTIALS": "{% if gce_credentials %}{{ tower.filename.gce }}{% endif %}",
            },
        },
    ),
)


def upsert_managed_types(session: Session) -> None:
    """Bring the stored managed types up to date; a new version may have changed them. The caller commits."""
    known = {
        row.namespace: row for row in session.scalars(select(CredentialType).where(CredentialType.managed.is_(True)))
    }
    for each in MANAGED_TYPES:
        row = known.get(each.namespace)
        if row is None:
            row = CredentialType(namespace=each.namespace, managed=True)
            session.add(row)
        row.name, row.kind = each.name, each.kind
        row.inputs, row.injectors = each.inputs, dict(each.injectors)
        session.flush()  # one by one: the ids follow the order above
