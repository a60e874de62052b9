"""Reading: ids become objects as the API shows them, without ORM objects on the way."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api.rest import named_urls
from api.rest.objects import object_statement
from api.rest.permissions import Rank
from api.rest.resource import Resource
from core.errors import NotFound
from models.access import Actor


class Reader:
    """Reads one resource for one caller."""

    def __init__(self, resource: Resource, actor: Actor) -> None:
        self.resource = resource
        self.actor = actor

    def one(self, session: Session, object_id: int) -> dict[str, Any]:
        """The object in full, whether or not the caller may read it: for answers to changes that were allowed. Raises
        NotFound."""
        found = self.objects(session, [object_id], detail=True)
        if not found:
            raise NotFound("Not found.")
        return found[0]

    def visible(self, session: Session, key: str) -> dict[str, Any]:
        """The object that an id or a named URL stands for. Raises NotFound."""
        return self.one(session, self.visible_id(session, key))

    def visible_id(self, session: Session, key: str) -> int:
        """Its id. Raises NotFound."""
        row, readable = self.resource.readable(self.actor)
        ids: Select[int] = select(row.id).where(named_urls.matches(self.resource, row, self.actor, key), readable)
        found = session.execute(ids.select_from(row.table()), {"actor_id": self.actor.id}).scalar()
        if found is None:
            raise NotFound("Not found.")
        return found

    def objects(
        self, session: Session, ids: Sequence[int], *, detail: bool = False, whole: bool = True
    ) -> list[dict[str, Any]]:
        """Objects ready for orjson, in the order of the ids. Long texts are `whole`, or cut as the fields say."""
        if not ids:
            return []
        resource = self.resource
        statement = object_statement(resource, Rank.of(self.actor), detail=detail, whole=whole)
        found: list[dict[str, Any]] = []
        for object_id, kind_name, name, summaries, *columns in statement.rows(session, ids, self.actor):
            kind = resource.api[resource.kinds[kind_name]] if resource.kinds is not None else resource
            values = dict(zip(statement.names, columns, strict=True))
            for each in statement.as_json:
                if values[each] is not None:
                    values[each] = orjson.Fragment(values[each])
            values["type"] = kind.type
            item: dict[str, Any] = {
                "id": object_id,
                "type": kind.type,
                "url": f"{kind.url}{object_id}/",
                "related": _related(kind, resource, object_id, name, values),
                "summary_fields": orjson.Fragment(f"{{{summaries}}}"),
            }
            for each in statement.hidden:
                del values[each]
            item.update(values)
            found.append(item)
        return found


def _related(
    kind: Resource, resource: Resource, object_id: int, name: str | None, values: dict[str, Any]
) -> dict[str, str]:
    """URLs of what belongs to an object; only such as exist. `kind` is its own resource, also in a mixed list."""
    found: dict[str, str] = {}
    if name is not None and "/" not in name:  # a path has no place for such a name
        found["named_url"] = named_urls.encode(resource, name)
    for key, (prefix, suffix) in kind.fixed_links.items():
        found[key] = f"{prefix}{object_id}{suffix}"
    for key, url in resource.reference_links:
        if values.get(key) is not None:
            found[key] = f"{url}{values[key]}/"
    if resource.links is not None:
        found.update(resource.links(values))
    return found
