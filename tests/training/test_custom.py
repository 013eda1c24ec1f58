"""What users bring of their own: taken by name from a file, checked, recorded, and asked for again."""

import keras
import numpy as np
import pytest

from maskwright.inference.engines.engine import open_engine
from maskwright.training.custom import NoEncoder, Own, UnusableFile, WrongNetwork, load_own
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.train import recipe_with
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
    print("seen", row["step"])
"""


def written(folder, text=FILE):
    file = folder / "mine.py"
    file.write_text(text)
    return file


def test_a_file_gives_its_functions_and_its_digest(tmp_path):
    own = load_own(written(tmp_path))
    assert own.augmentation is None
    assert own.name("augmentation") is None
    assert own.name("loss").startswith("mine.py:loss ")
    changed = load_own(written(tmp_path, FILE + "\n# other\n"))
    assert changed.name("loss") != own.name("loss")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", "it defines none; expected Python that defines one or more of loss, network, augmentation, callback"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def loss(:", "SyntaxError"),
        ("loss = 3", "it defines none"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, found):
    with pytest.raises(UnusableFile, match=rf"--python .*mine\.py: {found}"):
        load_own(written(tmp_path, text))
    with pytest.raises(UnusableFile, match=r"gone\.py: FileNotFoundError"):
        load_own(tmp_path / "gone.py")


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
    ("made", "words"),
    [
        (
            lambda: model(keras.layers.Conv2D(**CONV), channels=2),
            r"a model from \(None, None, None, 2\) to",
        ),
        (lambda: model(keras.layers.Conv2D(2, 1)), r"to \(None, None, None, 2\) in float32; expected a functional"),
        (lambda: model(keras.layers.Conv2D(**CONV, dtype="bfloat16")), "in bfloat16; expected a functional"),
        (lambda: model(keras.layers.Conv2D(**CONV), Mine()), "a layer Mine; expected Keras' own layers"),
        (lambda: keras.Sequential([keras.layers.Conv2D(**CONV)]), "Sequential; expected a functional"),
        (lambda: None, "NoneType; expected a functional"),
    ],
)
def test_a_network_must_fit_the_data_and_open_everywhere(made, words):
    with pytest.raises(WrongNetwork, match=f"network .*: made .*{words}"):
        Own(network=lambda channels, classes, activation: made()).build(bundle())


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
def test_nothing_is_asked_of_the_encoder_of_a_users_network(section, field, value):
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, section: {field: value}})
    with pytest.raises(NoEncoder, match=f"{section}.{field}: found {value} beside a network of your own"):
        recipe_with(recipe, Own(network=lambda channels, classes, activation: None))
    assert recipe_with(recipe, Own()) == recipe


def test_a_network_that_fits_is_taken():
    fits = model(keras.layers.Conv2D(**CONV))
    assert Own(network=lambda channels, classes, activation: fits).build(bundle()) is fits


def test_the_command_line_trains_with_a_users_file_and_goes_on_with_no_other(drawn, tmp_path, maskwright_command):
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
    code, told, err = maskwright_command("train", *data, *small, "--python", file, "--out", out)
    assert code == 0, err
    run = Run(out)
    recipe = run.read_recipe()
    assert recipe.network.custom.startswith("mine.py:network ")
    assert recipe.training.custom_loss.startswith("mine.py:loss ")
    history = run.history.read_text().splitlines()
    assert told.count("seen") == len(history) - 1 == 3
    engine = open_engine(out)
    assert [layer.name for layer in engine.network.layers][1] == "mine"
    # The loss is the mean probability of the first class, whatever the truth: it learns to say it nowhere.
    losses = [float(line.split(",")[4]) for line in history[1:]]
    assert losses[2] < losses[0]
    assert engine(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 3)

    code, _, err = maskwright_command("train", "--recipe", run.recipe, "--out", tmp_path / "again")
    assert code == 1
    assert "loss: the recipe was trained with mine.py:loss" in err
    run.report.unlink()  # as if interrupted before the end
    code, _, err = maskwright_command("train", "--resume", "--out", out)
    assert code == 1
    assert "cannot resume with other settings (loss of the recipe, not mine.py:loss" in err
    code, _, err = maskwright_command("train", "--resume", "--out", out, "--python", written(tmp_path, FILE + "#"))
    assert code == 1
    assert "cannot resume with other settings (loss mine.py:loss" in err
    code, _, err = maskwright_command("train", "--resume", "--out", out, "--python", written(tmp_path))
    assert code == 0, err
