"""From a project's row to what `activities.scm` takes: its source, and its credential decrypted."""

from sqlalchemy.orm import Session

from activities.credentials import credential_inputs
from activities.scm.source import ScmCredential, ScmSource
from core.crypto import Secrets
from models.projects import Project, ProjectUpdate


def scm_source(project: Project | ProjectUpdate, branch: str | None = None) -> ScmSource:
    """`branch` takes the place of the project's own: another branch, or the very revision that a host lacks."""
    return ScmSource(
        scm_type="git",
        url=project.scm_url,
        branch=project.scm_branch if branch is None else branch,
        refspec=project.scm_refspec,
        clean=project.scm_clean,
        delete_on_update=project.scm_delete_on_update,
        track_submodules=project.scm_track_submodules,
    )


def scm_credential(session: Session, secrets: Secrets, credential_id: int | None) -> ScmCredential:
    inputs = credential_inputs(session, secrets, credential_id)
    return ScmCredential(
        username=inputs.get("username", ""),
        password=inputs.get("password", ""),
        ssh_key=inputs.get("ssh_key_data", ""),
        ssh_key_passphrase=inputs.get("ssh_key_unlock", ""),
    )
