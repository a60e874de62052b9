"""Manual projects: directories that an administrator puts below the projects root."""

from pathlib import Path, PurePosixPath

from activities.scm.cache import copy_tree
from activities.scm.errors import ScmError, ScmReason


def manual_project(projects_root: Path, local_path: str) -> Path:
    """The directory of a manual project. Raises ScmError (invalid) if it is not below the root or not there.

    A symbolic link in the root may lead anywhere: only who administers this host can make one."""
    path = PurePosixPath(local_path)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in local_path:
        raise ScmError(ScmReason.INVALID, f"{local_path!r} is not a directory below the projects root.")
    directory = projects_root / path
    if not directory.is_dir():
        raise ScmError(
            ScmReason.INVALID,
            f"The project directory {directory} does not exist on this host. Create it and put the playbooks there.",
        )
    return directory


def manual_checkout(projects_root: Path, local_path: str, dest: Path) -> None:
    """Copy a manual project as it is now to `dest` (new, or an empty directory) for one job."""
    copy_tree(manual_project(projects_root, local_path).resolve(), dest)
