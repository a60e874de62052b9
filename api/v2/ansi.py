"""Terminal output as plain text and as HTML."""

import re
from collections.abc import Iterator
from html import escape

_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_STYLES = range(1, 10)
_FOREGROUNDS = (*range(30, 38), *range(90, 98))
_BACKGROUNDS = (*range(40, 48), *range(100, 108))


def plain(text: str) -> str:
    """Without any escape sequences."""
    return _SEQUENCE.sub("", text)


def to_html(text: str) -> str:
    """Escaped, with colours and styles as `<span class="ansi31 ansi1">`; every other sequence is left out."""
    return "".join(_spans(text))


def _spans(text: str) -> Iterator[str]:
    active: list[int] = []
    position = 0
    for match in _SEQUENCE.finditer(text):
        yield from _span(text[position : match.start()], active)
        position = match.end()
        if match[2] == "m":
            active = _after(active, match[1])
    yield from _span(text[position:], active)


def _span(text: str, active: list[int]) -> Iterator[str]:
    if not text:
        return
    if active:
        names = " ".join(f"ansi{code}" for code in active)
        yield f'<span class="{names}">{escape(text)}</span>'
    else:
        yield escape(text)


def _after(active: list[int], parameters: str) -> list[int]:
    """The codes in force after a colour sequence. 256-colour and true-colour codes (38;..., 48;...) are passed over."""
    codes = [int(code) if code.isdigit() else 0 for code in parameters.split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            active = []
        elif code in (38, 48) and codes:
            del codes[: 2 if codes[0] == 5 else 4]
        elif code in _STYLES:
            active = [*(each for each in active if each != code), code]
        elif code == 22:
            active = [each for each in active if each not in (1, 2)]
        elif code == 39 or code in _FOREGROUNDS:
            active = [each for each in active if each not in _FOREGROUNDS] + ([] if code == 39 else [code])
        elif code == 49 or code in _BACKGROUNDS:
            active = [each for each in active if each not in _BACKGROUNDS] + ([] if code == 49 else [code])
        elif 23 <= code <= 29:
            active = [each for each in active if each != code - 20]
    return active
