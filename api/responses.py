"""Answers as AWX writes them: JSON with UTC times ending in Z."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from fastapi import Response

OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`data` may hold what orjson takes (dataclasses, datetimes, UUIDs, enums) and decimals, written as strings."""
    body = orjson.dumps(data, default=_other, option=OPTIONS)
    return Response(body, status, dict(headers or {}), "application/json")


def no_content() -> Response:
    return Response(status_code=204)


def _other(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
