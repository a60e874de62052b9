"""An inventory as Ansible wants it, in one SQL statement: 10,000 hosts in tens of milliseconds, no ORM objects."""

import re
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.inventories import Inventory
from models.variables import parse_variables

_HOSTS = text("""
    SELECT h.name, h.variables, h.id, h.enabled,
           ARRAY(SELECT g.name FROM group_hosts gh JOIN groups g ON g.id = gh.group_id WHERE gh.host_id = h.id)
    FROM hosts h WHERE h.inventory_id = :inventory AND (h.enabled OR :all) ORDER BY h.name
""")
_GROUPS = text("""
    SELECT g.name, g.variables,
           ARRAY(SELECT c.name FROM group_children gc JOIN groups c ON c.id = gc.child_id
                 WHERE gc.parent_id = g.id ORDER BY c.name)
    FROM groups g WHERE g.inventory_id = :inventory ORDER BY g.name
""")


def inventory_script(
    session: Session, inventory_id: int, *, hostvars: bool = True, towervars: bool = False, disabled: bool = False
) -> dict[str, Any]:
    """The dynamic inventory format: `{group: {hosts, children, vars}, "_meta": {"hostvars": {...}}}`.

    Disabled hosts are left out unless `disabled`; `towervars` adds each host's id and state to its variables."""
    variables = session.scalar(select(Inventory.variables).where(Inventory.id == inventory_id))
    groups: dict[str, dict[str, Any]] = {}
    parameters = {"inventory": inventory_id, "all": disabled}
    for name, group_variables, children in session.execute(_GROUPS, parameters):
        group: dict[str, Any] = {"hosts": [], "children": list(children)}
        if group_variables:
            group["vars"] = parse_variables(group_variables, f"group {name}")
        groups[name] = group
    everything = groups.setdefault("all", {"hosts": [], "children": []})
    if variables:
        everything["vars"] = {**parse_variables(variables, "inventory"), **everything.get("vars", {})}
    meta: dict[str, dict[str, Any]] = {}
    for name, host_variables, host_id, enabled, memberships in session.execute(_HOSTS, parameters):
        for group_name in memberships or ("all",):
            groups[group_name]["hosts"].append(name)
        own = parse_variables(host_variables, f"host {name}") if host_variables else {}
        if towervars:
            own |= {"remote_tower_enabled": str(enabled).lower(), "remote_tower_id": host_id}
        meta[name] = own
    everything["children"] += _roots(groups)
    # Without any of the three keys ansible would take the name for that of a host.
    script: dict[str, Any] = {
        name: {key: value for key, value in group.items() if value} or {"hosts": []} for name, group in groups.items()
    }
    if hostvars:
        script["_meta"] = {"hostvars": meta}
    return script


def _roots(groups: dict[str, dict[str, Any]]) -> list[str]:
    """Groups that are nobody's child, in order: with them `all` reaches every group."""
    below = {child for group in groups.values() for child in group["children"]}
    return [name for name in groups if name != "all" and name not in below]


def host_pattern(name: str) -> str:
    """What a limit calls this host. A name with characters that mean something in a pattern, or between patterns,
    becomes a regular expression without any of them: `web[1:3]` would be three hosts, `*` would be all."""
    if re.fullmatch(r"[\w.-]+", name):
        return name
    return "~" + re.sub(r"[^\w-]", lambda found: f"\\U{ord(found[0]):08x}", name) + r"\Z"
