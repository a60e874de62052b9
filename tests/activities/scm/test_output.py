import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.scm.output import LineSplitter, Mask
from core.crypto import MASK


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="ab \u00e9", min_size=1).map(str.rstrip).filter(bool)), st.integers(1, 7), st.booleans()
)
def test_lines_arrive_whole_however_they_are_cut(lines: list[str], size: int, like_ssh: bool) -> None:
    data = "".join(line + ("\r\n" if like_ssh else "\n") for line in lines).encode()
    splitter = LineSplitter()
    heard = [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])]

    assert heard + splitter.rest() == lines


def test_of_a_progress_bar_the_end_is_kept() -> None:
    splitter = LineSplitter()
    lines = splitter.feed(b"Receiving:  10%\rReceiving:  20%\rReceiving: 100%, done.\nnext\x00")

    assert lines + splitter.rest() == ["Receiving: 100%, done.", "next"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter()
    heard = [line for _ in range(100) for line in splitter.feed(b"x" * 10_000)]

    assert len(heard) > 10
    assert sum(map(len, heard + splitter.rest())) == 1_000_000


@pytest.mark.parametrize(
    "shown",
    [
        "p@ss w&rd/\u00fc",
        "p%40ss%20w%26rd%2F%C3%BC",
        "p%40ss%20w%26rd/%C3%BC",
        "p%40ss+w%26rd%2F%C3%BC",
        "p%40ss%20w%26rd%2f%c3%bc",
    ],
)
def test_a_secret_is_hidden_in_every_form(shown: str) -> None:
    mask = Mask()
    mask.add("p@ss w&rd/\u00fc")

    assert mask(f"fatal: https://alice:{shown}@host/x") == f"fatal: https://alice:{MASK}@host/x"


def test_a_secret_within_another_and_lines_of_a_key() -> None:
    mask = Mask()
    mask.add("", "token", "token-long", "-----BEGIN KEY-----\nabcd\nefgh\n-----END KEY-----\n")

    assert mask("token-long token abcd -----BEGIN KEY-----") == f"{MASK} {MASK} {MASK} -----BEGIN KEY-----"


def test_without_secrets_nothing_is_hidden() -> None:
    assert Mask()("as it is") == "as it is"
