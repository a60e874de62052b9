"""No list runs longer than this, whatever regular expression its filters hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DataError, OperationalError

from core.errors import Invalid

LIST_SECONDS = 5
TIMED = {"forge_timeout": LIST_SECONDS}  # execution options of a statement that must not run longer

QUERY_CANCELED = "57014"
INVALID_REGULAR_EXPRESSION = "2201B"


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _limit(
    _connection: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    """Sent along with the statement: a round trip of its own for every list would cost more than many a list."""
    seconds = context.execution_options.get("forge_timeout") if context is not None else None
    if seconds is not None:
        statement = f"SET LOCAL statement_timeout = {int(seconds) * 1000}; {statement}"
    return statement, parameters


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a filter of the caller made PostgreSQL refuse into an answer for the caller."""
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != QUERY_CANCELED:
            raise
        raise Invalid(f"The filter takes longer than {LIST_SECONDS} seconds.") from error
    except DataError as error:
        if getattr(error.orig, "pgcode", None) != INVALID_REGULAR_EXPRESSION:
            raise
        raise Invalid("The filter holds an invalid regular expression.") from error
