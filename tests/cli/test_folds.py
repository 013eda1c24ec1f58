"""The command ``train --folds``."""

import json

import keras
import pytest

from maskwright.training.run import Run
from maskwright.weights.digests import sha256_of
from tests.cli.pairs import folders
from tests.training.start_runs import bundle_of

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


def test_all_folds_start_from_a_trained_network(drawn, tmp_path, maskwright_command):
    source = tmp_path / "source/model.keras"
    source.parent.mkdir()
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Activation("softmax")(keras.layers.Conv2D(3, 1)(image))).save(source)
    bundle_of("-", "cell", "fibre", scale=0.5).write(source.parent)
    data = [*folders(drawn / "train"), "--classes", "background,nucleus,fibre", "--rename-class", "cell=nucleus"]
    command = ["train", *data, *SMALL[4:], "--epochs", "1", "--folds", "2", "--from", source, "--out", tmp_path / "out"]
    code, out, err = maskwright_command(*command)
    assert code == 0, err
    assert out.count("head kept for background, nucleus (was cell), fibre") == 2
    for name in ("fold1", "fold2"):
        recipe = Run(tmp_path / "out" / name).read_recipe()
        assert (recipe.network.start_from, recipe.network.renamed_classes) == (source, {"cell": "nucleus"})
        assert (recipe.network.start_from_sha256, recipe.data.scale) == (sha256_of(source), 0.5)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert list(summary["classes"]) == ["background", "nucleus", "fibre"]
    source.write_bytes(b"another file")  # complete folds are kept without the network
    code, out, _ = maskwright_command(*command)
    assert code == 0
    assert [name for name in ("fold1", "fold2") if f"{name}: complete" in out] == ["fold1", "fold2"]
