from pathlib import Path

import pytest

from activities.scm import ScmError, ScmReason, find_playbooks, manual_checkout, manual_project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "projects" / "web").mkdir(parents=True)
    (tmp_path / "projects" / "web" / "site.yml").write_text("- hosts: all\n")
    (tmp_path / "secret").mkdir()
    return tmp_path / "projects"


def test_a_job_gets_its_own_copy(root: Path, tmp_path: Path) -> None:
    manual_checkout(root, "web", tmp_path / "job")
    (root / "web" / "site.yml").write_text("changed")

    assert find_playbooks(manual_project(root, "web")) == []
    assert find_playbooks(tmp_path / "job") == ["site.yml"]


def test_a_link_that_an_administrator_made_is_followed(root: Path, tmp_path: Path) -> None:
    (root / "linked").symlink_to(root / "web")
    manual_checkout(root, "linked", tmp_path / "job")

    assert not (tmp_path / "job").is_symlink()
    assert (tmp_path / "job" / "site.yml").is_file()


@pytest.mark.parametrize("local_path", ["", ".", "..", "../secret", "web/../../secret", "/etc", "web\0"])
def test_a_path_out_of_the_root_is_refused(root: Path, tmp_path: Path, local_path: str) -> None:
    with pytest.raises(ScmError, match="is not a directory below the projects root") as caught:
        manual_checkout(root, local_path, tmp_path / "job")
    assert caught.value.reason is ScmReason.INVALID


def test_a_missing_directory_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ScmError, match=r"projects/gone does not exist on this host\. Create it"):
        manual_checkout(root, "gone", tmp_path / "job")
