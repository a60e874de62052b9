"""The declaration of a resource, its sub-lists and actions; and `Api`, where resources find each other by name.

What is special about a resource is a plain function that its declaration names: a check of a change, something that
happens after it was saved, an action. The machinery calls them and knows nothing else about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from fastapi import Response
from sqlalchemy import ColumnElement, Table, and_, inspect, select
from sqlalchemy.orm import Mapper

from api.rest.fields import DateTime, Field, ForeignKey, Integer
from api.rest.permissions import Permission, Rank, nobody
from api.rest.source import Source
from core.db import Base
from models.access import IMPLIED, Actor

if TYPE_CHECKING:
    from api.call import Call
    from api.rest.writer import Change

ROOT = "/api/v2/"

Model = type[Base]

# An entry of `summary_fields`: JSON as text, NULL to leave it out.
Summary = Callable[[Source, Actor], ColumnElement[Any]]
# An action on the object with this id, which the caller may read.
Handler = Callable[["Call", int], Response]


@dataclass(frozen=True)
class Relation:
    """How a filter gets from one resource to another: where `local` is among the targets' `remote`, or is paired with
    it in the table `via` (in its columns named by `pair`)."""

    target: str
    local: str = "id"
    remote: str = "id"
    via: Table | None = None
    pair: tuple[str, str] = ("", "")

    def matches(self, row: Source, target: Source, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        """`row` is related to some row of `target` that meets the condition."""
        remote = target.col(self.remote)
        if self.via is None:
            found = select(remote).where(condition).select_from(target.table())
        else:
            via, (left, right) = self.via.alias(), self.pair
            pairs = target.table().join(via, via.c[right] == remote)
            found = select(via.c[left]).where(condition).select_from(pairs)
        return row.col(self.local).in_(found)


@dataclass(frozen=True)
class SubList:
    """`/<resource>/N/<path>/`: those of `target` that `where` relates to N. It also links itself in `related`."""

    path: str
    target: str
    _: KW_ONLY
    where: Callable[[Source, int], ColumnElement[bool]] | None = None
    order: tuple[str, ...] = ()

    def condition(self, row: Source, parent: int) -> ColumnElement[bool]:
        assert self.where is not None
        return self.where(row, parent)

    def positions(self, row: Source, parent: int) -> list[ColumnElement[Any]]:
        """What the list is ordered by before `order`, unless the query asks for another order."""
        return []

    def relation(self) -> Relation | None:
        """The same path for filters; None if there is none."""
        return None


@dataclass(frozen=True)
class Children(SubList):
    """Those whose foreign key `by` is N (and that meet `where`, if given). POST creates one there, and `{"id": M,
    "disassociate": true}` deletes M; with `promote` M alone, without what its `remove` would take along."""

    by: str = ""
    create: bool = True
    promote: bool = False

    def condition(self, row: Source, parent: int) -> ColumnElement[bool]:
        mine: ColumnElement[bool] = row.col(f"{self.by}_id") == parent
        return mine if self.where is None else and_(mine, self.where(row, parent))

    def relation(self) -> Relation | None:
        return Relation(self.target, "id", f"{self.by}_id") if self.where is None else None


@dataclass(frozen=True)
class Attached(SubList):
    """Those paired with N in `table`. POST `{"id": M}` attaches, with `"disassociate": true` detaches, and an object
    without an id is created and attached (`create`).

    The caller needs `may` on the parent (its `change` unless said otherwise) and `use` on what is attached; `check`
    may refuse the pair. `initial` names fields of the new object that are taken over from the parent. With `reuse`
    the body may say otherwise, and what it names by its unique fields is attached if it exists already."""

    table: Table | None = None
    pair: tuple[str, str] = ("", "")
    use: str = "read_role"
    may: Permission | None = None
    create: bool = False
    ordered: bool = False
    read_only: bool = False
    check: Callable[[Call, int, int], None] | None = None
    initial: Mapping[str, str] = field(default_factory=dict)
    reuse: bool = False

    def condition(self, row: Source, parent: int) -> ColumnElement[bool]:
        assert self.table is not None
        pairs = self.table.alias()
        return row.id.in_(select(pairs.c[self.pair[1]]).where(pairs.c[self.pair[0]] == parent))

    def positions(self, row: Source, parent: int) -> list[ColumnElement[Any]]:
        if not self.ordered:
            return []
        assert self.table is not None
        pairs, (left, right) = self.table.alias(), self.pair
        mine = select(pairs.c.position).where(pairs.c[left] == parent, pairs.c[right] == row.id)
        return [mine.scalar_subquery()]

    def relation(self) -> Relation:
        return Relation(self.target, via=self.table, pair=self.pair)


@dataclass(frozen=True)
class Action:
    """`/<resource>/N/<path>/`: handlers by method. All but GET need `may`; `fields` is what the body takes."""

    path: str
    methods: Mapping[str, Handler]
    _: KW_ONLY
    may: Permission | None = None
    fields: tuple[Field, ...] = ()
    related: str | None = None  # its key in `related`, if not the path; "" for no place there
    description: str = ""


@dataclass(eq=False)
class Resource:
    """What the machinery knows of a noun. Most declarations need a few of these only."""

    name: str  # of the collection, in URLs
    type: str  # of an object, in `type`
    model: Model
    fields: tuple[Field, ...]
    _: KW_ONLY
    description: str = ""
    routed: bool = True  # has routes of its own
    listed: bool = True  # has a list of its own
    read: Permission
    change: Permission = nobody  # who may update; nobody: not updatable
    delete: Permission = nobody
    # Who may create: whoever may use the target of the foreign key of this name (its `use`), superusers in any case.
    # "" leaves it to superusers; None: nobody creates these through the API.
    create_in: str | None = None
    may_create: Callable[[Call], bool] | None = None  # in place of `create_in`, where it takes more than one key
    capabilities: Mapping[str, Permission] = field(default_factory=dict)
    summary: tuple[str, ...] = ("id", "name", "description")  # what others show of it in their `summary_fields`
    summaries: Mapping[str, Summary] = field(default_factory=dict)
    relations: Mapping[str, Relation] = field(default_factory=dict)
    sublists: tuple[SubList, ...] = ()
    actions: tuple[Action, ...] = ()
    links: Callable[[dict[str, Any]], dict[str, str]] | None = None  # more of `related`, out of the object's fields
    search: tuple[str, ...] = ("name", "description")
    order: tuple[str, ...] = ("id",)
    unique: tuple[str, ...] = ()
    named_url: tuple[tuple[str, ...], ...] = ()  # parts joined by ++, each of paths joined by +
    kinds: Mapping[str, str] | None = None  # of a mixed list: type -> the resource of that type
    # Functions that make it special.
    validate: Callable[[Change], None] | None = None
    saved: Callable[[Change], None] | None = None
    # Before an object is deleted; with an answer of its own, instead of that.
    remove: Callable[[Call, Any], Response | None] | None = None

    api: Api = field(init=False, repr=False)

    @property
    def url(self) -> str:
        return f"{ROOT}{self.name}/"

    @property
    def title(self) -> str:
        return self.type.replace("_", " ")

    @property
    def has_roles(self) -> bool:
        return self.type in IMPLIED

    @cached_property
    def all_fields(self) -> dict[str, Field]:
        """Every field by name, those that most tables share included; in the order in which they are shown."""
        mapper: Mapper[Any] = inspect(self.model)
        columns = mapper.columns
        shared: list[Field] = [
            Integer("id", read_only=True, label="ID", help_text=f"Database ID for this {self.title}.")
        ]
        for name in ("created", "modified"):
            if name in columns:
                shared.append(DateTime(name, read_only=True, help_text=f"Timestamp when this {self.title} was {name}."))
        hidden = [
            ForeignKey(name, target="users", read_only=True, shown=False)
            for name in ("created_by", "modified_by")
            if f"{name}_id" in columns
        ]
        declared = {each.name: each for each in self.fields}
        return {each.name: each for each in (*shared, *hidden)} | declared

    def find_field(self, name: str) -> Field | None:
        """By its name, or a reference by its column's name as well: `organization_id`."""
        found = self.all_fields.get(name)
        if found is None and name.endswith("_id"):
            candidate = self.all_fields.get(name.removesuffix("_id"))
            found = candidate if isinstance(candidate, ForeignKey) else None
        return found

    @cached_property
    def all_relations(self) -> dict[str, Relation]:
        """Every path a filter may take from here."""
        found: dict[str, Relation] = {}
        for each in self.foreign_keys():
            found[each.name] = Relation(each.target, each.attribute)
        for sublist in self.sublists:
            if relation := sublist.relation():
                found[sublist.path] = relation
        found.update(self.relations)
        return {name: relation for name, relation in found.items() if relation.target in self.api.resources}

    def foreign_keys(self) -> Iterator[ForeignKey]:
        """Those to resources that exist."""
        for each in self.all_fields.values():
            if isinstance(each, ForeignKey) and not each.write_only and each.target in self.api.resources:
                yield each

    @cached_property
    def fixed_links(self) -> dict[str, tuple[str, str]]:
        """The links that every object of this resource has: key -> what stands before and after its id."""
        links: dict[str, tuple[str, str]] = {}
        for sublist in self.sublists:
            if sublist.target in self.api.resources:
                links[sublist.path] = (self.url, f"/{sublist.path}/")
        for action in self.actions:
            if key := action.path if action.related is None else action.related:
                links[key] = (self.url, f"/{action.path}/")
        return links

    @cached_property
    def reference_links(self) -> list[tuple[str, str]]:
        """(reference, the URL that its id is appended to)"""
        return [(each.name, self.api[each.target].url) for each in self.foreign_keys() if each.link]

    def readable(self, actor: Actor) -> tuple[Source, ColumnElement[bool]]:
        """The rows of a statement, and the condition that the actor may read them. The statement is to be executed with
        the parameter `actor_id`."""
        row, condition = _readable(self, Rank.of(actor))
        return row.copy(), condition

    def shown(self, *, detail: bool) -> list[Field]:
        return [
            each
            for each in self.all_fields.values()
            if each.shown and not each.write_only and each.name != "id" and (detail or not each.detail_only)
        ]

    def writable(self) -> list[Field]:
        return [each for each in self.all_fields.values() if not each.read_only and each.shown]

    @property
    def creatable(self) -> bool:
        return self.create_in is not None or self.may_create is not None

    @property
    def changeable(self) -> bool:
        return self.change is not nobody

    @property
    def deletable(self) -> bool:
        return self.delete is not nobody


@cache
def _readable(resource: Resource, rank: Rank) -> tuple[Source, ColumnElement[bool]]:
    row = Source.first(resource.model)
    return row, resource.read(rank.stand_in(), row)


class Api:
    """All resources by name. What refers to one that is not here is not linked, summarized or filtered by."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = {resource.name: resource for resource in resources}
        for resource in resources:
            resource.api = self

    def __getitem__(self, name: str) -> Resource:
        return self.resources[name]
