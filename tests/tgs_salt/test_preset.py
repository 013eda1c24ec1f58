"""The TGS salt preset from the data folder to the submission, on drawn data in the same layout."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskwright.images.read import read_mask
from maskwright.images.run_length import decode_runs, read_run_lengths, write_run_lengths
from maskwright.inference.bundle import Bundle
from tests.tgs_salt.drawn_salt import draw_salt

SMALL = [
    *("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16,16,8,8,8]"),
    *("--set", "training.batch_size=4", "--set", "training.precision=float32"),
    *("--epochs", "2", "--folds", "2"),
]


@pytest.fixture(scope="module")
def trained_preset(tmp_path_factory):
    """Train the preset on drawn data; return the folder, the masks, and the standard output."""
    folder = tmp_path_factory.mktemp("salt")
    masks = draw_salt(folder / "data", images=12, tests=5)
    next((folder / "data/train/masks").iterdir()).unlink()
    command = ["train", "--preset", "tgs-salt", "--data", folder / "data", *SMALL, "--out", folder / "run"]
    program = [sys.executable, "-c", "from maskwright.cli import main; main()"]
    ran = subprocess.run([*program, *map(str, command)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder, masks, ran.stdout


def test_recipe_has_the_fields_of_the_preset(trained_preset):
    folder, masks, output = trained_preset
    recipe = (folder / "run/fold1/recipe.yaml").read_text()
    for message in (
        'attention: "scse"',
        "hypercolumn: true",
        'final_loss: {"loss": {"lovasz": 1.0}, "start": 0.6}',
        'monitor: "mean_precision"',
        'coord_channels: ["row", "row_times_image"]',
        "channels: 1",
    ):
        assert message in recipe
    bundle = Bundle.read(folder / "run/fold1")
    assert (bundle.channels, bundle.inputs) == (1, 3)
    assert [label.name for label in bundle.labels] == ["background", "salt"]
    assert {path.stem for path in (folder / "run/masks-from-run-lengths").iterdir()} == set(masks)
    history = (folder / "run/fold1/history.csv").read_text().splitlines()[0]
    assert "val_mean_precision" in history
    assert "mean precision" in output


def test_each_image_is_held_out_once_with_a_mask_of_its_size(trained_preset):
    folder, masks, _ = trained_preset
    held_out = [path for fold in (1, 2) for path in (folder / f"run/fold{fold}/validation").glob("*.png")]
    assert sorted(path.stem for path in held_out) == sorted(masks)
    assert all(read_mask(path).shape == (101, 101) for path in held_out)


def test_tuning_is_out_of_fold_and_stored_in_the_bundle(trained_preset):
    folder, masks, output = trained_preset
    tuning = json.loads((folder / "run/tuning.json").read_text())
    assert (tuning["held_out_images"], tuning["networks"], tuning["monitor"]) == (len(masks), 2, "mean_precision")
    assert tuning["selection_images"] + tuning["check_images"] == len(masks)
    options = {option["name"]: option for option in tuning["options"]}
    assert {"each image by one network", "flips", "scales", "fill holes"} <= options.keys()
    assert options["mean of all networks"]["gain"] is None  # each image was held out for one network only
    for option in tuning["options"][2:]:
        assert not option["on"] or min(option["gain"], option["check_gain"]) > 1e-4
    bundle = Bundle.read(folder / "run")
    assert list(bundle.tta) == tuning["tta"]
    assert bundle.threshold == tuning["threshold"]
    assert tuning["score"] >= options["each image by one network"]["score"]
    scores = np.array(tuning["search"]["scores"])
    assert scores.shape == (len(tuning["search"]["thresholds"]), len(tuning["search"]["min_component_sizes"]))
    page = (folder / "run/tuning.html").read_text()
    assert "Threshold and minimum component size" in page
    assert "<script" not in page
    assert "flips" in output


def test_submission_decodes_to_the_predicted_masks(trained_preset, maskwright_command):
    folder, _, _ = trained_preset
    images, out = folder / "data/test/images", folder / "submission.csv"
    code, output, err = maskwright_command("submit", folder / "run", "--images", images, "--out", out)
    assert code == 0, err
    assert "5 masks" in output
    code, _, err = maskwright_command("predict", folder / "run", images, "--out", folder / "predicted")
    assert code == 0, err
    submitted = read_run_lengths(out)
    assert list(submitted) == sorted(path.stem for path in images.iterdir())
    for name, runs in submitted.items():
        mask = read_mask(folder / f"predicted/{name}.png")
        np.testing.assert_array_equal(decode_runs(runs, (101, 101)), mask == 255)
    assert not list(folder.glob(".submission*"))
    code, _, err = maskwright_command("submit", folder / "run", "--images", images, "--out", out)
    assert code == 1
    assert re.search(r"submission\.csv: .*existing.* --overwrite", err)


def test_unreadable_image_is_named_and_the_others_are_submitted(trained_preset, tmp_path, maskwright_command):
    folder, _, _ = trained_preset
    (tmp_path / "images").mkdir()
    Image.new("RGB", (101, 101), (90, 90, 90)).save(tmp_path / "images/good.png")
    (tmp_path / "images/bad.png").write_bytes(b"no image")
    command = ["submit", folder / "run", "--images", tmp_path / "images", "--out", tmp_path / "out.csv"]
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert "bad.png" in err
    assert list(read_run_lengths(tmp_path / "out.csv")) == ["good"]


def test_ensemble_is_evaluated_with_the_tuned_bundle(trained_preset, maskwright_command):
    folder, _, _ = trained_preset
    scores = folder / "scores.json"
    data = ["--images", folder / "data/train/images", "--masks", folder / "data/train/masks"]  # of 0 and 65535
    code, output, err = maskwright_command("evaluate", folder / "run", *data, "--json", scores)
    assert code == 0, err
    found = json.loads(scores.read_text())
    assert len(found["images"]) == 11
    assert f"mean precision over IoU 0.5 to 0.95: {found['mean_precision']:.4f}" in output


def test_explain_plans_one_fold_and_writes_nothing(trained_preset, tmp_path, maskwright_command):
    folder, _, _ = trained_preset
    command = ["train", "--preset", "tgs-salt", "--data", folder / "data", "--out", tmp_path / "out", "--explain"]
    code, output, err = maskwright_command(*command)
    assert code == 0, err
    assert "The first of 5 folds" in output
    assert "1 h 31 min" in output  # a fifth of 8 hours without the time for tuning
    assert not (tmp_path / "out").exists()


def test_repeated_command_finds_all_folds_complete(trained_preset, maskwright_command):
    folder, _, _ = trained_preset
    command = ["train", "--preset", "tgs-salt", "--data", folder / "data", *SMALL, "--out", folder / "run"]
    code, output, err = maskwright_command(*command)
    assert code == 0, err
    assert output.count("complete") == 2
    assert f"tuning:  {folder / 'run/tuning.html'} (from before" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "tgs-salt"], "--preset requires --data"),
        (["--data", "x"], "--data requires --preset"),
        (["--preset", "tgs-salt", "--data", "nowhere"], "nowhere.train.images: found no images"),
    ],
)
def test_missing_option_or_folder_is_named(tmp_path, maskwright_command, options, message):
    code, _, err = maskwright_command("train", *options, "--out", tmp_path / "out")
    assert code != 0
    assert re.search(message, err)
    assert not (tmp_path / "out").exists()


def test_folder_with_other_files_is_refused(tmp_path, maskwright_command):
    draw_salt(tmp_path / "data", images=4, tests=0)
    next((tmp_path / "data/train/masks").iterdir()).unlink()
    for out in (tmp_path / "project", tmp_path / "data/train"):
        (out / "masks").mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 5)).save(out / "masks/precious.png")
        before = {path: path.read_bytes() for path in out.rglob("*.png")}
        command = ["train", "--preset", "tgs-salt", "--data", tmp_path / "data", "--out", out]
        code, _, err = maskwright_command(*command)
        assert code == 1
        assert re.fullmatch(rf"error: {re.escape(str(out))}: [^:]*\(it has [^:]*masks[^:]*\).*\n", err)
        assert {path: path.read_bytes() for path in out.rglob("*.png")} == before


def test_invalid_data_is_refused_before_anything_is_written(tmp_path, maskwright_command):
    masks = draw_salt(tmp_path / "data", images=4, tests=0)
    write_run_lengths(tmp_path / "data/train.csv", [(name, "10200 9") for name in masks])
    code, _, err = maskwright_command(
        "train", "--preset", "tgs-salt", "--data", tmp_path / "data", "--out", tmp_path / "x"
    )
    assert code == 1
    assert "10200 9" in err
    assert not (tmp_path / "x").exists()


def test_interrupted_submission_predicts_no_image_twice(trained_preset, tmp_path, maskwright_command):
    folder, _, _ = trained_preset
    images = tmp_path / "images"
    shutil.copytree(folder / "data/test/images", images)
    (images / "bad.png").write_bytes(b"no image")
    command = ["submit", folder / "run", "--images", images, "--out", tmp_path / "out.csv"]
    assert maskwright_command(*command)[0] == 1
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / ".out.csv.masks").glob("*.png")}
    assert len(kept) == 5
    Image.new("RGB", (101, 101)).save(images / "bad.png")
    code, output, err = maskwright_command(*command, "--overwrite")
    assert code == 0, err
    assert "6 masks" in output
    assert not (tmp_path / ".out.csv.masks").exists()
