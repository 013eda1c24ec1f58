"""The end of a training run tunes the network, and a killed run continues with it."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.images.read import read_mask
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import open_engine
from maskwright.training.reporter import SilentReporter
from maskwright.training.run import Run
from maskwright.tune.time_limit import TimeLimit
from maskwright.tune.tune_run import tune_run

RECIPE = {"augmentation": {"flip": "none", "zoom": 0.0}, "training": {"batch_size": 4, "patch_size": [32, 32]}}
RECIPE["training"] |= {"learning_rate": 1e-12, "precision": "float32", "progressive_resize": None}


def faint_network(channels, classes, activation):
    """A network whose probability is 0.3 for bright pixels and near 0 for dark ones."""
    image = keras.Input((None, None, channels))
    constant = keras.initializers.Constant
    head = keras.layers.Conv2D(classes, 1, kernel_initializer=constant(1.0), bias_initializer=constant(-2.5))
    return keras.Model(image, keras.layers.Activation(activation, dtype="float32")(head(image)))


def draw(folder, number):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(number):
        mask = np.zeros((32, 32), np.uint8)
        mask[8 : 24 + index % 3, 8:24] = 1
        for name, pixels in (("images", 50 + 150 * mask), ("masks", mask)):
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")


class Lines(SilentReporter):
    def __init__(self):
        self.lines = []

    def report(self, line):
        self.lines.append(line)


@pytest.fixture
def train(tmp_path):
    draw(tmp_path / "train", 4)

    def run(validation, **training):
        if not (tmp_path / "val").exists():
            draw(tmp_path / "val", validation)
        reporter = Lines()
        segmenter = mw.Segmenter.train(
            tmp_path / "train/images",
            tmp_path / "train/masks",
            val_images=tmp_path / "val/images",
            val_masks=tmp_path / "val/masks",
            out=tmp_path / "run",
            classes=["background", "cell"],
            epochs=1,
            network=faint_network,
            recipe=RECIPE | {"training": RECIPE["training"] | training},
            reporter=reporter,
        )
        return segmenter, Run(tmp_path / "run"), reporter.lines

    return run


def check_tuned(segmenter, run, lines):
    """Check that the threshold was tuned from 0.5, and that the scores and the masks are those of the tuned network."""
    assert Bundle.read(run.folder).threshold == 0.3
    tuning = run.read_tuning()
    assert (tuning.options[0].name, tuning.options[0].score) == ("as trained", 0.0)
    assert (tuning.threshold, tuning.score, tuning.check_score) == (0.3, 1.0, 1.0)
    assert run.read_scores().scores.mean_iou == 1.0
    assert [line for line in lines if "threshold 0.3 (+1.0000)" in line]
    for pair in run.read_split()["validation"]:
        np.testing.assert_array_equal(segmenter.predict(pair.image), read_mask(pair.mask))
        np.testing.assert_array_equal(read_mask(run.validation / f"{pair.name}.png"), read_mask(pair.mask))
    assert "checked on 2 other images (check half)" in run.report.read_text()


def test_a_run_ends_with_tuning_and_a_killed_run_continues_with_it(train):
    segmenter, run, lines = train(4)
    check_tuned(segmenter, run, lines)
    first = json.loads(run.tuning.read_text())
    history = list(csv.DictReader(run.history.open()))
    for file in (run.report, run.facts, run.tuning, run.scores):  # as if the process was killed after the tuned bundle
        file.unlink()
    segmenter, run, lines = train(4)
    assert lines[0].startswith("Resuming at step 1")
    check_tuned(segmenter, run, lines)
    assert json.loads(run.tuning.read_text()) == first
    assert list(csv.DictReader(run.history.open())) == history


def test_too_few_validation_images_are_reported_in_one_line(train):
    _, run, lines = train(3)
    note = "Nothing was tuned: 3 held-out images can be used, and tuning needs at least 4."
    assert lines == [note]
    assert (run.read_bundle().threshold, run.read_tuning().notes) == (0.5, (note,))


def test_the_recipe_turns_tuning_off(train):
    _, run, lines = train(4, tune=False)
    assert not run.tuning.exists()
    assert (run.read_bundle().threshold, lines) == (0.5, [])


def tune_within(run, seconds):
    engine = open_engine(run.folder)
    result, scores = tune_run(run, engine, limit=TimeLimit(lambda: seconds), progress=lambda done, total: None)
    assert run.read_scores().scores == scores
    assert Bundle.read(run.folder) == result.bundle == engine.bundle
    return result


def test_tuning_leaves_out_what_exceeds_the_time_limit(train, monkeypatch):
    _, run, _ = train(4, tune=False)
    run.recipe.write_text(run.read_recipe().changed("augmentation", flip="horizontal").to_yaml())
    result = tune_within(run, -1.0)
    assert (result.bundle.threshold, result.notes) == (0.5, ("Nothing was tuned, to keep the time budget.",))
    monkeypatch.setattr("maskwright.tune.tune_run._MAX_PASS_FRACTION", 0.0)  # any further prediction takes too long
    result = tune_within(run, 1000.0)
    assert (result.bundle.threshold, result.notes) == (0.3, ("flips: not tried, to keep the time budget.",))


def test_images_beyond_the_storage_limit_are_scored_with_the_tuned_values(train, monkeypatch):
    _, run, _ = train(6, tune=False)
    monkeypatch.setattr("maskwright.tune.held_out._MAX_STORED_VALUES", 4 * 32 * 32)
    result = tune_within(run, 1000.0)
    assert (result.half_sizes, result.held_out_images) == ((2, 2), 6)
    scores = run.read_scores()
    assert (len(scores.images), scores.scores.mean_iou) == (6, 1.0)
