"""The recorded contract of each resource: what a server of this API family answered."""

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "contract"


@dataclass
class ContractField:
    type: str
    required: bool = False
    write_only: bool = False
    max: int | None = None
    default: Any = None
    has_default: bool = False
    choices: list[str] | None = None


@dataclass
class Contract:
    writable: dict[str, ContractField] = field(default_factory=dict)
    read_only: dict[str, ContractField] = field(default_factory=dict)
    detail_only: set[str] = field(default_factory=set)
    related: set[str] = field(default_factory=set)
    summary: dict[str, set[str]] = field(default_factory=dict)
    search: set[str] = field(default_factory=set)

    @property
    def fields(self) -> dict[str, ContractField]:
        return self.writable | self.read_only


def read_contract(name: str) -> Contract:
    contract = Contract()
    section = ""
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("  "):
            key, _, text = line.strip().partition(": ")
            _take(contract, section, key, text)
            continue
        section, _, text = line.partition(":")
        if section == "only in the detail":
            contract.detail_only = set(text.strip().split(", "))
        elif section == "search":
            contract.search = set(text.strip().split(", "))
    return contract


def _take(contract: Contract, section: str, key: str, text: str) -> None:
    match section:
        case "writable":
            contract.writable[key] = _field(text)
        case "read-only":
            contract.read_only[key] = _field(text)
        case "related":
            contract.related.add(key.rstrip(":"))
        case "summary_fields":
            names = text.partition(" per role:")[0].removeprefix("list of ")
            contract.summary[key] = set() if names == "list" else set(names.split(", "))


def _field(text: str) -> ContractField:
    made = ContractField(re.match(r"\w+", text)[0])  # type: ignore[index]
    made.required = ", required" in text
    made.write_only = ", write_only" in text
    if found := re.search(r", max (\d+)", text):
        made.max = int(found[1])
    if found := re.search(r", one of ([^,]*)", text):
        made.choices = ["" if each == '""' else each for each in found[1].split("|")]
    if found := re.search(r", default (.*)$", text):
        made.has_default = True
        made.default = _value(found[1])
    return made


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)
