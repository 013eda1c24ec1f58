"""Folders and globs are expanded to image files."""

from pathlib import Path

import pytest

from maskwright.images.files import (
    IMAGE_SUFFIXES,
    EmptyFolder,
    MissingFolder,
    MissingInputs,
    NotAFolder,
    SameOutput,
    expand_inputs,
    image_files,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.tiff", "sub/deep/d.webp", ".hidden.png", ".git/e.png", "notes.txt", "m.npy"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def relative(pairs: list[tuple[Path, Path]]) -> list[str]:
    return [output.as_posix() for _, output in pairs]


def test_images_in_a_folder_are_sorted_by_path(folder):
    found = [path.relative_to(folder).as_posix() for path in image_files(folder)]
    assert found == ["a.JPG", "b.png", "sub/c.tiff", "sub/deep/d.webp"]
    assert image_files(str(folder)) == image_files(folder)


def test_a_hidden_folder_can_be_given_itself(folder):
    assert [path.name for path in image_files(folder / ".git")] == ["e.png"]


def test_suffixes_of_all_formats_are_recognised():
    assert {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"} == IMAGE_SUFFIXES


def test_a_missing_folder_error_names_the_existing_parent(folder):
    with pytest.raises(MissingFolder, match=rf"sbu/x: not found; .*{folder} exists\."):
        image_files(folder / "sbu" / "x")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"], ids=["too long", "NUL"])
def test_an_invalid_name_is_missing(folder, name):
    with pytest.raises(MissingFolder, match=rf"{folder} exists\."):
        image_files(folder / name / "x")
    with pytest.raises(MissingInputs):
        expand_inputs([folder / name])


def test_a_file_instead_of_a_folder_is_an_error(folder):
    with pytest.raises(NotAFolder, match=rf"b\.png: found a file; expected a folder .*such as {folder}\."):
        image_files(folder / "b.png")


def test_a_folder_without_images_is_described_by_suffixes(tmp_path):
    with pytest.raises(EmptyFolder, match="found no files; expected images"):
        image_files(tmp_path)
    for name in ("a.npy", "b.NPY", "c.txt", "README", ".hidden.png"):
        (tmp_path / name).touch()
    with pytest.raises(
        EmptyFolder, match=r"found 4 other files: \.npy \(2\), \.txt \(1\), without suffix \(1\); .*\.png"
    ):
        image_files(tmp_path)


def test_relative_paths_start_at_the_input_that_names_them(folder):
    (folder / "other").mkdir()
    (folder / "other" / "z.png").touch()
    assert relative(expand_inputs([folder / "b.png"])) == ["b.png"]
    assert relative(expand_inputs([folder / "sub"])) == ["c.tiff", "deep/d.webp"]
    assert relative(expand_inputs([str(folder / "*.png")])) == ["b.png"]
    assert relative(expand_inputs([str(folder / "s*" / "*.tiff")])) == ["sub/c.tiff"]
    assert relative(expand_inputs([str(folder / "sub" / "**" / "*.*")])) == ["c.tiff", "deep/d.webp"]
    assert relative(expand_inputs([str(folder / "sub" / "**")])) == ["c.tiff", "deep/d.webp"]
    assert relative(expand_inputs([folder / "other", folder / "a.JPG"])) == ["z.png", "a.JPG"]


def test_a_relative_glob(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert expand_inputs(["*.png", "sub/*.tiff"]) == [
        (Path("b.png"), Path("b.png")),
        (Path("sub/c.tiff"), Path("c.tiff")),
    ]


def test_an_existing_name_with_brackets_is_not_a_glob(tmp_path):
    (tmp_path / "a[1].png").touch()
    assert relative(expand_inputs([tmp_path / "a[1].png"])) == ["a[1].png"]


def test_a_file_given_twice_is_returned_once(folder):
    pairs = expand_inputs([folder / "b.png", folder, folder / "sub" / ".." / "b.png"])
    assert relative(pairs) == ["b.png", "a.JPG", "sub/c.tiff", "sub/deep/d.webp"]


def test_two_inputs_with_one_output_are_an_error(folder):
    (folder / "a.png").touch()
    with pytest.raises(SameOutput, match=r"a\.JPG and .*a\.png: both would be written as a; .*Rename one of them"):
        expand_inputs([folder])
    (folder / "d.png").touch()
    with pytest.raises(SameOutput, match="both would be written as d"):
        expand_inputs([folder / "d.png", folder / "sub" / "deep"])


def test_dots_within_names_are_kept(tmp_path):
    for name in ("scan.1.png", "scan.2.png"):
        (tmp_path / name).touch()
    assert relative(expand_inputs([tmp_path])) == ["scan.1.png", "scan.2.png"]


def test_all_missing_inputs_are_listed(folder):
    with pytest.raises(MissingInputs, match=r"none\.png, .*\*\.bmp: no such .*Check these 2 inputs\."):
        expand_inputs([folder / "none.png", folder / "b.png", folder / "*.bmp"])
    with pytest.raises(MissingInputs, match=r"9\.gif and 2 more: no such"):
        expand_inputs([folder / f"{number}.gif" for number in range(12)])
    with pytest.raises(MissingInputs, match=r"Check this input\."):
        expand_inputs([folder / "*.txt"])


def test_the_error_of_a_zarr_folder_names_the_remedy(tmp_path):
    (tmp_path / "a.zarr" / "c").mkdir(parents=True)
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(EmptyFolder, match=r"--out mask\.tif\."):
        expand_inputs([tmp_path / "a.zarr"])
