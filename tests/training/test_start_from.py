"""Training that starts from a trained network: which weights are copied, from which files, and which errors occur."""

import shutil

import keras
import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.models import Unet
from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.preprocessing import IMAGENET
from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
from maskwright.networks.unet import build_unet
from maskwright.segmenter import Segmenter
from maskwright.training import dry_run
from maskwright.training.assemble import build_networks, prepare_data
from maskwright.training.custom import NO_CUSTOM_PARTS, NoEncoder
from maskwright.training.network import build_network
from maskwright.training.plan import CONTINUED_LEARNING_RATE
from maskwright.training.prepare import prepare_resumed
from maskwright.training.pretrained import with_weights_of_series
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.start_from import (
    ContradictsStart,
    NoNetwork,
    OtherNetwork,
    ReplacesStart,
    Start,
    UnsupportedNetwork,
    copy_weights,
    describe_head,
    network_from,
    read_start,
    start_of_resumed,
)
from maskwright.training.train import resume, train
from maskwright.weights.smp.load_save import save_smp
from tests.conftest import SMALL_RECIPE
from tests.networks.randomise import infer, randomise
from tests.training.rig import Recorder
from tests.weights.legacy_files import layers_of, write_weights

SMALL = {"backbone": "resnet18", "decoder_filters": [16, 8, 8, 8, 8]}
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 64, 3)).astype("float32")


def bundle_of(*names, channels=3, **fields):
    """A bundle with a sigmoid for a background and one class, as in training; ``-`` is the background."""
    labels = [
        Label(name="background" if name == "-" else name, value=value, colour=(0, 0, value), background=name == "-")
        for value, name in enumerate(names)
    ]
    normalisation = Normalisation(mean=tuple(0.1 * (1 + c) for c in range(channels)), std=(0.5,) * channels)
    activation = "sigmoid" if len(names) == 2 and "-" in names else "softmax"
    return Bundle(
        channels=channels,
        pixels=("uint8",),
        normalisation=normalisation,
        labels=labels,
        activation=activation,
        **fields,
    )


def recipe_of(start_from, *, data=None, training=None, **network):
    fields = {"data": {"images": "i", "masks": "m", **(data or {})}, "network": {"start_from": start_from, **network}}
    return Recipe.from_dict({**fields, "training": training or {}})


def write_run(folder, bundle, *, seed=1, **network):
    """Write the files of a run that was not trained, and return its folder."""
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "network": SMALL | network})
    Run(folder).begin(recipe.to_yaml())
    randomise(build_network(recipe.network, bundle), seed=seed).save(folder / "model.keras")
    bundle.write(folder)
    return folder


def continued(start, bundle):
    """The network of the small recipe with the weights of ``start``."""
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    copy_weights(start, network, bundle)
    return network


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with three classes and with one class, as starting points."""
    folder = tmp_path_factory.mktemp("start")
    three = write_run(folder / "three", bundle_of("-", "cell", "fibre", scale=0.5))
    one = write_run(folder / "one", bundle_of("-", "cell"), seed=2)
    return {name: read_start(recipe_of(path))[1] for name, path in (("three", three), ("one", one))}


def test_the_same_classes_in_another_order_are_predicted_equally(runs):
    bundle = bundle_of("fibre", "-", "cell")
    before, after = infer(runs["three"].network, IMAGES), infer(continued(runs["three"], bundle), IMAGES)
    np.testing.assert_allclose(after, before[..., [2, 0, 1]], atol=1e-6)
    assert describe_head(runs["three"], bundle) == "head kept for fibre, background, cell"


def test_fewer_classes_keep_the_ratio_of_their_probabilities(runs):
    before = infer(runs["three"].network, IMAGES)
    bundle = bundle_of("-", "fibre")  # softmax to sigmoid
    after = infer(continued(runs["three"], bundle), IMAGES)
    np.testing.assert_allclose(after[..., 0], before[..., 2] / (before[..., 0] + before[..., 2]), atol=1e-5)


def test_a_new_or_renamed_class_has_a_new_channel_and_leaves_the_others(runs):
    bundle = bundle_of("-", "cell", "thread", "dust")
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    fresh = network.get_layer("final_conv").get_weights()
    copy_weights(runs["three"], network, bundle)
    old, new = (each.get_layer("final_conv").get_weights() for each in (runs["three"].network, network))
    for trained, initial, found in zip(old, fresh, new, strict=True):
        np.testing.assert_array_equal(found, np.concatenate([trained[..., :2], initial[..., 2:]], axis=-1))
    before, after = infer(runs["three"].network, IMAGES), infer(network, IMAGES)
    np.testing.assert_allclose(after[..., 1] / after[..., 0], before[..., 1] / before[..., 0], rtol=1e-3)
    assert describe_head(runs["three"], bundle) == "head kept for background, cell; new for thread, dust"


def test_a_sigmoid_becomes_an_equal_softmax_and_is_restored(runs, tmp_path):
    before = infer(runs["one"].network, IMAGES)[..., 0]
    bundle = bundle_of("cell", "-", "dust")
    network = continued(runs["one"], bundle)
    after = infer(network, IMAGES)
    np.testing.assert_allclose(after[..., 0] / (after[..., 0] + after[..., 1]), before, atol=1e-5)
    back = continued(Start(tmp_path, network, bundle, None), bundle_of("-", "cell"))
    np.testing.assert_allclose(infer(back, IMAGES)[..., 0], before, atol=1e-6)


def test_a_sigmoid_of_another_class_is_not_kept(runs):
    bundle = bundle_of("-", "dust")
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    fresh = network.get_layer("final_conv").get_weights()
    copy_weights(runs["one"], network, bundle)
    for initial, found in zip(fresh, network.get_layer("final_conv").get_weights(), strict=True):
        np.testing.assert_array_equal(found, initial)
    assert describe_head(runs["one"], bundle) == "new for background, dust"


def test_input_channels_are_adapted_from_one_to_three_and_back(tmp_path):
    """Without normalisation of its input, the network treats a gray image like three equal channels."""
    names, options = ("-", "cell"), {**SMALL, "backbone": "resnet18_v1"}

    def network(channels):
        return build_network(recipe_of("x", **options).network, bundle_of(*names, channels=channels))

    gray, start = IMAGES[..., :1], randomise(network(1), seed=3)
    rgb, again = network(3), network(1)
    copy_weights(Start(tmp_path, start, bundle_of(*names, channels=1), None), rgb, bundle_of(*names))
    copy_weights(Start(tmp_path, rgb, bundle_of(*names), None), again, bundle_of(*names, channels=1))
    before = infer(start, gray)
    np.testing.assert_allclose(infer(rgb, np.repeat(gray, 3, axis=-1)), before, atol=1e-5)
    np.testing.assert_allclose(infer(again, gray), before, atol=1e-5)


def test_other_weights_or_coordinate_channels_are_an_error(runs):
    with pytest.raises(UnsupportedNetwork, match=r"conv0.*expected \(7, 7, 4, 64\)|shape .*expected \(4,\)"):
        continued(runs["three"], bundle_of("-", "cell", coord_channels=("row",)))
    wider = build_network(recipe_of("x", **SMALL | {"decoder_filters": [16, 8, 8, 8, 16]}).network, bundle_of("-", "a"))
    with pytest.raises(UnsupportedNetwork, match=r"found the shape .* of decoder_stage4"):
        copy_weights(runs["three"], wider, bundle_of("-", "a"))
    deeper = build_network(recipe_of("x", **SMALL | {"attention": "scse"}).network, bundle_of("-", "a"))
    with pytest.raises(UnsupportedNetwork, match=r"layers with weights; expected \d+ as in the recipe"):
        copy_weights(runs["three"], deeper, bundle_of("-", "a"))


def test_a_run_gives_its_network_section_scale_and_normalisation(runs):
    folder = runs["three"].file.parent
    recipe, start = read_start(recipe_of(folder, deep_supervision=True))
    assert (recipe.network.backbone, recipe.network.decoder_filters) == ("resnet18", (16, 8, 8, 8, 8))
    assert recipe.network.deep_supervision
    assert (recipe.data.scale, recipe.data.normalisation) == (0.5, "start_from")
    assert start.normalisation == bundle_of("-", "cell", "fibre").normalisation
    assert read_start(recipe)[0] == recipe
    assert read_start(recipe_of(folder, data={"normalisation": "dataset"}))[0].data.normalisation == "dataset"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of each kind, with three output channels, and the networks in them."""
    folder = tmp_path_factory.mktemp("files")
    ours = randomise(Unet("resnet18", classes=3, activation="softmax", decoder_filters=SMALL["decoder_filters"]))
    ours.save(folder / "ours.keras")
    write_weights(folder / "old.h5", layers_of(ours))
    filters = SMALL["decoder_filters"]
    smp = build_unet(
        ResNet18V1(), 3, RESNET_V1_SKIPS, activation="softmax", decoder_filters=filters, norm=torch_batch_norm
    )
    save_smp(randomise(smp), folder / "smp.safetensors")
    return {"ours.keras": ours, "old.h5": ours, "smp.safetensors": smp, "folder": folder}


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
    assert "head kept, because it has 3 output channels" in describe_head(start, same)
    assert "new head, because the file has 3 output channels and 1 are needed" in describe_head(start, other)


def test_layers_before_the_head_of_a_file_compute_in_the_precision_of_training(files):
    _, start = read_start(recipe_of(files["folder"] / "ours.keras"))
    network = network_from(start, bundle_of("-", "a", channels=1), precision="mixed_bfloat16")
    policies = {layer.name: layer.dtype_policy.name for layer in network.layers if layer.weights}
    assert policies.pop("final_conv") == "float32"
    assert set(policies.values()) == {"mixed_bfloat16"}
    assert network.output.dtype == "float32"
    assert network.input_shape[-1] == 1


def settings(drawn, **network):
    data = {
        "images": drawn / "train/images",
        "masks": drawn / "train/masks",
        "classes": ["background", "cell", "fibre"],
    }
    training = {**SMALL_RECIPE["training"], "epochs": 1}
    return Recipe.from_dict({"data": data, "network": network, "training": training})


def test_training_starts_with_the_predictions_of_the_run_and_states_what_is_taken(drawn, runs):
    three = runs["three"]
    prepared, _ = prepare_data(settings(drawn, start_from=three.file.parent))
    assert prepared.bundle.normalisation == three.normalisation
    assert prepared.recipe.training.optimizer == "adamw"
    assert prepared.recipe.training.learning_rate == CONTINUED_LEARNING_RATE
    reasons = {decision.field: decision.reason for decision in prepared.decisions}
    assert reasons["network.start_from"] == "head kept for background, cell, fibre"
    assert reasons["network.backbone"] == reasons["data.normalisation"] == "from three"
    assert reasons["network.encoder_weights"] == "the network is already trained"
    assert "already trained" in reasons["training.learning_rate"]
    networks = build_networks(prepared, NO_CUSTOM_PARTS)
    np.testing.assert_allclose(infer(networks.training, IMAGES), infer(three.network, IMAGES), atol=1e-5)


class Stopped(Recorder):
    """Interrupts training before the first step, after the first files of the run are written."""

    def plan(self, plan):
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["run", "file"])
def test_a_run_is_resumed_without_the_network_from_which_it_started(drawn, runs, tmp_path, kind):
    source = tmp_path / "source"
    shutil.copytree(runs["three"].file.parent, source)
    path = source if kind == "run" else source / "model.keras"
    with pytest.raises(KeyboardInterrupt):
        train(settings(drawn, start_from=path), tmp_path / "out", reporter=Stopped())
    run = Run(tmp_path / "out")
    recorded = run.read_recipe().network
    assert (recorded.start_from, recorded.encoder_weights) == (path, "none")
    (source / "model.keras").write_bytes(b"another file")
    if kind == "run":  # before the first checkpoint, the same file is needed
        with pytest.raises(OtherNetwork, match="restore that file"):
            resume(run.folder)
        shutil.copy(runs["three"].file, source)
    start = start_of_resumed(run, prepare_resumed(run)).start
    np.testing.assert_allclose(infer(start.network, IMAGES), infer(runs["three"].network, IMAGES), atol=1e-5)
    shutil.rmtree(source)
    run.checkpoint.parent.mkdir(exist_ok=True)
    run.checkpoint.touch()
    prepared = start_of_resumed(run, prepare_resumed(run))
    assert (prepared.start is None) == (kind == "run")  # the graph of a file is stored in the run


def test_all_runs_of_a_series_start_from_the_same_file(runs, tmp_path):
    folder = runs["three"].file.parent
    members = [Run(tmp_path / "fold1"), Run(tmp_path / "fold2")]
    recipe = with_weights_of_series(recipe_of(folder), members)
    assert recipe.network.start_from_sha256 == read_start(recipe_of(folder))[0].network.start_from_sha256
    members[0].begin("", requested=recipe.to_yaml())
    assert with_weights_of_series(recipe_of(folder), members) == recipe


def test_paths_without_a_usable_network_are_errors(runs, files, tmp_path):
    def error(kind, match, path, **options):
        with pytest.raises(kind, match=match):
            read_start(recipe_of(path, **options))

    three = runs["three"].file.parent
    error(NoNetwork, "missing: no such file or folder; expected a run, a .keras file", tmp_path / "missing")
    error(NoNetwork, "model.keras is missing; expected a run that has saved a network", tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    error(NoNetwork, "not a supported file", tmp_path / "notes.txt")
    (tmp_path / "damaged.keras").write_text("text")
    error(InputError, "cannot be loaded as a Keras network", tmp_path / "damaged.keras")
    (tmp_path / "damaged.h5").write_text("text")
    error(InputError, "damaged.h5", tmp_path / "damaged.h5")
    shutil.copy(three / "model.keras", tmp_path)
    error(NoNetwork, "recipe.yaml is missing; expected a run; or give .*model.keras", tmp_path)
    Run(tmp_path).begin(recipe_of(None, custom="mine").to_yaml())
    shutil.copy(three / "model.keras", tmp_path)
    error(NoNetwork, "its recipe does not describe the network; expected the file .*model.keras", tmp_path)
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(2, 1, activation="softmax")(image)).save(tmp_path / "plain.keras")
    error(UnsupportedNetwork, "found the output layer conv2d", tmp_path / "plain.keras")
    fixed = keras.Input((32, 32, 3))
    keras.Model(fixed, keras.layers.Dense(2)(keras.layers.Flatten()(fixed))).save(tmp_path / "fixed.keras")
    error(UnsupportedNetwork, r"found a model from \(None, 32, 32, 3\) to \(None, 2\)", tmp_path / "fixed.keras")

    error(ContradictsStart, "backbone: found resnet34, but .* has resnet18; leave out one", three, backbone="resnet34")
    error(ContradictsStart, "encoder_weights: found imagenet", three, encoder_weights="imagenet")
    error(ContradictsStart, "found mine, .* has a network of its own", three, custom="mine")
    error(ContradictsStart, "backbone: found vgg16", files["folder"] / "ours.keras", backbone="vgg16")
    error(NoEncoder, "freeze_encoder_until", files["folder"] / "old.h5", training={"freeze_encoder_until": 0.5})
    normalised = {"normalisation": "start_from"}
    error(InputError, "does not store the normalisation", files["folder"] / "ours.keras", data=normalised)
    error(InputError, "requires network.start_from", None, data=normalised)
    error(OtherNetwork, "training started from a file with a", three, start_from_sha256="a" * 64)
    with pytest.raises(ReplacesStart, match="give another folder"):
        train(recipe_of(three), three, overwrite=True)


def test_commands_accept_a_network_to_start_from(maskwright_command, monkeypatch, drawn, runs, tmp_path):
    folder = runs["three"].file.parent
    data = ("--images", drawn / "train/images", "--masks", drawn / "train/masks", "--from", folder)
    code, out, _ = maskwright_command("train", *data, "--epochs", 1, "--out", tmp_path / "run", "--explain")
    assert code == 0
    assert "from three" in out
    assert not (tmp_path / "run").exists()
    code, _, err = maskwright_command("train", *data, "--out", tmp_path / "run", "--resume")
    assert code == 2
    assert "--from cannot be combined with --resume" in err
    given = []
    monkeypatch.setattr(dry_run, "prepare_data", lambda recipe, **_: given.append(recipe) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        maskwright_command("find-lr", *data, "--out", tmp_path / "lr.png")
    assert given[0].network.start_from == folder
    monkeypatch.setattr(Segmenter, "train_recipe", lambda recipe, *_, **__: given.append(recipe))
    Segmenter.train("i", "m", out=tmp_path / "run", start_from=folder)
    assert given[1].network.start_from == folder
