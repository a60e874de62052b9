"""Which files of a project are playbooks, and which may be inventories. Reads files; runs and trusts nothing.

Files are looked at line by line instead of being parsed as YAML: a playbook with a syntax error must still show up, so
that its job can say what is wrong, and custom tags or a file of 10 MB must not matter."""

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath

READ_AT_MOST = 1024 * 1024  # bytes of a file; its first play starts long before
MAX_INVENTORY_FILES = 50  # as in AWX: nearly every YAML file could be an inventory

_SKIPPED_DIRECTORIES = frozenset({"roles", "tasks", "vars", "group_vars", "host_vars"})
_YAML = frozenset({".yml", ".yaml"})
_NAME = r"(?:hosts|(?:ansible\.(?:builtin|legacy)\.)?(?:import_playbook|include))"
_PLAY_KEY = re.compile(rf"""(?:{_NAME}|'{_NAME}'|"{_NAME}")\s*:(?:\s|$)""")
_PLAY_KEY_IN_BRACES = re.compile(rf"""(?:^|[{{,])\s*(?:{_NAME}\s*:\s|'{_NAME}'\s*:|"{_NAME}"\s*:)""", re.MULTILINE)
_MAPPING_KEY = re.compile(r"""(?:[\w.@/-]+|'[^']+'|"[^"]+")\s*:(?:\s|$)|\{""")
_INI_LINE = re.compile(r"\[[\w.:@-]+\]|[\w.:\[\]@-]+(?:\s+\w+\s*=.*)?(?:\s+[#;].*)?$|\w+\s*=")


def find_playbooks(tree: Path) -> list[str]:
    """Relative paths of the YAML files that hold plays: a list with an item that has `hosts` or imports a playbook."""
    return _sorted(path for path in _files(tree) if path.suffix in _YAML and holds_plays(_read(tree / path)))


def find_inventory_files(tree: Path) -> list[str]:
    """Relative paths of at most 50 files that look like an inventory: INI, a YAML mapping, or an executable script."""
    return _sorted(islice((path for path in _files(tree) if _may_be_inventory(tree / path)), MAX_INVENTORY_FILES))


def holds_plays(text: str) -> bool:
    """Whether a YAML text is a list that has a play in it, by the keys of its items."""
    dashes = -1  # the column of the list's dashes
    keys: int | None = None  # the column of the current item's keys, None while it is not known
    braces = False  # whether the current item is written as {...}
    for line in _significant_lines(text):
        content = line.lstrip(" ")
        column = len(line) - len(content)
        if dashes < 0:
            if content.startswith("["):
                return bool(_PLAY_KEY_IN_BRACES.search(text))
            if not re.match(r"-(?:\s|$)", content):
                return False
            dashes = column
        if column == dashes and content.startswith("-"):
            content = content[1:].lstrip()
            if not content or content.startswith("#"):
                keys, braces = None, False
                continue
            column = keys = len(line) - len(content)
            braces = content.startswith("{")
        elif keys is None:
            keys = column
        if braces and _PLAY_KEY_IN_BRACES.search(content):
            return True
        if column == keys and _PLAY_KEY.match(content):
            return True
    return False


def _may_be_inventory(path: Path) -> bool:
    if path.suffix not in _YAML | {".ini", ""}:
        return False
    text = _read(path)
    if "\0" in text:
        return False
    if path.suffix == "" and text.startswith("#!"):
        return os.access(path, os.X_OK)
    first = list(islice(_significant_lines(text), 10))
    if path.suffix in _YAML:
        return bool(first) and bool(_MAPPING_KEY.match(first[0]))
    return bool(first) and all(_INI_LINE.match(line) for line in first)


def _significant_lines(text: str) -> Iterator[str]:
    """Without blank lines, comments and the marks that start a YAML document."""
    for line in text.removeprefix("\ufeff").splitlines():
        line = line.rstrip()
        if line and not line.lstrip().startswith(("#", ";")) and not line.startswith(("---", "%")):
            yield line


def _files(tree: Path) -> Iterator[PurePath]:
    """The project's regular files, relative to it, but for directories that hold neither playbooks nor inventories.

    Links to directories are not followed (they may run in circles), links to files only within the tree."""
    root = os.path.realpath(tree)
    for directory, subdirectories, names in os.walk(tree):
        subdirectories[:] = sorted(
            name for name in subdirectories if name not in _SKIPPED_DIRECTORIES and not name.startswith(".")
        )
        for name in sorted(names):
            path = os.path.join(directory, name)
            if not name.startswith(".") and _is_inside(path, root):
                yield PurePath(os.path.relpath(path, tree))


def _is_inside(path: str, root: str) -> bool:
    """Whether a path is a regular file in the tree, not a pipe, a device or a link to something outside."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
    except OSError:  # a dangling or circular link
        return False
    return not os.path.islink(path) or os.path.realpath(path).startswith(root + os.sep)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(READ_AT_MOST).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _sorted(paths: Iterator[PurePath]) -> list[str]:
    """Names that are not UTF-8 cannot be stored or shown, so they are left out."""
    names = (str(path) for path in paths)
    return sorted((name for name in names if name.isprintable()), key=lambda name: (name.lower(), name))
