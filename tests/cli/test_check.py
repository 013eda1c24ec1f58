"""The command ``check``."""

import numpy as np
import pytest

from tests.cli.pairs import add_unpaired, folders, paint


def test_good_data_has_no_problem_and_a_table_of_mask_values(pairs, maskwright_command):
    code, out, err = maskwright_command("check", *folders(pairs))
    assert (code, err) == (0, "")
    assert "No problems found." in out
    assert "background" in out
    assert "foreground" in out
    assert "50.00%" in out  # half of the pixels of every mask


def test_every_problem_is_printed_and_an_error_gives_code_1(pairs, maskwright_command):
    paint(pairs / "masks/0.png", np.zeros((40, 51)))
    whole = (pairs / "images/1.png").read_bytes()
    (pairs / "images/1.png").write_bytes(whole[: len(whole) // 2])
    (pairs / "images/2.png").write_bytes(b"")
    paint(pairs / "images/unpaired.png", np.zeros((40, 50)))
    code, out, _ = maskwright_command("check", *folders(pairs))
    assert code == 1
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    warnings = [line for line in out.splitlines() if line.startswith("warning: ")]
    for name in ("masks/0.png", "images/1.png", "images/2.png"):
        assert any(name in line for line in errors), name
    assert any("images/unpaired.png" in line for line in warnings)
    assert out.splitlines()[-1] == f"{len(errors)} errors, {len(warnings)} warning{'s' * (len(warnings) != 1)}"


def named(line):
    return line.count("unpaired0")


@pytest.mark.parametrize("number", [1, 2, 3, 4, 60])
def test_a_warning_names_at_most_three_files(number, pairs, maskwright_command):
    add_unpaired(pairs, number)
    code, out, err = maskwright_command("check", *folders(pairs))
    assert (code, err) == (0, "")
    assert named(out) == min(number, 3)
    assert ("--verbose" in out) == (number > 3)
    assert (f"all {number} files" in out) == (number > 3)
    assert out.splitlines()[-1] == "0 errors, 1 warning"


@pytest.mark.parametrize("before", [True, False])
def test_verbose_prints_every_file_on_a_line(before, pairs, maskwright_command):
    add_unpaired(pairs, 60)
    command = ["check", *folders(pairs)]
    code, out, _ = maskwright_command(*(["--verbose", *command] if before else [*command, "--verbose"]))
    assert code == 0
    files = [line for line in out.splitlines() if line.startswith("  /")]
    assert files == [f"  {pairs / f'images/unpaired{index:03}.png'}" for index in range(60)]


@pytest.mark.parametrize("before", [True, False])
def test_quiet_prints_errors_only(before, pairs, maskwright_command):
    add_unpaired(pairs, 2)
    command = ["check", *folders(pairs)]
    quiet = ["--quiet", *command] if before else [*command, "--quiet"]
    assert maskwright_command(*quiet) == (0, "", "")
    paint(pairs / "masks/0.png", np.zeros((40, 51)))
    code, out, err = maskwright_command(*quiet)
    assert (code, err) == (1, "")
    assert out.startswith("error: ")
    assert "masks/0.png" in out
    assert "unpaired" not in out
    assert out.count("\n") == 1


def test_verbosity_ends_with_its_command(pairs, maskwright_command):
    assert maskwright_command("check", *folders(pairs), "--quiet") == (0, "", "")
    assert "No problems found." in maskwright_command("check", *folders(pairs))[1]
