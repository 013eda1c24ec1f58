from pathlib import Path

from maskwright.data.problems import Problem
from maskwright.training.data_warnings import write_data_warnings


def test_every_warning_is_listed_with_all_its_files(tmp_path):
    files = tuple(Path(f"/images/{number}.png") for number in range(30))
    unpaired = Problem("unpaired", "warning", files, "30 images have no mask.")
    constant = Problem("constant masks", "warning", (), "Some masks have one class.")
    write_data_warnings(tmp_path / "data_warnings.txt", [unpaired, constant])
    lines = (tmp_path / "data_warnings.txt").read_text().splitlines()
    assert lines[0] == "30 images have no mask."
    assert lines[1:31] == [f"  {file}" for file in files]
    assert lines[31:] == ["", "Some masks have one class."]


def test_without_warnings_there_is_no_file(tmp_path):
    write_data_warnings(tmp_path / "data_warnings.txt", [])
    assert not list(tmp_path.iterdir())
