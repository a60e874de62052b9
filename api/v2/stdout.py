"""`stdout/` of a run, out of its events: as text, with its colours, as HTML or JSON, whole or by lines."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from fastapi import Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api.call import Call
from api.responses import json_response
from api.v2.ansi import plain, to_html
from core.db import Database
from core.errors import Invalid, NotFound
from models.events import JobEvent
from models.settings import get_setting
from models.unified import UnifiedJob

FORMATS = ("txt", "ansi", "html", "json", "txt_download", "ansi_download")
BATCH = 200  # events read at once

_COLOURS = ("#000", "#c0392b", "#27823b", "#9a6a00", "#2059b5", "#8e3a9d", "#127d8a", "#bbb")
STYLE = (
    ".ansi1{font-weight:bold}.ansi3{font-style:italic}.ansi4{text-decoration:underline}"
    + "".join(f".ansi{30 + n},.ansi{90 + n}{{color:{c}}}" for n, c in enumerate(_COLOURS))
    + "".join(f".ansi{40 + n},.ansi{100 + n}{{background:{c}}}" for n, c in enumerate(_COLOURS))
)


@dataclass(frozen=True)
class Lines:
    """Output lines `start` (from 0) up to, not including, `end`."""

    start: int
    end: int

    @classmethod
    def of(cls, query: dict[str, str], stored: int) -> "Lines":
        """Negative numbers count from the end. Raises Invalid."""
        limits = []
        for name, default in (("start_line", 0), ("end_line", stored)):
            text = query.get(name) or str(default)
            try:
                number = int(text) if len(text) < 12 else None
            except ValueError:
                number = None
            if number is None:
                raise Invalid(fields={name: ["A valid integer is required."]})
            limits.append(min(max(number + stored if number < 0 else number, 0), stored))
        start, end = limits
        return cls(start, max(start, end))


def stdout(call: Call, run_id: int) -> Response:
    """The output so far. Too much to display is said so, and can be downloaded."""
    query = dict(call.query)
    wanted = query.get("format") or _accepted(call.request.headers.get("accept", ""))
    if wanted not in FORMATS:
        raise NotFound("Not found.")
    run = call.session.get(UnifiedJob, run_id)
    assert run is not None
    lines = Lines.of(query, run.lines_stored)
    if wanted.endswith("_download"):
        return _download(call, run, lines, colours=wanted.startswith("ansi"))
    size = call.session.scalar(_events(run, lines).with_only_columns(func.sum(func.octet_length(JobEvent.stdout))))
    most = get_setting(call.session, "STDOUT_MAX_BYTES_DISPLAY")
    if (size or 0) > most:
        text = (
            f"Standard Output too large to display ({size} bytes), only download supported for sizes over {most} bytes."
        )
        lines, stored = Lines(0, 1), 1
    else:
        text, stored = "".join(_batch(call.session, run, lines, 0, None)[0]), run.lines_stored
    return _display(wanted, query, text, lines, stored, run)


def _accepted(accept: str) -> str:
    for media_type, wanted in (("text/plain", "txt"), ("text/html", "html"), ("application/json", "json")):
        if media_type in accept:
            return wanted
    return "txt"


def _display(wanted: str, query: dict[str, str], text: str, lines: Lines, stored: int, run: UnifiedJob) -> Response:
    match wanted:
        case "txt":
            return Response(plain(text), media_type="text/plain; charset=utf-8")
        case "ansi":
            return Response(text, media_type="text/plain; charset=utf-8")
        case "html":
            return Response(_page(run, to_html(text), query), media_type="text/html; charset=utf-8")
    content = text if query.get("content_format") == "ansi" else to_html(text)
    if query.get("content_encoding") == "base64" and query.get("content_format") == "ansi":
        content = base64.b64encode(text.encode()).decode()
    return json_response(
        {"range": {"start": lines.start, "end": lines.end, "absolute_end": stored}, "content": content}
    )


def _page(run: UnifiedJob, body: str, query: dict[str, str]) -> str:
    content = f'<pre class="ansi_fore ansi_back">{body}</pre>'
    if query.get("content_only", "").lower() in ("1", "true"):
        return content
    title = escape(f"{run.id} - {run.name}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{content}</body></html>"
    )


def _events(run: UnifiedJob, lines: Lines) -> Select[int, int, int, str]:
    return select(JobEvent.counter, JobEvent.start_line, JobEvent.end_line, JobEvent.stdout).where(
        JobEvent.job_id == run.id,
        JobEvent.job_created == run.created,
        JobEvent.end_line > lines.start,
        JobEvent.start_line < lines.end,
        JobEvent.end_line > JobEvent.start_line,
    )


def _batch(
    session: Session, run: UnifiedJob, lines: Lines, after: int, limit: int | None
) -> tuple[list[str], int | None]:
    """(texts, the counter to go on from) of at most `limit` events; None when there are no more."""
    statement = _events(run, lines).where(JobEvent.counter > after).order_by(JobEvent.counter).limit(limit)
    rows = session.execute(statement).all()
    texts = [_within(row.stdout, row.start_line, row.end_line, lines) for row in rows]
    return texts, rows[-1].counter if limit is not None and len(rows) == limit else None


def _within(text: str, first: int, end: int, lines: Lines) -> str:
    """The lines of an event that are asked for, each ended: those from `first` up to `end`."""
    parts = text.split("\n")
    parts += [""] * (
        end - first - len(parts)
    )  # ansible-runner counts the blank lines at an event's end, and drops them
    kept = parts[max(lines.start - first, 0) : lines.end - first]
    return "\n".join(kept) + "\n"


def _download(call: Call, run: UnifiedJob, lines: Lines, *, colours: bool) -> Response:
    name = f"{run.type}_{run.id}.txt"
    return StreamingResponse(
        _stream(call.services.database, run, lines, colours=colours),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _stream(database: Database, run: UnifiedJob, lines: Lines, *, colours: bool) -> Iterator[bytes]:
    """A transaction per batch: a slow reader holds neither memory nor a connection."""
    after: int | None = 0
    while after is not None:
        with database.transaction() as session:
            texts, after = _batch(session, run, lines, after, BATCH)
        text = "".join(texts)
        yield (text if colours else plain(text)).encode()
