"""The command ``evaluate``."""

import json
import shutil

import pytest

from tests.cli.pairs import folders


def test_scores_are_printed_and_written(trained, drawn, tmp_path, maskwright_command):
    scores = tmp_path / "scores.json"
    code, out, _ = maskwright_command("evaluate", trained.folder, *folders(drawn / "new"), "--json", scores)
    stored = json.loads(scores.read_text())
    assert code == 0
    assert len(stored["images"]) == 2
    assert f"{stored['scores']['mean_iou']:.4f}" in out
    assert [row["name"] for row in stored["scores"]["classes"]] == ["background", "cell", "fibre"]


def test_good_pairs_are_scored_and_bad_ones_named(trained, drawn, tmp_path, maskwright_command):
    data, scores = shutil.copytree(drawn / "new", tmp_path / "new"), tmp_path / "scores.json"
    (data / "images/000.png").write_bytes(b"")
    code, _, err = maskwright_command("evaluate", trained.folder, *folders(data), "--json", scores)
    assert code == 1
    assert "000.png: found an empty file" in err
    assert "1 of 2 files failed" in err
    assert len(json.loads(scores.read_text())["images"]) == 1


def test_files_without_a_partner_are_a_warning(trained, drawn, tmp_path, maskwright_command):
    data = shutil.copytree(drawn / "new", tmp_path / "new")
    for number in range(4):
        shutil.copy(data / "images/000.png", data / f"images/unpaired{number}.png")
    code, out, err = maskwright_command("evaluate", trained.folder, *folders(data))
    assert (code, err) == (0, "")
    warnings = [line for line in out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: 4 files ")
    assert warnings[0].count("unpaired") == 3
    assert "--verbose prints all 4 files" in warnings[0]


@pytest.mark.parametrize(("device", "text"), [("gpu one", "device='gpu one': "), ("gpu:9", "device gpu:9: ")])
def test_a_device_that_does_not_exist_is_one_error(device, text, trained, drawn, maskwright_command):
    code, _, err = maskwright_command("evaluate", trained.folder, *folders(drawn / "new"), "--device", device)
    assert code == 1
    assert err.startswith(f"error: {text}")
    assert err.count("\n") == 1
