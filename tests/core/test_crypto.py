"""The key file."""

import stat
from pathlib import Path

import pytest

from core.crypto import KEY_FILE, load_master_key
from core.errors import StartupError


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = load_master_key(tmp_path / "new", None)

    assert load_master_key(tmp_path / "new", None) == made
    assert stat.S_IMODE((tmp_path / "new" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == [KEY_FILE]


def test_the_setting_comes_first(tmp_path: Path) -> None:
    assert load_master_key(tmp_path, "given") == "given"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b" \n", b"\xff\xfe\x00"])
def test_a_damaged_key_file_is_no_key(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(damage)

    with pytest.raises(StartupError, match=r"secret_key is empty or damaged: put back your copy"):
        load_master_key(tmp_path, None)


def test_an_unreadable_key_file(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()

    with pytest.raises(StartupError, match=r"Cannot use the key file .* \(Is a directory\): correct that"):
        load_master_key(tmp_path, None)
