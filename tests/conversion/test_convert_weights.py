"""The convert-weights command: checkpoints to Keras 3 files and runs, runs to PyTorch, and errors."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from maskwright.models import Unet
from maskwright.networks import get_preprocessing
from maskwright.segmenter import Segmenter
from maskwright.weights.smp.load_save import load_smp, save_smp
from tests.networks.randomise import randomise
from tests.weights.legacy_files import inputs_of, layer_configs, layers_of, write_model, write_weights

SMALL = {"decoder_filters": (16, 8, 8, 8, 8)}


@pytest.fixture(scope="module")
def two_classes():
    return randomise(Unet("resnet18", classes=2, activation="softmax", **SMALL), seed=3)


@pytest.fixture
def old(two_classes, tmp_path):
    return write_weights(tmp_path / "old.h5", layers_of(two_classes))


@pytest.fixture
def photograph(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


def predict(network, pixels):
    """Predict with the network itself, with reflection padding as in inference."""
    padded = np.pad(pixels, ((0, 64 - 45), (0, 96 - 70), (0, 0)), mode="reflect").astype("float32")
    return network.predict_on_batch(padded[None])[0, :45, :70]


def test_keras_2_weights_become_a_keras_3_file(maskwright_command, two_classes, old, tmp_path):
    images = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    code, out, _ = maskwright_command(
        "convert-weights", old, "--out", tmp_path / "new.keras", "--set", "activation=softmax"
    )
    assert code == 0
    assert "new.keras" in out
    loaded = keras.saving.load_model(tmp_path / "new.keras", compile=False)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), two_classes.predict_on_batch(images))


def test_keras_2_weights_become_a_run_that_predicts_and_scores(
    maskwright_command, two_classes, old, photograph, tmp_path
):
    file, pixels = photograph
    run = tmp_path / "run"
    options = ("--classes", "background,road", "--set", "activation=softmax")
    assert maskwright_command("convert-weights", old, "--out", run, *options)[0] == 0
    segmenter = Segmenter.load(run)
    # Pre-activation ResNets take pixels in 0-255, so there is no preprocessing.
    np.testing.assert_allclose(segmenter.predict_probabilities(file), predict(two_classes, pixels), atol=1e-5)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    file.rename(tmp_path / "images/photo.png")
    Image.fromarray(segmenter.predict(pixels).astype("uint8")).save(tmp_path / "masks/photo.png")
    assert segmenter.evaluate(tmp_path / "images", tmp_path / "masks").scores.pixel_accuracy == 1


def test_bgr_network_takes_rgb_images_in_its_run(maskwright_command, photograph, tmp_path):
    file, pixels = photograph
    network = randomise(Unet("vgg16", classes=1, **SMALL), seed=5)
    old = write_weights(tmp_path / "vgg.h5", layers_of(network))
    run = tmp_path / "run"
    assert maskwright_command("convert-weights", old, "--out", run, "--set", "activation=sigmoid")[0] == 0
    expected = predict(network, get_preprocessing("vgg16")(pixels))
    assert expected.std() > 0.001
    np.testing.assert_allclose(Segmenter.load(run).predict_probabilities(file), expected, atol=1e-4)


def test_network_survives_the_round_trip_to_torch(maskwright_command, tmp_path):
    images = np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype("float32")
    network = randomise(Unet("resnet18_v1", classes=3, activation="softmax"), seed=2)
    network.save(tmp_path / "ours.keras")
    torch_file, back = tmp_path / "torch.safetensors", tmp_path / "back.keras"
    assert maskwright_command("convert-weights", tmp_path / "ours.keras", "--to", "smp", "--out", torch_file)[0] == 0
    assert maskwright_command("convert-weights", torch_file, "--out", back)[0] == 0
    loaded = keras.saving.load_model(back, compile=False)
    np.testing.assert_allclose(loaded.predict_on_batch(images), network.predict_on_batch(images), atol=1e-5)


def test_normalisation_survives_the_round_trip_to_torch(maskwright_command, photograph, tmp_path):
    file, pixels = photograph
    network = randomise(Unet("resnet18_v1", classes=1), seed=2)
    torch_file, back = tmp_path / "torch.safetensors", tmp_path / "back"
    save_smp(network, torch_file)
    statistics = ("--set", "mean=[0.1,0.2,0.3]", "--set", "std=0.5")
    code, out, _ = maskwright_command(
        "convert-weights", torch_file, "--out", back, "--set", "activation=sigmoid", *statistics
    )
    assert code == 0
    assert "--set mean" not in out
    expected = predict(network, np.float32((pixels / 255 - np.array([0.1, 0.2, 0.3])) / 0.5))
    np.testing.assert_allclose(Segmenter.load(back).predict_probabilities(file), expected, atol=1e-4)
    code, out, _ = maskwright_command(
        "convert-weights", torch_file, "--out", tmp_path / "other", "--set", "activation=sigmoid"
    )
    assert code == 0
    assert "[0, 1] minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225" in out
    assert "--set mean=... --set std=..." in out


@pytest.mark.parametrize("wrong", ["mean=[0.1,0.2]", "std=0", "std=wide", "mean=true"])
def test_invalid_mean_and_std_are_refused(maskwright_command, wrong, tmp_path):
    save_smp(Unet("resnet18_v1", classes=1), tmp_path / "a.safetensors")
    code, _, err = maskwright_command(
        "convert-weights", tmp_path / "a.safetensors", "--out", tmp_path / "run", "--set", wrong
    )
    assert code == 1
    assert "expected one number or 3, numbers" in err
    assert not (tmp_path / "run").exists()
    out = tmp_path / "a.keras"
    code, _, err = maskwright_command("convert-weights", tmp_path / "a.safetensors", "--out", out, "--set", "mean=0.5")
    assert code == 1
    assert "mean and std={'mean': 0.5}: expected none" in err


def test_encoder_without_torch_counterpart_is_refused(maskwright_command, trained, tmp_path):
    code, _, err = maskwright_command(
        "convert-weights", trained.folder, "--to", "smp", "--out", tmp_path / "a.safetensors"
    )
    assert code == 1
    assert "bn_data" in err
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("missing.h5", (), "missing.h5: the file does not exist"),
        ("notes.txt", (), "notes.txt: an unknown format; expected a run, a .keras file"),
        ("notes.ckpt", (), "notes.ckpt': cannot be read as tensors"),
        ("old.h5", (), "activation='sigmoid'"),
        ("old.h5", ("--set", "activation"), "--set activation: expected name=value"),
        ("old.h5", ("--set", "activation=softmax", "--classes", "a,b,c"), "2 outputs, but 3 classes"),
        ("old.h5", ("--set", "activation=linear"), "linear with 2 channels"),
        ("old.h5", ("--set", "activaton=softmax"), "activaton"),
        ("old.h5", ("--set", "activation=softmax", "--classes", "3"), "2 outputs, but 3 classes"),
        ("one.safetensors", ("--classes", "sky,cell"), "needs two class names, the background first"),
        ("one.safetensors", ("--set", "classes=1"), "option='classes' is not known; expected one of activation"),
    ],
)
def test_unsupported_sources_and_options_are_refused(maskwright_command, old, tmp_path, name, options, words):
    for notes in ("notes.txt", "notes.ckpt"):
        (tmp_path / notes).write_text("nothing")
    if name.startswith("one"):
        save_smp(Unet("resnet18_v1"), tmp_path / name)
    code, _, err = maskwright_command("convert-weights", tmp_path / name, "--out", tmp_path / "run", *options)
    assert code == 1
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_output_of_another_format_is_refused(maskwright_command, old, tmp_path):
    code, _, err = maskwright_command(
        "convert-weights", old, "--out", tmp_path / "new.h5", "--set", "activation=softmax"
    )
    assert code == 2
    assert "expected a file that ends in .keras, or a folder" in err
    code, _, err = maskwright_command("convert-weights", old, "--out", tmp_path / "new.keras", "--classes", "a,b")
    assert code == 1
    assert "mask_values='0=a,1=b': expected none" in err


def test_existing_file_needs_overwrite(maskwright_command, old, tmp_path):
    (tmp_path / "new.keras").write_text("precious")
    arguments = ("convert-weights", old, "--out", tmp_path / "new.keras", "--set", "activation=softmax")
    code, _, err = maskwright_command(*arguments)
    assert code == 1
    assert "new.keras: exists; add --overwrite" in err
    assert (tmp_path / "new.keras").read_text() == "precious"
    assert maskwright_command(*arguments, "--overwrite")[0] == 0


def test_whole_model_of_fixed_size_becomes_a_run_for_any_size(maskwright_command, photograph, tmp_path):
    file, pixels = photograph
    network = randomise(Unet("resnet18", (64, 64, 3), **SMALL), seed=6)
    old = write_model(
        tmp_path / "old.h5", layers_of(network), layer_configs(network), output="sigmoid", inputs=inputs_of(network)
    )
    assert maskwright_command("convert-weights", old, "--out", tmp_path / "run")[0] == 0
    open_network = Unet("resnet18", **SMALL)
    open_network.set_weights(network.get_weights())
    found = Segmenter.load(tmp_path / "run").predict_probabilities(file)
    np.testing.assert_allclose(found, predict(open_network, pixels), atol=1e-5)


def test_torch_file_becomes_a_run_with_imagenet_normalisation(maskwright_command, photograph, tmp_path):
    file, pixels = photograph
    network = randomise(Unet("resnet18_v1", classes=1), seed=4)
    save_smp(network, tmp_path / "a.safetensors")
    code, out, _ = maskwright_command("convert-weights", tmp_path / "a.safetensors", "--out", tmp_path / "run")
    assert code == 0
    assert "assumed sigmoid" in out
    expected = predict(load_smp(tmp_path / "a.safetensors"), get_preprocessing("resnet34_v1")(pixels))
    np.testing.assert_allclose(Segmenter.load(tmp_path / "run").predict_probabilities(file), expected, atol=1e-4)
    code, out, _ = maskwright_command(
        "convert-weights", tmp_path / "run", "--to", "smp", "--out", tmp_path / "b.safetensors"
    )
    assert code == 0
    assert "[0, 1] minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225" in out
    loaded = load_smp(tmp_path / "b.safetensors")
    for weight, expected_weight in zip(loaded.weights, load_smp(tmp_path / "a.safetensors").weights, strict=True):
        np.testing.assert_array_equal(weight, expected_weight)


def test_run_is_replaced_only_with_overwrite(maskwright_command, trained, old, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    arguments = ("convert-weights", old, "--out", run, "--set", "activation=softmax")
    code, _, err = maskwright_command(*arguments)
    assert code == 1
    assert "run: contains a run; add --overwrite" in err
    assert maskwright_command(*arguments, "--overwrite")[0] == 0
    assert not (run / "recipe.yaml").exists()
    assert not (run / "report.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("precious")
    code, _, err = maskwright_command("convert-weights", old, "--out", tmp_path / "mine", "--overwrite")
    assert code == 1
    assert "mine: is not empty and does not contain a run (it has notes.txt)" in err
    (tmp_path / "file").write_text("precious")
    code, _, err = maskwright_command("convert-weights", old, "--out", tmp_path / "file", "--overwrite")
    assert code == 1
    assert "a file of that name" in err
    assert (tmp_path / "file").read_text() == "precious"


def test_torch_folder_is_replaced_only_with_overwrite(maskwright_command, tmp_path):
    Unet("resnet18_v1", classes=1).save(tmp_path / "a.keras")
    arguments = ("convert-weights", tmp_path / "a.keras", "--to", "smp", "--out", tmp_path / "torch")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/notes.txt").write_text("precious")
    code, _, err = maskwright_command(*arguments, "--overwrite")
    assert code == 1
    assert "does not contain a network of segmentation_models_pytorch (it has notes.txt)" in err
    (tmp_path / "torch/notes.txt").unlink()
    assert maskwright_command(*arguments)[0] == 0
    (tmp_path / "torch/notes.txt").write_text("precious")
    code, _, err = maskwright_command(*arguments)
    assert code == 1
    assert "torch: contains a network of segmentation_models_pytorch; add --overwrite" in err
    assert maskwright_command(*arguments, "--overwrite")[0] == 0
    assert (tmp_path / "torch/notes.txt").read_text() == "precious"


def test_exported_run_predicts_the_same(maskwright_command, trained, drawn, tmp_path):
    pytest.importorskip("openvino")
    code, out, _ = maskwright_command("export", trained.folder, "--out", tmp_path / "engine")
    assert code == 0
    assert "openvino f32 against Keras" in out
    code, _, _ = maskwright_command("predict", tmp_path / "engine", drawn / "new/images", "--out", tmp_path / "masks")
    assert code == 0
    for image in sorted((drawn / "new/images").iterdir()):
        mask = np.array(Image.open(tmp_path / f"masks/{image.stem}.png"))
        assert np.mean(mask != trained.predict(image)) < 1e-3
    code, _, err = maskwright_command("export", trained.folder, "--out", tmp_path / "engine")
    assert code == 1
    assert "engine: contains an engine; add --overwrite" in err


def test_backbones_lists_parameters_and_weights(maskwright_command):
    code, out, _ = maskwright_command("backbones")
    assert code == 0
    assert any(line.split()[:3] == ["resnet34", "21,302,473", "imagenet"] for line in out.splitlines())
