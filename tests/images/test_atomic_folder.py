"""A folder is replaced as a whole, and the folder it replaces is never lost."""

import pytest

from maskwright.images.atomic_folder import atomic_folder, restore_former


def contents(folder):
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def lay(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_the_new_folder_replaces_all_of_the_former_one(tmp_path):
    lay(tmp_path / "a", old="1", both="2")
    with atomic_folder(tmp_path / "a") as folder:
        assert list(folder.iterdir()) == []
        (folder / "both").write_text("3")
        assert contents(tmp_path / "a") == {"old": "1", "both": "2"}
    assert contents(tmp_path) == {"a/both": "3"}


def test_a_symbolic_link_stays_a_link(tmp_path):
    lay(tmp_path / "real", old="1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "new").write_text("2")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == {"new": "2"}


@pytest.mark.parametrize("present", ["nothing", "an empty folder"])
def test_the_former_folder_is_restored_where_none_took_its_place(tmp_path, present):
    lay(tmp_path / ".a.former", old="1")
    if present == "an empty folder":
        (tmp_path / "a").mkdir()
    restore_former(tmp_path / "a")
    assert contents(tmp_path) == {"a/old": "1"}


def test_the_former_folder_is_removed_beside_a_complete_new_one(tmp_path):
    lay(tmp_path / ".a.former", old="1")
    lay(tmp_path / "a", new="2")
    restore_former(tmp_path / "a", is_complete=lambda folder: (folder / "new").exists())
    assert contents(tmp_path) == {"a/new": "2"}


def test_the_former_folder_stays_beside_files_of_another_kind(tmp_path):
    lay(tmp_path / ".a.former", old="1")
    lay(tmp_path / "a", mine="2")

    def replace():
        with atomic_folder(tmp_path / "a", is_complete=lambda folder: (folder / "new").exists()) as folder:
            (folder / "new").write_text("3")

    with pytest.raises(OSError, match=r"\.a\.former"):
        replace()
    assert contents(tmp_path) == {".a.former/old": "1", "a/mine": "2"}
