"""Folds, seeds and the rate finder from the command line, on drawn data."""

import json
import re

import pytest

SMALL = [
    *("--set", "network.backbone=resnet18", "--set", "network.decoder_filters=[16,16,8,8,8]"),
    *("--set", "training.patch_size=[64,64]", "--set", "training.batch_size=4", "--set", "training.precision=float32"),
]


NETWORK = """
import keras

def network(channels, classes, activation):
    image = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(classes, 3, padding="same")(image)
    return keras.Model(image, keras.layers.Activation(activation, dtype="float32")(x))
"""


@pytest.fixture
def data(drawn):
    return ["--images", drawn / "train/images", "--masks", drawn / "train/masks", "--classes", "background,cell,fibre"]


def test_folds_hold_out_every_image_once_and_go_on(data, tmp_path, maskwright_command):
    (tmp_path / "mine.py").write_text(NETWORK)
    own = ["--python", tmp_path / "mine.py"]
    command = ["train", *data, *SMALL, *own, "--epochs", "1", "--folds", "2", "--out", tmp_path / "folds"]
    code, told, err = maskwright_command(*command)
    assert code == 0, err
    assert "out of fold, all images" in told
    scored = [json.loads((tmp_path / f"folds/fold{fold}/scores.json").read_text())["images"] for fold in (1, 2)]
    assert sorted(image["name"] for one in scored for image in one) == [f"{number:03}" for number in range(8)]
    summary = json.loads((tmp_path / "folds/summary.json").read_text())
    true_positives = sum(image["pixels"]["true_positives"][1] for one in scored for image in one)
    union = sum(
        image["pixels"]["truth"][1] + image["pixels"]["predicted"][1] - image["pixels"]["true_positives"][1]
        for one in scored
        for image in one
    )
    assert summary["classes"]["cell"] == pytest.approx(true_positives / union)
    code, told, _ = maskwright_command(*command)
    assert code == 0
    assert told.count("complete") == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--folds", "2", "--seeds", "2"], "--folds.*--seeds"),
        (["--folds", "2", "--resume"], "--folds.*--resume.*the same command to go on"),
        (["--seeds", "2", "--explain"], "--seeds.*--explain"),
    ],
)
def test_what_does_not_go_together_is_refused(data, tmp_path, maskwright_command, options, words):
    code, _, err = maskwright_command("train", *data, *options, "--out", tmp_path / "out")
    assert code == 1
    assert re.search(words, err)
    assert not (tmp_path / "out").exists()


def test_the_finder_plots_and_suggests_a_rate(data, tmp_path, maskwright_command):
    plot = tmp_path / "rates.png"
    (tmp_path / "mine.py").write_text("def augmentation(image, mask):\n    print('mine')\n    return locals()\n")
    own = ["--python", tmp_path / "mine.py"]
    code, told, err = maskwright_command("find-lr", *data, *SMALL, "--steps", "40", *own, "--out", plot)
    assert code == 0, err
    assert told.count("mine") >= 40
    assert "The loss falls fastest at a learning rate of" in told
    assert plot.read_bytes()[:4] == b"\x89PNG"
    code, _, err = maskwright_command("find-lr", *data, "--out", plot)
    assert code == 1
    assert "--overwrite for one that is there" in err
