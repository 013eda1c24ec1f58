"""The command ``train``: unusable data and options, existing folders, and `--explain`."""

import re
import shutil
import struct
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from maskwright import segmenter
from maskwright.data.scan import scan
from maskwright.training import prepare
from tests.cli.pairs import folders, paint
from tests.tgs_salt.drawn_salt import draw_salt

SMALL = ("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16, 16, 8, 8, 8]")


def no_masks_folder(pairs):
    shutil.rmtree(pairs / "masks")


def empty_masks_folder(pairs):
    for file in (pairs / "masks").iterdir():
        file.unlink()


def masks_with_a_suffix(pairs):
    for file in list((pairs / "masks").iterdir()):
        file.rename(file.with_name(f"{file.stem}_mask.png"))


def two_images_of_one_name(pairs):
    Image.open(pairs / "images/0.png").save(pairs / "images/0.jpg")


def mask_of_another_size(pairs):
    paint(pairs / "masks/0.png", np.zeros((40, 51)))


def unknown_mask_value(pairs):
    paint(pairs / "masks/0.png", np.full((40, 50), 7))


def truncated_image(pairs):
    whole = (pairs / "images/0.png").read_bytes()
    (pairs / "images/0.png").write_bytes(whole[:-30])


def empty_image_file(pairs):
    (pairs / "images/0.png").write_bytes(b"")


def text_file_as_image(pairs):
    (pairs / "images/0.png").write_text("not an image")


def image_of_a_huge_size(pairs, side=60000):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (pairs / "images/0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_masks_folder, r"masks: not found; expected a folder"),
        (empty_masks_folder, r"masks: found no files; expected images"),
        (masks_with_a_suffix, r"--mask-suffix _mask"),
        (two_images_of_one_name, r"0\.jpg and .*0\.png: .*'0'"),
        (mask_of_another_size, r"masks/0\.png.*40 x 51.*40 x 50"),
        (unknown_mask_value, r"7 \(2000 pixels\); expected 0 background, 255 foreground.*masks/0\.png"),
        (truncated_image, r"images/0\.png: found"),
        (empty_image_file, r"images/0\.png: found an empty file"),
        (text_file_as_image, r"images/0\.png: found"),
        (image_of_a_huge_size, r"images/0\.png: found .*60000"),
    ],
)
def test_unusable_data_is_an_error_and_writes_nothing(damage, message, pairs, tmp_path, maskwright_command):
    damage(pairs)
    command = ["train", *folders(pairs), "--classes", "1", "--epochs", "1", "--out", tmp_path / "run"]
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    assert re.search(message, err.replace("\n", " ")), err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.batchsize=2"], r"training\.batchsize; did you mean training\.batch_size\?"),
        (["--set", "network.backbone=resnet33", "--epochs", "1"], r"network\.backbone='resnet33'.*resnet34"),
        (["--set", "training.loss={dise: 1}", "--epochs", "1"], r"loss='dise'.*dice"),
        (["--epochs", "1", "--time-budget", "5m"], r"time_budget or epochs, not both"),
        (["--time-budget", "soon"], r"expected a duration such as 90s, 20m or 1h30m"),
        (["--recipe", "nowhere.yaml"], r"nowhere\.yaml: no such file"),
        (["--mask-values", "0=a,0=b"], r"0 twice"),
        (["--resume"], r"nothing to resume, there is no run"),
    ],
)
def test_an_unusable_value_is_an_error(options, message, pairs, tmp_path, maskwright_command):
    code, _, err = maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", *options)
    assert code == 1
    assert err.startswith("error: ")
    assert re.search(message, err.replace("\n", " ")), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "2", "--seeds", "2"], "--folds cannot be combined with --seeds"),
        (["--folds", "2", "--val-images", "v"], "--folds cannot be combined with --val-images"),
        (["--folds", "2", "--resume"], "--folds cannot be combined with --resume; expected the same command again"),
        (
            ["--folds", "2", "--overwrite"],
            "--folds cannot be combined with --overwrite; expected a new folder",
        ),
        (["--seeds", "2", "--explain"], "--seeds cannot be combined with --explain"),
        (["--resume", "--explain"], "--explain cannot be combined with --resume"),
        (["--data", "x"], "--data requires --preset"),
        (["--preset", "tgs-salt", "--data", "x"], "--preset cannot be combined with --images; expected --data alone"),
    ],
)
def test_options_that_exclude_each_other_give_code_2(options, message, pairs, tmp_path, maskwright_command):
    code, out, err = maskwright_command("train", *folders(pairs), *options, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_preset_requires_its_data(tmp_path, maskwright_command):
    for options in ([], ["--explain"], ["--resume"]):
        code, _, err = maskwright_command("train", "--preset", "tgs-salt", *options, "--out", tmp_path / "out")
        assert code == 2
        assert err.startswith("error: --preset ")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [[], ["--explain"]])
def test_a_preset_excludes_validation_images(options, tmp_path, maskwright_command):
    draw_salt(tmp_path / "data")
    arguments = ["--preset", "tgs-salt", "--data", tmp_path / "data", "--val-images", tmp_path / "val", *options]
    code, _, err = maskwright_command("train", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("error: --preset without --seeds cannot be combined with --val-images; ")
    assert not (tmp_path / "out").exists()


def test_a_preset_with_seeds_accepts_validation_images(tmp_path, monkeypatch, maskwright_command):
    draw_salt(tmp_path / "data")
    trained = []
    monkeypatch.setattr("maskwright.cli.train._train_series", lambda recipe, *_, **options: trained.append(options))
    folders = ["--data", tmp_path / "data", "--val-images", tmp_path / "val", "--val-masks", tmp_path / "val"]
    arguments = ["--preset", "tgs-salt", *folders, "--seeds", "2", "--out", tmp_path / "out"]
    assert maskwright_command("train", *arguments)[0] == 0
    assert trained == [{"folds": None, "seeds": 2}]


def test_data_is_read_once_and_not_by_a_resume_that_fails(pairs, tmp_path, monkeypatch, maskwright_command):
    read = []
    monkeypatch.setattr(prepare, "scan", lambda pairs, **options: read.append(len(pairs)) or scan(pairs, **options))
    mask_of_another_size(pairs)
    assert maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", "--epochs", "1")[0] == 1
    assert read == [4]
    assert maskwright_command("train", "--resume", "--out", tmp_path / "run")[0] == 1
    assert read == [4]


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_a_package_the_report_needs_is_required_first(missing, pairs, tmp_path, monkeypatch, maskwright_command):
    monkeypatch.setattr(segmenter, "find_spec", lambda name: None if name == missing else find_spec(name))
    code, _, err = maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", "--epochs", "1")
    assert code == 1
    assert f"{missing} is not installed" in err
    assert not (tmp_path / "run").exists()


def test_an_unknown_field_in_a_recipe_file_suggests_the_nearest(pairs, tmp_path, maskwright_command):
    file = tmp_path / "r.yaml"
    file.write_text("training:\n  learning_rat: 0.1\n")
    code, _, err = maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", "--recipe", file)
    assert code == 1
    assert re.search(r"r\.yaml: .*training\.learning_rat; did you mean training\.learning_rate\?", err)


def test_a_folder_with_a_run_requires_overwrite(trained, pairs, maskwright_command):
    code, _, err = maskwright_command("train", *folders(pairs), "--out", trained.folder)
    assert code == 1
    assert err.startswith(f"error: {trained.folder}: ")
    assert "--resume" not in err  # the run is complete
    assert "--overwrite" in err


def test_a_complete_run_is_not_resumed(trained, maskwright_command):
    code, _, err = maskwright_command("train", "--resume", "--out", trained.folder)
    assert code == 1
    assert "the run is complete" in err


def explained(drawn):
    return "train", *folders(drawn / "train"), *SMALL, "--explain"


def file_times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_explain_prints_the_plan_and_writes_nothing(drawn, tmp_path, maskwright_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = file_times(drawn)
    code, out, err = maskwright_command(
        *explained(drawn), "--set", "training.batch_size=3", "--epochs", "2", "--out", tmp_path / "run"
    )
    assert (code, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert file_times(drawn) == before
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.strip()}
    assert re.fullmatch(r"64 x 96 .*64 x 96", rows["patch_size"])
    assert rows["batch_size"] == "3 given"
    assert rows["epochs"] == "2 given"
    assert rows["validation_fraction"].startswith("2 of 8 images")
    assert re.fullmatch(r"about .*: \d+ steps of \d+\.\d\d s.*", rows["time"])
    assert re.fullmatch(r"about \d+\.\d GB of \d+\.\d GB", rows["memory"])


def test_explain_does_not_change_a_run(trained, drawn, maskwright_command):
    before = file_times(trained.folder)
    code, _, _ = maskwright_command(*explained(drawn), "--out", trained.folder)
    assert code == 0
    assert file_times(trained.folder) == before


def test_explain_reports_unusable_data_as_training_does(drawn, tmp_path, maskwright_command):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / folder / "a.png")
    errors = {}
    for option in ("--explain", "--quiet"):
        code, _, errors[option] = maskwright_command("train", *folders(tmp_path), "--out", tmp_path / "run", option)
        assert code == 1
    assert errors["--explain"] == errors["--quiet"]
    assert errors["--explain"].startswith("error: ")
    assert "masks/a.png" in errors["--explain"]


@pytest.mark.parametrize("damaged", [2, 3, 40])
def test_an_error_names_at_most_three_files(damaged, pairs, tmp_path, maskwright_command):
    for index in range(damaged):
        paint(pairs / f"images/wrong{index:02}.png", np.zeros((40, 50)))
        paint(pairs / f"masks/wrong{index:02}.png", np.zeros((40, 51)))
    code, _, err = maskwright_command("train", *folders(pairs), "--classes", "1", "--out", tmp_path / "run")
    assert code == 1
    assert err.count("wrong") == min(damaged, 3)
