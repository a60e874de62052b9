"""Projects' sources: git repositories synced into a cache on this host, and a private copy of one revision per job.

`ProjectCache` is the door: `sync`, `checkout`, `prune`, `remove`. Nothing in here knows the database or Temporal."""

from activities.scm.cache import ProjectCache, SyncResult
from activities.scm.errors import ScmError, ScmReason
from activities.scm.manual import manual_checkout, manual_project
from activities.scm.source import ScmCredential, ScmSource
from core.project_content import find_inventory_files, find_playbooks

__all__ = [
    "ProjectCache",
    "ScmCredential",
    "ScmError",
    "ScmReason",
    "ScmSource",
    "SyncResult",
    "find_inventory_files",
    "find_playbooks",
    "manual_checkout",
    "manual_project",
]
