"""The few HTML pages that belong to the API itself: signing in, and its documentation."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(name: str, status: int = 200, **context: Any) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(name).render(context), status)


def wants_page(request: Request) -> bool:
    """A browser's navigation, as opposed to a script or a client."""
    return "text/html" in request.headers.get("accept", "")
