"""What `forge` tells while it works: a spinner in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that `title` is under way and then how long it took."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status(title):
            yield
        console.print(f"[green]✓[/] {title} [dim]{time.monotonic() - started:.1f} s[/]")
    else:
        say(f"{title} ...")
        yield
        took = time.monotonic() - started
        if took >= 1:
            say(f"{title}: done in {took:.1f} s")


def say(line: str) -> None:
    """A line of ours; `rich` markup is welcome."""
    console.print(line)


def warn(line: str) -> None:
    console.print(Text(line, style="yellow"))


def pass_through(output: str) -> None:
    """Somebody else's output: its colours stay in a terminal, and go elsewhere (as NO_COLOR asks, too)."""
    if not console.is_terminal or console.no_color:
        output = Text.from_ansi(output.replace("\r\n", "\n")).plain  # rich drops what stands before a "\r"
    sys.stdout.write(f"{output}\n")
    sys.stdout.flush()
