"""Training that starts from a trained network: settings that are taken from its run, resuming, and the commands."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.segmenter import Segmenter
from maskwright.training import dry_run
from maskwright.training.assemble import build_networks, prepare_data
from maskwright.training.custom import NO_CUSTOM_PARTS, NoEncoder
from maskwright.training.folds_and_seeds import by_fold
from maskwright.training.match_classes import WrongRenaming
from maskwright.training.planning_rules import CONTINUED_LEARNING_RATE
from maskwright.training.prepare import UnusableData, check_data, prepare_resumed
from maskwright.training.pretrained import with_weights_of_series
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run
from maskwright.training.start_file import OtherNetwork, ReplacesStart, with_channels_of_start
from maskwright.training.start_from import ContradictsStart, read_start, start_of_resumed, with_start
from maskwright.training.train import resume, train
from tests.conftest import SMALL_RECIPE
from tests.networks.randomise import infer
from tests.training.rig import Recorder
from tests.training.start_runs import IMAGES, bundle_of, recipe_of, write_run


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
def gray(tmp_path_factory):
    """A run with one class whose recipe has ``data.channels=1``."""
    folder = tmp_path_factory.mktemp("gray") / "run"
    return write_run(folder, bundle_of("-", "cell", channels=1), data={"channels": 1})


def equal_channels(folder):
    """Write four pairs of RGB images with three equal channels and masks of two classes, and return the folder."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(4):
        pixels = generator.integers(0, 256, (32, 32), np.uint8)
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / f"images/{number}.png")
        Image.fromarray(generator.integers(0, 2, (32, 32), np.uint8)).save(folder / f"masks/{number}.png")
    return folder


def test_the_channels_that_are_set_in_a_run_are_taken_unless_they_are_given(gray, tmp_path):
    folder, checked = equal_channels(tmp_path), []

    def check(data, *, progress=None):
        checked.append(data)
        return check_data(data, progress=progress)

    def prepared(**given):
        data = {"images": folder / "images", "masks": folder / "masks", "classes": ["background", "cell"], **given}
        recipe = recipe_of(gray, data=data)
        return recipe, prepare_data(recipe, check=check)[0]

    recipe, found = prepared()
    assert (found.recipe.data.channels, found.bundle.channels) == (1, 1)
    assert checked == [with_channels_of_start(recipe).data]  # so the check can begin before Keras is imported
    for channels in (3, None):
        assert prepared(channels=channels)[1].bundle.channels == 3
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "images/0.png")
    with pytest.raises(UnusableData, match=r"found 3 \(RGB, not gray\); expected 1, as in data\.channels"):
        prepared()


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


def test_renamed_classes_are_recorded_and_used_on_resuming(drawn, runs, tmp_path):
    renamed = {"cell": "nucleus", "fibre": "thread"}
    recipe = settings(drawn, start_from=runs["three"].file.parent, renamed_classes=renamed)
    recipe = recipe.changed("data", classes=("background", "nucleus", "thread"))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "out", reporter=Stopped())
    run = Run(tmp_path / "out")
    assert run.read_recipe().network.renamed_classes == renamed
    assert "head kept for background, nucleus (was cell), thread (was fibre)" in run.recipe.read_text(encoding="utf-8")
    prepared = start_of_resumed(run, prepare_resumed(run))
    networks = build_networks(prepared, NO_CUSTOM_PARTS)
    np.testing.assert_allclose(infer(networks.training, IMAGES), infer(runs["three"].network, IMAGES), atol=1e-5)
    other = prepared.recipe.changed("network", renamed_classes={"cell": "hair"})
    with pytest.raises(WrongRenaming, match=r"no class hair; expected one .*: nucleus, thread"):
        with_start(replace(prepared, recipe=other), prepared.start)


def test_renamed_classes_require_a_network_and_different_names():
    with pytest.raises(WrongRecipe, match=r"renamed_classes requires start_from \(--from\)"):
        recipe_of(None, renamed_classes={"cell": "nucleus"})
    with pytest.raises(WrongRecipe, match="renamed_classes gives 2 classes the name cell; expected different names"):
        recipe_of("run", renamed_classes={"nucleus": "cell", "vacuole": "cell"})


def test_all_runs_of_a_series_start_from_the_same_file(runs, tmp_path):
    folder = runs["three"].file.parent
    members = [Run(tmp_path / "fold1"), Run(tmp_path / "fold2")]
    recipe = with_weights_of_series(recipe_of(folder), members, member=recipe_of(folder))
    assert recipe.network.start_from_sha256 == read_start(recipe_of(folder))[0].network.start_from_sha256
    for number, member in enumerate(by_fold(recipe.changed("training", epochs=1), 2), start=1):
        complete, _ = read_start(member.recipe)
        assert (complete.data.fold, complete.data.scale, complete.network.backbone) == ((number, 2), 0.5, "resnet18")
        assert complete.network.start_from_sha256 == recipe.network.start_from_sha256
    members[0].begin("", requested=recipe.to_yaml())
    assert with_weights_of_series(recipe_of(folder), members, member=recipe_of(folder)) == recipe


def test_settings_that_contradict_the_network_are_errors(runs, files):
    def error(kind, match, path, **options):
        with pytest.raises(kind, match=match):
            read_start(recipe_of(path, **options))

    three = runs["three"].file.parent
    error(ContradictsStart, "backbone: found resnet34, but .* has resnet18; leave out one", three, backbone="resnet34")
    error(ContradictsStart, "encoder_weights: found imagenet", three, encoder_weights="imagenet")
    error(ContradictsStart, "found mine, .* has a network of its own", three, custom="mine")
    error(ContradictsStart, "backbone: found vgg16", files["folder"] / "ours.keras", backbone="vgg16")
    error(NoEncoder, "freeze_encoder_until", files["folder"] / "old.h5", training={"freeze_encoder_until": 0.5})
    normalised = {"normalisation": "start_from"}
    error(InputError, "does not store the normalisation", files["folder"] / "ours.keras", data=normalised)
    error(InputError, "requires network.start_from", None, data=normalised)
    error(OtherNetwork, "training started from a file with a", three, start_from_sha256="a" * 64)
    renamed = {"cell": "nucleus"}
    error(WrongRecipe, "ours.keras does not store the names", files["folder"] / "ours.keras", renamed_classes=renamed)
    error(WrongRenaming, "three has no class cel", three, renamed_classes={"cel": "nucleus"})
    with pytest.raises(ReplacesStart, match="give another folder"):
        train(recipe_of(three), three, overwrite=True)


def test_commands_accept_a_network_to_start_from(maskwright_command, monkeypatch, drawn, runs, tmp_path):
    folder = runs["three"].file.parent
    data = ("--images", drawn / "train/images", "--masks", drawn / "train/masks", "--from", folder)
    code, out, _ = maskwright_command("train", *data, "--epochs", 1, "--out", tmp_path / "run", "--explain")
    assert code == 0
    assert "from three" in out
    assert not (tmp_path / "run").exists()
    renamed = ("--rename-class", "cell=nucleus", "--classes", "background,nucleus,fibre")
    code, out, _ = maskwright_command("train", *data, *renamed, "--out", tmp_path / "run", "--explain")
    assert code == 0
    assert "nucleus (was cell)" in " ".join(out.split())
    for wrong in ("cell", "cell="):
        code, _, err = maskwright_command("train", *data, "--rename-class", wrong, "--out", tmp_path / "run")
        assert code == 2
        assert f"--rename-class {wrong} is not a renaming; expected OLD=NEW" in err
    twice = ("--rename-class", "cell=a", "--rename-class", "cell=b")
    code, _, err = maskwright_command("train", *data, *twice, "--out", tmp_path / "run")
    assert code == 2
    assert "--rename-class gives cell the names a and b; expected one new name" in err
    code, _, err = maskwright_command("train", *data, "--out", tmp_path / "run", "--resume")
    assert code == 2
    assert "--from cannot be combined with --resume" in err
    given = []
    monkeypatch.setattr(dry_run, "prepare_data", lambda recipe, **_: given.append(recipe) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        maskwright_command("find-lr", *data, "--rename-class", "cell=nucleus", "--out", tmp_path / "lr.png")
    assert (given[0].network.start_from, given[0].network.renamed_classes) == (folder, {"cell": "nucleus"})
    monkeypatch.setattr(Segmenter, "train_recipe", lambda recipe, *_, **__: given.append(recipe))
    Segmenter.train("i", "m", out=tmp_path / "run", start_from=folder)
    assert given[1].network.start_from == folder
