"""How every Forge process logs: one line an event to standard output, with UTC times, which `forge up` keeps in files
and a container's platform collects."""

import logging
import re
import sys
import time

# Told at INFO what matters to their authors only.
QUIET = ("alembic.runtime", "httpx", "httpcore", "temporalio.worker", "uvicorn.error")
HEAD = re.compile(r"^\S+Z [A-Z]+ +\S+: ")  # what is before the message


def configure_logging(level: str) -> None:
    """`level` as in FORGE_LOG_LEVEL. May be called again: the last call counts."""
    number = logging.getLevelNamesMapping()[level]
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)


def message_of(line: str) -> str:
    """What a process of ours had to say when it logged this line; any other line as it is."""
    return HEAD.sub("", line)
