"""Terminal output as text and HTML."""

import pytest

from api.v2.ansi import plain, to_html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("\x1b[31mred\x1b[0m", '<span class="ansi31">red</span>'),
        ("\x1b[0;32mok\x1b[0m!", '<span class="ansi32">ok</span>!'),
        ("\x1b[1;31mbold\x1b[22m red\x1b[39m none", '<span class="ansi1 ansi31">bold</span><span class="ansi31"> red</span> none'),  # noqa: E501  the message in one piece
        ("\x1b[31m\x1b[32mgreen", '<span class="ansi32">green</span>'),
        ("\x1b[41;97mx\x1b[49my\x1b[m", '<span class="ansi41 ansi97">x</span><span class="ansi97">y</span>'),
        ("\x1b[38;5;196mx\x1b[0m", "x"),
        ("\x1b[38;2;1;2;3;1mx", '<span class="ansi1">x</span>'),
        ("\x1b[4mx\x1b[24my", '<span class="ansi4">x</span>y'),
        ("\x1b[2K\x1b[1Gx\x1b]0;title\x07y", "xy"),
        ("\x1b[31m<script>\x1b[0m", '<span class="ansi31">&lt;script&gt;</span>'),
        ("\x1b[999;;mx", "x"),
    ],
)  # fmt: skip
def test_html(text: str, html: str) -> None:
    assert to_html(text) == html


def test_plain() -> None:
    assert plain("\x1b[1;31mred\x1b[0m\x1b[K and \x1b]8;;http://x\x1b\\link") == "red and link"
