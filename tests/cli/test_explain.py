"""``train --explain`` tells the plan and leaves no trace."""

import numpy as np
from PIL import Image

SMALL = ("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16, 16, 8, 8, 8]")


def arguments(drawn):
    return "train", "--images", drawn / "train/images", "--masks", drawn / "train/masks", *SMALL


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_plan_is_told_and_nothing_is_written(drawn, tmp_path, maskwright_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files(drawn)
    code, out, err = maskwright_command(
        *arguments(drawn), "--set", "training.batch_size=3", "--epochs", "2", "--out", tmp_path / "run", "--explain"
    )
    assert (code, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert files(drawn) == before
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.strip()}
    assert rows["training.patch"] == "64 x 96 holds the median image, 64 x 96"
    assert rows["training.batch_size"] == "3 given"
    assert rows["training.epochs"] == "2 given"
    assert rows["data.validation_share"].startswith("2 of 8 images")
    assert rows["time"].startswith("about ")
    assert "steps of" in rows["time"]
    assert rows["memory"].startswith("about ")
    assert "Nothing was trained or written." in out


def test_a_folder_that_holds_a_run_is_left_alone(trained, drawn, maskwright_command):
    before = files(trained.folder)
    code, _, _ = maskwright_command(*arguments(drawn), "--out", trained.folder, "--explain")
    assert code == 0
    assert files(trained.folder) == before


def test_a_run_that_has_begun_is_not_explained(tmp_path, maskwright_command):
    code, _, err = maskwright_command("train", "--resume", "--explain", "--out", tmp_path / "run")
    assert code == 1
    assert "--explain does not go with --resume; expected a training that has not begun." in err


def test_unusable_data_is_the_same_error_as_in_training(drawn, tmp_path, maskwright_command):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / folder / "a.png")
    code, _, err = maskwright_command(
        "train", "--images", tmp_path / "images", "--masks", tmp_path / "masks", "--out", tmp_path / "run", "--explain"
    )
    assert code == 1
    assert "The data cannot be trained on" in err
