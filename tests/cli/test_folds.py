"""The command ``train --folds``."""

import json

import pytest

from tests.cli.pairs import folders

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


def test_each_image_is_held_out_once_and_a_second_command_continues(drawn, tmp_path, maskwright_command):
    (tmp_path / "mine.py").write_text(NETWORK)
    data = [*folders(drawn / "train"), "--classes", "background,cell,fibre"]
    options = [*SMALL, "--python", tmp_path / "mine.py", "--epochs", "1", "--folds", "2"]
    command = ["train", *data, *options, "--out", tmp_path / "folds"]
    code, out, err = maskwright_command(*command)
    assert code == 0, err
    scored = [json.loads((tmp_path / f"folds/fold{fold}/scores.json").read_text())["images"] for fold in (1, 2)]
    images = [image for fold in scored for image in fold]
    assert sorted(image["name"] for image in images) == [f"{number:03}" for number in range(8)]
    summary = json.loads((tmp_path / "folds/summary.json").read_text())
    pixels = {kind: sum(image["pixels"][kind][1] for image in images) for kind in images[0]["pixels"]}
    union = pixels["truth"] + pixels["predicted"] - pixels["true_positives"]
    assert summary["classes"]["cell"] == pytest.approx(pixels["true_positives"] / union)
    rows = {row.split("  ")[0].strip(): row.split()[-1] for row in out.splitlines() if row.strip()}
    assert rows["all images, out of fold"] == f"{summary['pooled']:.4f}"
    code, out, _ = maskwright_command(*command)
    assert code == 0
    assert [name for name in ("fold1", "fold2") if f"{name}: complete" in out] == ["fold1", "fold2"]
