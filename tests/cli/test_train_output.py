"""Output of ``train``: a log of a whole training, the plan's width, and at most three files in a warning."""

import re

import pytest

from maskwright.training.recipe import Recipe
from tests.cli.pairs import add_unpaired, folders

SMALL = [
    *("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16,16,8,8,8]"),
    *("--set", "training.patch_size=[64,64]", "--set", "training.batch_size=2", "--set", "training.precision=float32"),
]
RULE = "─"


@pytest.fixture
def log(pairs, tmp_path, maskwright_command):
    """The lines of a training of three epochs on data with 60 unpaired images."""
    add_unpaired(pairs, 60)
    command = ["train", *folders(pairs), *SMALL, "--epochs", "3", "--out", tmp_path / "run"]
    code, out, err = maskwright_command(*command, columns=100)
    assert (code, err) == (0, "")
    return out.split("\n")


def test_a_log_has_one_line_for_each_event(log, pairs, tmp_path):
    text = "\n".join(log)
    assert not re.search(r"[\r\x1b━╸╺█]", text)
    warnings = [line for line in log if line.startswith("warning: ")]
    unpaired = [line for line in warnings if "unpaired" in line]
    assert len(unpaired) == 1
    assert unpaired[0].count("unpaired0") == 3
    listed = tmp_path / "run/data_warnings.txt"
    assert unpaired[0].endswith(f" {listed} lists all 60 files.")
    content = listed.read_text()
    assert all(str(pairs / f"images/unpaired{index:03}.png") in content for index in range(60))
    assert len([line for line in log if "unpaired0" in line]) == 1
    epochs = [line for line in log if line.startswith("epoch ")]
    assert [int(line.split()[1]) for line in epochs] == [1, 2, 3]
    assert all(re.search(r"step +\d+ .* loss \d\.\d{4}", line) for line in epochs)
    assert re.search(r"mean IoU +0\.\d{4}", text)
    assert log[-3:] == [f"network: {tmp_path / 'run/model.keras'}", f"report:  {tmp_path / 'run/report.html'}", ""]


def plan_rows(out):
    """The lines of the plan, and its decisions by field."""
    lines = out.split("\n")
    first = next(index for index, line in enumerate(lines) if line.startswith("images "))
    rule = next(index for index, line in enumerate(lines) if index > first and set(line) == {RULE})
    last = next(index for index, line in enumerate(lines) if index > rule and not line.strip())
    rows, section = {}, ""
    for line in lines[rule + 1 : last]:
        cells = re.split(r"  +", line.strip())
        if len(cells) == 1 and not line.startswith(" "):
            section = cells[0]
        else:
            name, value, reason = cells
            rows[f"{section}.{name}"] = value, reason
    return lines[first:last], rows


@pytest.mark.parametrize("length", [("--time-budget", "20m"), ("--epochs", "2")])
def test_the_plan_fits_100_columns_with_one_line_for_each_field(length, pairs, tmp_path, maskwright_command):
    command = ["train", *folders(pairs), *length, "--explain", "--out", tmp_path / "run"]
    code, out, _ = maskwright_command(*command, columns=100)
    assert code == 0
    lines, rows = plan_rows(out)
    assert max(map(len, lines)) <= 100
    planned = Recipe.from_dict({"data": {"images": "i", "masks": "m"}})
    assert len(rows) >= 14
    for field, (value, reason) in rows.items():
        section, name = field.split(".")
        assert hasattr(getattr(planned, section), name)
        assert value
        assert reason
    assert "…" not in out


def test_a_warning_of_explain_names_the_option_that_prints_every_file(pairs, tmp_path, maskwright_command):
    add_unpaired(pairs, 60)
    command = ["train", *folders(pairs), "--explain", "--out", tmp_path / "run"]
    code, out, _ = maskwright_command(*command)
    assert code == 0
    assert [line.count("unpaired0") for line in out.splitlines() if "unpaired0" in line] == [3]
    assert "--verbose prints all 60 files" in out
    code, out, _ = maskwright_command(*command, "--verbose")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith(f"  {pairs / 'images/unpaired0'}")]) == 60
    assert maskwright_command(*command, "--quiet") == (0, "", "")
