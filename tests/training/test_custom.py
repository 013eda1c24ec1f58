"""Custom parts: loaded from a file by name, checked, recorded in the recipe, and required to resume."""

import keras
import numpy as np
import pytest

from maskwright.inference.engines.engine import open_engine
from maskwright.training.custom import (
    CustomParts,
    NoEncoder,
    UnusableFile,
    WrongNetwork,
    load_custom_parts,
    record_custom_parts,
)
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from tests.inference.fake_engines import bundle

FILE = """
import keras

rows = []

def loss(y_true, y_pred):
    return keras.ops.mean(y_pred[..., 0]) + 0 * keras.ops.mean(keras.ops.cast(y_true, "float32"))

def network(channels, classes, activation):
    image = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(classes, 3, padding="same", name="mine")(image)
    return keras.Model(image, keras.layers.Activation(activation, dtype="float32")(x))

def callback(row):
    rows.append(row)
    print("row", row["step"])
"""


def written(folder, text=FILE):
    file = folder / "mine.py"
    file.write_text(text)
    return file


def test_the_functions_of_a_file_are_named_with_its_digest(tmp_path):
    parts = load_custom_parts(written(tmp_path))
    assert parts.augmentation is None
    assert parts.name("augmentation") is None
    assert parts.name("loss").startswith("mine.py:loss ")
    changed = load_custom_parts(written(tmp_path, FILE + "\n# other\n"))
    assert changed.name("loss") != parts.name("loss")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", "no such function; .* loss, network, augmentation, callback"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def loss(:", "SyntaxError"),
        ("loss = 3", "no such function"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_without_custom_parts_is_an_error(tmp_path, text, found):
    with pytest.raises(UnusableFile, match=rf"--python .*mine\.py: {found}"):
        load_custom_parts(written(tmp_path, text))
    with pytest.raises(UnusableFile, match=r"gone\.py: FileNotFoundError"):
        load_custom_parts(tmp_path / "gone.py")


def model(*layers, channels=1):
    image = x = keras.Input((None, None, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


@keras.saving.register_keras_serializable("mine")
class Mine(keras.layers.Layer):
    def call(self, x):
        return x


CONV = {"filters": 1, "kernel_size": 1}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: model(keras.layers.Conv2D(**CONV), channels=2),
            r"a model from \(None, None, None, 2\) to",
        ),
        (lambda: model(keras.layers.Conv2D(2, 1)), r"to \(None, None, None, 2\) in float32; expected a functional"),
        (lambda: model(keras.layers.Conv2D(**CONV, dtype="bfloat16")), "in bfloat16; expected a functional"),
        (lambda: model(keras.layers.Conv2D(**CONV), Mine()), "a layer Mine; expected"),
        (lambda: keras.Sequential([keras.layers.Conv2D(**CONV)]), "Sequential; expected a functional"),
        (lambda: None, "NoneType; expected a functional"),
    ],
)
def test_a_custom_network_must_fit_the_data_and_use_keras_layers(build, message):
    with pytest.raises(WrongNetwork, match=f"network .*: returned .*{message}"):
        CustomParts(network=lambda channels, classes, activation: build()).build_network(bundle())


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("network", "encoder_weights", "imagenet"),
        ("network", "encoder_freeze", True),
        ("network", "first_unit", "identity"),
        ("training", "encoder_lr_multiplier", 0.0),
        ("training", "freeze_encoder_until", 0.3),
    ],
)
def test_encoder_options_are_an_error_with_a_custom_network(section, field, value):
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, section: {field: value}})
    with pytest.raises(NoEncoder, match=f"{section}.{field}: found {value} "):
        record_custom_parts(recipe, CustomParts(network=lambda channels, classes, activation: None))
    assert record_custom_parts(recipe, CustomParts()) == recipe


def test_a_custom_network_that_fits_is_used():
    fits = model(keras.layers.Conv2D(**CONV))
    assert CustomParts(network=lambda channels, classes, activation: fits).build_network(bundle()) is fits


def test_the_command_trains_with_a_file_and_resumes_only_with_it(drawn, tmp_path, maskwright_command):
    file = written(tmp_path)
    data = ["--images", drawn / "train/images", "--masks", drawn / "train/masks", "--classes", "background,cell,fibre"]
    small = [
        "--set",
        "training.learning_rate=0.05",
        "--set",
        "training.patch_size=[64,64]",
        "--set",
        "training.batch_size=4",
        "--epochs",
        "3",
    ]
    out = tmp_path / "run"
    code, output, err = maskwright_command("train", *data, *small, "--python", file, "--out", out)
    assert code == 0, err
    run = Run(out)
    recipe = run.read_recipe()
    assert recipe.network.custom.startswith("mine.py:network ")
    assert recipe.training.custom_loss.startswith("mine.py:loss ")
    history = run.history.read_text().splitlines()
    assert output.count("row") == len(history) - 1 == 3
    engine = open_engine(out)
    assert [layer.name for layer in engine.network.layers][1] == "mine"
    # The loss is the mean probability of the first class, so training must reduce it.
    losses = [float(line.split(",")[4]) for line in history[1:]]
    assert losses[2] < losses[0]
    assert engine(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 3)

    code, _, err = maskwright_command("train", "--recipe", run.recipe, "--out", tmp_path / "repeated")
    assert code == 1
    assert "loss: the recipe requires mine.py:loss" in err
    run.report.unlink()  # as if interrupted before the end
    code, _, err = maskwright_command("train", "--resume", "--out", out)
    assert code == 1
    assert "other settings (custom loss: found none, expected mine.py:loss" in err
    code, _, err = maskwright_command("train", "--resume", "--out", out, "--python", written(tmp_path, FILE + "#"))
    assert code == 1
    assert "other settings (custom loss: found mine.py:loss" in err
    code, _, err = maskwright_command("train", "--resume", "--out", out, "--python", written(tmp_path))
    assert code == 0, err
