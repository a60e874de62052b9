"""Permissions, the lock, and the sentences."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.datadir import check_data_dir, explain, is_locked, lock_data_dir, prepare_data_dir, require_space
from core.errors import StartupError


class TestPrepare:
    def test_a_new_one_is_private(self, tmp_path: Path) -> None:
        prepare_data_dir(tmp_path / "a" / "b")

        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700

    def test_ours_is_made_private_again(self, tmp_path: Path) -> None:
        prepare_data_dir(tmp_path)
        tmp_path.chmod(0o755)

        prepare_data_dir(tmp_path)

        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700

    def test_somebody_elses_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        tmp_path.chmod(0o755)

        with pytest.raises(StartupError, match="not Forge's: set FORGE_DATA_DIR"):
            prepare_data_dir(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755

    def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(StartupError, match="is not a directory"):
            prepare_data_dir(tmp_path / "file")

    def test_a_read_only_place(self) -> None:
        with pytest.raises(StartupError, match="FORGE_DATA_DIR"):
            prepare_data_dir(Path("/proc/forge"))


class TestCheck:
    def test_a_new_one_is_not_made(self, tmp_path: Path) -> None:
        assert check_data_dir(tmp_path / "a" / "b") == tmp_path
        assert not (tmp_path / "a").exists()

    def test_ours_will_do(self, tmp_path: Path) -> None:
        prepare_data_dir(tmp_path)

        assert check_data_dir(tmp_path) == tmp_path

    def test_somebody_elses_will_not(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()

        with pytest.raises(StartupError, match="not Forge's: set FORGE_DATA_DIR"):
            check_data_dir(tmp_path)

    @pytest.mark.parametrize("path", ["file", "file/below"])
    def test_a_file_is_no_directory(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(StartupError, match="file is not a directory"):
            check_data_dir(tmp_path / path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="no directory is closed to root")
    @pytest.mark.parametrize("path", ["closed", "closed/below"])
    def test_a_closed_one(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "closed").mkdir(mode=0)

        with pytest.raises(StartupError, match=r"This user may not use .*/closed"):
            check_data_dir(tmp_path / path)


def test_a_nearly_full_disk_is_noticed_early(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"The disk that holds .* MB free, and Forge needs 1099511627776 MB: free"):
        require_space(tmp_path, 2**60)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "is full: free"),
        (errno.EACCES, "may not use"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Cannot use"),
    ],
)
def test_every_error_is_a_sentence(number: int, sentence: str) -> None:
    assert sentence in explain(OSError(number, os.strerror(number), "/data/x"), Path("/data"))


def test_the_lock_is_exclusive_and_not_inherited(data_dir: Path) -> None:
    with lock_data_dir(data_dir):
        assert is_locked(data_dir)
        with pytest.raises(StartupError, match=f"already runs on .*process {os.getpid()}"):
            lock_data_dir(data_dir)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not is_locked(data_dir)
        lock_data_dir(data_dir).close()
    finally:
        child.kill()
        child.wait()
