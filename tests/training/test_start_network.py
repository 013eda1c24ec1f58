"""Networks of runs and files from which training starts, and paths from which it cannot start."""

import shutil

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.inference.engines.keras import UnreadableNetwork
from maskwright.networks.preprocessing import IMAGENET
from maskwright.training.adapt_network import network_from
from maskwright.training.match_classes import describe_head_without_names
from maskwright.training.run import Run
from maskwright.training.run_lock import RunInUse, run_lock
from maskwright.training.start_file import NoNetwork
from maskwright.training.start_from import read_start
from maskwright.training.start_network import UnsupportedNetwork
from tests.networks.randomise import infer
from tests.training.start_runs import IMAGES, bundle_of, recipe_of


@pytest.mark.parametrize(
    ("name", "mean"), [("ours.keras", None), ("old.h5", (0.0, 0.0, 0.0)), ("smp.safetensors", IMAGENET.mean)]
)
def test_the_graph_of_a_file_gets_a_new_head_unless_its_size_is_the_same(files, name, mean):
    recipe, start = read_start(recipe_of(files["folder"] / name))
    assert (start.bundle, len(recipe.network.start_from_sha256)) == (None, 64)
    assert (start.normalisation and start.normalisation.mean) == (mean and pytest.approx(mean))
    assert recipe.data.normalisation == ("dataset" if mean is None else "start_from")
    same, other = bundle_of("-", "a", "b"), bundle_of("-", "a")
    np.testing.assert_allclose(infer(network_from(start, same), IMAGES), infer(files[name], IMAGES), atol=1e-5)
    network = network_from(start, other)
    assert network.output_shape == (None, None, None, 1)
    assert "head kept, because it has 3 output channels" in describe_head_without_names(3, same.outputs)
    assert "new head, because the file has 3 output channels and 1 are needed" in describe_head_without_names(
        3, other.outputs
    )


def error(kind, match, path, **options):
    with pytest.raises(kind, match=match):
        read_start(recipe_of(path, **options))


def test_paths_without_a_usable_network_are_errors(runs, tmp_path):
    three = runs["three"].file.parent
    error(NoNetwork, "missing: no such file or folder; expected a run, a .keras file", tmp_path / "missing")
    error(NoNetwork, "model.keras is missing; expected a run that has saved a network", tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    error(NoNetwork, "not a supported file", tmp_path / "notes.txt")
    (tmp_path / "damaged.keras").write_bytes((three / "model.keras").read_bytes()[:-100])
    error(UnreadableNetwork, r"damaged.* \(it is not a zip archive, or it is truncated\)", tmp_path / "damaged.keras")
    (tmp_path / "upper.KERAS").touch()
    error(UnreadableNetwork, r"its name does not end in \.keras", tmp_path / "upper.KERAS")
    (tmp_path / "damaged.h5").write_text("text")
    error(InputError, "damaged.h5", tmp_path / "damaged.h5")
    shutil.copy(three / "model.keras", tmp_path)
    error(NoNetwork, "recipe.yaml is missing; expected a run; or give .*model.keras", tmp_path)
    Run(tmp_path).begin(recipe_of(None, custom="mine").to_yaml())
    shutil.copy(three / "model.keras", tmp_path)
    error(NoNetwork, "its recipe does not describe the network; expected the file .*model.keras", tmp_path)
    Run(tmp_path).begin(recipe_of(None).to_yaml())
    shutil.copy(three / "model.keras", tmp_path)
    error(NoNetwork, "bundle.json is missing; expected a complete run; or give .*model.keras", tmp_path)
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(2, 1, activation="softmax")(image)).save(tmp_path / "plain.keras")
    error(UnsupportedNetwork, "found the output layer conv2d", tmp_path / "plain.keras")
    fixed = keras.Input((32, 32, 3))
    keras.Model(fixed, keras.layers.Dense(2)(keras.layers.Flatten()(fixed))).save(tmp_path / "fixed.keras")
    error(UnsupportedNetwork, r"found a model from \(None, 32, 32, 3\) to \(None, 2\)", tmp_path / "fixed.keras")


def test_a_run_that_is_in_training_is_an_error(runs):
    folder = runs["three"].file.parent
    with run_lock(folder):
        error(RunInUse, "three: another process is training in this folder", folder)
        error(RunInUse, "three: another process is training", folder / "model.keras")
    assert read_start(recipe_of(folder))[1] is not None
