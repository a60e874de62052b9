"""What git says, made fit to be shown: whole lines, without secrets."""

import re
import time
from urllib.parse import quote, quote_plus

from core.crypto import MASK

PROGRESS_EVERY = 5.0  # seconds between two lines of a progress bar
MAX_LINE = 64 * 1024


class Mask:
    """Replaces secrets in text, in every form in which git, curl or ssh may repeat them."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """A secret of several lines (a key) is hidden line by line; the marks around a key are no secret."""
        lines = {line.strip() for secret in secrets for line in secret.splitlines() if not line.startswith("-----")}
        for line in filter(None, lines):
            encoded = quote(line, safe="")
            self._forms |= {
                line,
                quote(line),
                quote_plus(line),
                encoded,
                re.sub("%..", lambda m: m[0].lower(), encoded),
            }
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


class LineSplitter:
    """Cuts a byte stream into lines. Of a progress bar (lines that end in "\\r") it keeps one now and then."""

    def __init__(self) -> None:
        self._buffer = b""
        self._last_progress = time.monotonic()

    def feed(self, chunk: bytes) -> list[str]:
        # ssh ends its lines with "\r\n", maybe in two chunks: a "\r" is only a progress bar's when more follows it.
        *parts, self._buffer = re.split(rb"(?<=\n)|(?<=\r)(?=[^\n])", self._buffer + chunk)
        if len(self._buffer) > MAX_LINE:
            parts, self._buffer = [*parts, self._buffer + b"\n"], b""
        lines = []
        for part in parts:
            if part.endswith(b"\r"):
                if time.monotonic() - self._last_progress < PROGRESS_EVERY:
                    continue
                self._last_progress = time.monotonic()
            lines.append(part)
        return [text for line in lines if (text := line.decode(errors="replace").replace("\0", "").rstrip())]

    def rest(self) -> list[str]:
        return self.feed(b"\n")
