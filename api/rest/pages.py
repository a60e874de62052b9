"""Pages of a list, as AWX cuts them."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy import func, null, select

from api.call import Call
from api.responses import OPTIONS
from api.rest.filters import asked_order, order_by, where
from api.rest.limits import TIMED, explained
from api.rest.options import MAX_PAGE_SIZE
from api.rest.reader import Reader
from api.rest.resource import Resource, SubList
from core.errors import NotFound

PAGE_SIZE = 25
INVALID_PAGE = "Invalid page."


@dataclass(frozen=True)
class Cut:
    """Which page was asked for. Without a count, one row more than the page is read to see whether there is more."""

    number: int
    size: int
    counted: bool

    @classmethod
    def of(cls, query: list[tuple[str, str]]) -> "Cut":
        """Raises NotFound for a page that cannot be."""
        asked = dict(query)
        size = asked.get("page_size", "")
        number = asked.get("page", "1")
        if not (number.isascii() and number.isdigit() and 0 < int(number[:12]) < 10**9):
            raise NotFound(INVALID_PAGE)
        return cls(
            int(number),
            min(int(size[:9]), MAX_PAGE_SIZE) if size.isascii() and size.isdigit() and int(size) else PAGE_SIZE,
            asked.get("count_disabled", "").lower() not in ("1", "true"),
        )

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def list_page(call: Call, resource: Resource, sublist: SubList | None = None, parent: int = 0) -> bytes:
    """The body of a list: what the caller may read, that meets the query string; of `parent`, for a sub-list."""
    query = call.query
    cut = Cut.of(query)
    row, readable = resource.readable(call.actor)
    wanted = [readable, *where(resource, row, call.actor, query)]
    order = asked_order(query)
    positions = []
    if sublist is not None:
        wanted.append(sublist.condition(row, parent))
        positions = [] if order else sublist.positions(row, parent)
        order = order or list(sublist.order)
    ids = (
        select(row.id)
        .where(*wanted)
        .order_by(*positions, *order_by(resource, row, call.actor, order or resource.order))
    )
    ids = ids.limit(cut.size + (not cut.counted)).offset(cut.offset).select_from(row.table())
    counting = select(func.count()).where(*wanted).select_from(row.table()).scalar_subquery() if cut.counted else null()
    both = select(counting.label("count"), func.array(ids.scalar_subquery()).label("ids"))
    with explained():
        count, found_ids = call.session.execute(both, {"actor_id": call.actor.id}, execution_options=TIMED).one()
        if count is not None and cut.number > 1 and cut.offset >= count:
            raise NotFound(INVALID_PAGE)
        whole = any(key == "no_truncate" for key, _ in query)
        found = Reader(resource, call.actor).objects(call.session, found_ids, whole=whole)
    more = len(found) > cut.size if count is None else cut.offset + cut.size < count
    return orjson.dumps(
        {
            "count": count,
            "next": _link(call, cut.number + 1) if more else None,
            "previous": _link(call, cut.number - 1) if cut.number > 1 else None,
            "results": found[: cut.size],
        },
        option=OPTIONS,
    )


def _link(call: Call, number: int) -> str:
    """This list with another page number, in its place if there was one."""
    pairs: list[tuple[str, Any]] = [(key, number if key == "page" else value) for key, value in call.query]
    if not any(key == "page" for key, _ in pairs):
        pairs.append(("page", number))
    return f"{call.request.url.path}?{urlencode(pairs)}"
