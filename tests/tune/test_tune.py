"""Tuning of real runs: single runs, several classes, and networks that share held-out images."""

import json
import re
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.labels import Label
from maskwright.images.read import read_image, read_mask
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.keras import load_network
from maskwright.inference.ensemble import TUNING_FILE, TUNING_PAGE, WrongEnsemble, write_ensemble
from maskwright.inference.load_predictor import load_predictor
from maskwright.inference.predict_image import predict_probabilities
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.segmenter import _training_masks
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.tune import held_out
from maskwright.tune.compare_networks import compare_networks
from maskwright.tune.halves import HalfScores
from maskwright.tune.held_out import (
    HeldOutImage,
    HeldOutPredictions,
    NetworkOfRun,
    NothingHeldOut,
    held_out_images,
    networks_of_runs,
    predict_held_out,
)
from maskwright.tune.options import common_transforms, transforms_to_try
from maskwright.tune.tune import NothingToTune, tune, tune_ensemble
from tests.inference.fake_engines import Brightness

PAIR = Pair("a", Path("a.png"), Path("a-mask.png"))


@pytest.fixture
def run(trained, tmp_path):
    """The trained run, with two training images that are held out as well, and few transforms to try."""
    run = Run(tmp_path / "run")
    shutil.copytree(trained.folder, run.folder)
    split = run.read_split()
    run.write_split(train=split["train"][2:], validation=split["validation"] + split["train"][:2])
    run.recipe.write_text(run.read_recipe().changed("augmentation", zoom=0.0).to_yaml())
    return run


def test_tuned_run_predicts_and_scores_with_the_tuned_bundle(run):
    result = tune(run.folder)
    stored = json.loads((run.folder / "tuning.json").read_text())
    names = [option["name"] for option in stored["options"]]
    assert names[0] == "as trained"
    assert (stored["selection_images"], stored["check_images"]) == (2, 2)
    assert [name for name in names if " alone, minimum component size " in name], "each class has an option of its own"
    for option in stored["options"][1:]:
        assert option["on"] == (option["gain"] > 1e-4 and option["check_gain"] > 1e-4)
    bundle = Bundle.read(run.folder)
    assert (list(bundle.tta), bundle.fill_holes) == (stored["tta"], stored["fill_holes"])
    assert stored["check_score"] == result.scores.check
    predictor, pairs = load_predictor(run.folder), run.read_split()["validation"]
    values = json.loads((run.folder / "scores.json").read_text())["scores"]["mean_iou"]
    again = evaluate_pairs(predictor, pairs, mask_values=parse_mask_values(run.read_recipe().data.mask_values))
    assert again.scores.mean_iou == pytest.approx(values)
    report = run.report.read_text()
    assert all(f"{stored[half]:.4f}" in report for half in ("score", "check_score"))
    assert all((run.validation / f"{pair.name}.png").is_file() for pair in pairs)
    assert run.report.is_file()


def test_tuning_again_starts_from_the_untuned_bundle(run):
    first = tune(run.folder)
    Bundle.read(run.folder).model_copy(update={"tta": ("upside_down",), "fill_holes": True}).write(run.folder)
    assert tune(run.folder).bundle == first.bundle


def test_mean_without_gain_leaves_the_best_network(run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(run.folder, tmp_path / f"series/seed{seed}")
    result = tune(tmp_path / "series")
    named = {option.name: option for option in result.options}
    assert named["mean of the networks"].gain == pytest.approx(0, abs=1e-6)
    assert not named["mean of the networks"].on
    predictor = load_predictor(tmp_path / "series")
    assert [path.name for path in predictor.members] == ["seed0"]
    image = run.read_split()["validation"][0].image
    assert read_mask(run.validation / f"{image.stem}.png").shape


def with_other_weights(run, seed):
    """Change the weights of a run's last layer, so that its predictions differ."""
    network, rng = load_network(run.network), np.random.default_rng(seed)
    network.layers[-1].set_weights([w + rng.normal(0, 0.3, w.shape) for w in network.layers[-1].get_weights()])
    network.save(run.network)


def scores_of(result):
    return {option.name: option for option in result.options}


def test_ensemble_is_kept_only_if_its_mean_gains(run, tmp_path):
    other = Run(tmp_path / "elsewhere/other")
    shutil.copytree(run.folder, other.folder)
    with_other_weights(other, 1)
    networks = networks_of_runs([run.folder, other.folder])
    result = tune_ensemble(networks, tmp_path / "both")
    options = scores_of(result)
    alone = [[mean_of([one], half=half) for one in (run, other)] for half in (0, 1)]
    best = int(np.argmax(alone[0]))
    single, mean = options["best single network"], options["mean of the networks"]
    assert (single.score, single.check_score) == pytest.approx((alone[0][best], alone[1][best]), abs=1e-6)
    expected = [mean_of([run, other], half=half) for half in (0, 1)]
    assert (mean.score, mean.check_score) == pytest.approx(expected, abs=1e-6)
    kept = [path.name for path in load_predictor(tmp_path / "both").members]
    gains = all(expected[half] > alone[half][best] + 1e-4 for half in (0, 1))
    assert mean.on == gains
    assert kept == (["run", "other"] if gains else [["run", "other"][best]])
    assert json.loads((tmp_path / "both/tuning.json").read_text())["networks"] == len(kept)


def mean_of(runs, *, half):
    """Mean IoU of the averaged networks on a half of the first run's validation images, computed independently."""
    engines = [open_engine(run.folder) for run in runs]
    plain, values = engines[0].bundle, parse_mask_values(runs[0].read_recipe().data.mask_values)
    total = 0
    for pair in sorted(runs[0].read_split()["validation"], key=lambda pair: pair.name)[half::2]:
        image = read_image(pair.image)
        probabilities = np.mean([predict_probabilities(engine, image) for engine in engines], axis=0)
        truth = values.encode(read_mask(pair.mask), file=pair.mask)
        total = total + confusion_matrix(truth, plain.decide(probabilities), classes=len(plain.labels), ignore=255)
    names = [label.name for label in plain.labels]
    return Scores.from_confusion(total, names, background=plain.background).mean_iou


def test_partly_shared_images_compare_the_first_network_with_the_mean(run, tmp_path):
    other = Run(tmp_path / "other")
    shutil.copytree(run.folder, other.folder)
    with_other_weights(other, 2)
    split = other.read_split()
    kept = split["validation"][:1]
    other.write_split(train=split["train"] + split["validation"][1:], validation=kept)
    result = tune_ensemble(networks_of_runs([run.folder, other.folder]), tmp_path / "both")
    plain = mean_of([run], half=0)
    options = scores_of(result)
    assert options["each image by the first network it was held out for"].score == pytest.approx(plain, abs=1e-6)
    mean = options["mean of the networks"]
    assert (mean.gain, mean.score) == pytest.approx((mean.score - plain, plain + mean.gain), abs=1e-6)
    assert len(result.networks) == (2 if options["mean of the networks"].on else 1)
    assert result.held_out_images == len(split["validation"])


def test_snapshot_belongs_to_its_run_and_engine_to_none(run, tmp_path):
    snapshot = run.snapshot(1)
    snapshot.mkdir(parents=True)
    for name in ("model.keras", "bundle.json"):
        shutil.copy(run.folder / name, snapshot)
    assert [network.run for network in networks_of_runs([run.folder, snapshot])] == [run, run]
    result = tune_ensemble(networks_of_runs([run.folder, snapshot]), tmp_path / "both")
    assert not scores_of(result)["mean of the networks"].on, "of twice the same network"
    (tmp_path / "engine").mkdir()
    for name in ("model.keras", "bundle.json"):
        shutil.copy(run.folder / name, tmp_path / "engine")
    assert networks_of_runs([run.folder, tmp_path / "engine"]) is None


def test_runs_with_other_classes_are_refused(run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(run.folder, tmp_path / f"series/seed{seed}")
    bundle = Bundle.read(run.folder)
    renamed = (*bundle.labels[:-1], Label(name="other", value=9, colour=(1, 2, 3)))
    bundle.model_copy(update={"labels": renamed}).write(tmp_path / "series/seed1")
    with pytest.raises(WrongEnsemble, match=r"seed1 and .*seed0 differ in their labels; expected "):
        tune(tmp_path / "series")


@pytest.mark.parametrize("found", ["no run", "unfinished runs: run"])
def test_missing_or_unfinished_run_is_an_error(run, tmp_path, found):
    folder = tmp_path / "empty" if found == "no run" else tmp_path
    run.report.unlink()
    with pytest.raises(NothingToTune, match=f"found {found}; expected a finished run"):
        tune(folder)


def test_run_without_validation_images_is_an_error(run):
    split = run.split.read_text().splitlines()
    run.split.write_text("\n".join(line for line in split if ",validation," not in line) + "\n")
    with pytest.raises(NothingHeldOut, match="found no validation images"):
        tune(run.folder)


def test_without_time_one_batch_per_network_is_predicted(run, monkeypatch):
    monkeypatch.setattr(held_out, "BATCH_SIZE", 1)
    images, validated = held_out_images([NetworkOfRun(run.folder, run)], variants=1, folder=run.folder)
    assert len(images) > 1
    with HeldOutPredictions(images, (), 3, folder=run.folder) as predictions:
        indices = [
            index for _, index, _ in predict_held_out(validated, predictions, seconds=0.0, progress=lambda *_: None)
        ]
        assert len(indices) == 1
        assert predictions.predicted_indices == indices
    with HeldOutPredictions(images, (), 3, folder=run.folder) as predictions:
        assert len(list(predict_held_out(validated, predictions, progress=lambda *_: None))) == len(images)


def test_storage_bound_limits_the_number_of_images(run, monkeypatch):
    every = held_out_images([NetworkOfRun(run.folder, run)], variants=1, folder=run.folder)[0]
    pixels = every[0].truth.size * 3
    monkeypatch.setattr(held_out, "_MAX_STORED_VALUES", pixels * (len(every) - 1))
    assert len(held_out_images([NetworkOfRun(run.folder, run)], variants=1, folder=run.folder)[0]) == len(every) - 1


def test_predictions_of_networks_are_averaged_by_transform(tmp_path):
    truths = [np.zeros((4, 5), np.uint8), np.zeros((6, 2), np.uint8)]
    images = [HeldOutImage(PAIR, truths[0], 0), HeldOutImage(PAIR, truths[1], 20)]
    rng = np.random.default_rng(0)
    with HeldOutPredictions(images, ("mirrored", "smaller"), 2, folder=tmp_path) as predictions:
        probabilities = [rng.random((3, *truth.shape, 2)).astype(np.float32) for truth in truths * 2]
        for index, variants in zip((0, 1, 0, 1), probabilities, strict=True):
            for variant, prediction in enumerate(variants):
                predictions.add(index, variant, prediction)
        assert predictions.max_networks_per_image == 2
        for index in (0, 1):
            both = (probabilities[index] + probabilities[index + 2]) / 2
            np.testing.assert_allclose(predictions.mean(index), both[0], atol=1e-6)
            np.testing.assert_allclose(predictions.mean(index, ("smaller",)), both[[0, 2]].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("drawn", "groups"),
    [
        ({"flip": "none", "zoom": 0.0}, {}),
        ({"flip": "vertical", "zoom": 0.1}, {"flips": ("upside_down",)}),
        (
            {"flip": "none", "zoom": 0.0, "rotation": 180},
            {"quarter turns": ("turned_left", "turned_round", "turned_right")},
        ),
        ({"custom": "mine"}, {}),
    ],
)
def test_tried_transforms_follow_the_augmentation(drawn, groups):
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "augmentation": drawn})
    assert transforms_to_try(recipe) == groups


def test_command_tunes_a_run_and_combines_two(run, tmp_path, drawn, maskwright_command):
    code, output, err = maskwright_command("tune", run.folder)
    assert code == 0, err
    assert "fill holes" in output
    assert (run.folder / "tuning.html").is_file()
    twice = [run.folder, run.folder]
    code, output, err = maskwright_command("ensemble", *twice, "--out", tmp_path / "both", "--tuned-by", run.folder)
    assert code == 0, err
    assert "(networks: 2)" in output
    for folder, masks in ((run.folder, tmp_path / "one"), (tmp_path / "both", tmp_path / "two")):
        code, _, err = maskwright_command("predict", folder, drawn / "new/images", "--out", masks)
        assert code == 0, err
    for path in (tmp_path / "one").glob("*.png"):
        np.testing.assert_array_equal(read_mask(path), read_mask(tmp_path / "two" / path.name))
    code, _, err = maskwright_command("ensemble", run.folder, "--out", tmp_path / "both")
    assert code == 1
    assert "--overwrite" in err
    code, _, err = maskwright_command("predict", tmp_path / "both", drawn / "new/images", "--out", tmp_path / "a.tif")
    assert code == 1
    assert "an ensemble predicts whole images" in err


def test_ensemble_command_prints_the_gain_of_the_mean(run, tmp_path, maskwright_command):
    command = ["ensemble", run.folder, run.folder, "--time-budget", "5m", "--out", tmp_path / "both"]
    code, output, err = maskwright_command(*command)
    assert code == 0, err
    assert re.search(r"mean of the networks +(0\.\d{4} +[+-]0\.0000 +){2}off", output)
    assert "(networks: 1)" in output
    assert (tmp_path / "both/tuning.html").is_file()
    code, _, err = maskwright_command(*command)
    assert (code, "--overwrite" in err) == (1, True)
    assert maskwright_command(*command, "--overwrite")[0] == 0
    code, _, err = maskwright_command("ensemble", run.folder, "--time-budget", "soon", "--out", tmp_path / "other")
    assert (code, "--time-budget soon" in err) == (1, True)


def test_ensemble_takes_the_tuning_of_another_folder(run, tmp_path, maskwright_command):
    tuned = Bundle.read(run.folder).model_copy(update={"tta": ("mirrored",), "fill_holes": True})
    shutil.copytree(run.folder, tmp_path / "folds")
    tuned.write(tmp_path / "folds")
    command = ["ensemble", run.folder, run.folder, "--tuned-by", tmp_path / "folds", "--out", tmp_path / "both"]
    code, _, err = maskwright_command(*command)
    assert code == 0, err
    assert Bundle.read(tmp_path / "both") == tuned
    labels = (*tuned.labels[:-1], Label(name="other", value=9, colour=(1, 2, 3)))
    tuned.model_copy(update={"labels": labels}).write(tmp_path / "folds")
    code, _, err = maskwright_command(*command, "--overwrite")
    assert code == 1
    assert "bundle of other classes" in err


def test_gain_is_not_measured_without_held_out_images(run, tmp_path, maskwright_command):
    run.split.unlink()
    code, output, err = maskwright_command("ensemble", run.folder, run.folder, "--out", tmp_path / "both")
    assert code == 0, err
    assert "note: the gain was not measured" in output
    assert "(networks: 2)" in output


def test_one_network_is_in_memory_at_a_time(run, monkeypatch):
    alive = weakref.WeakSet()

    class Held(Brightness):
        pass

    def opened(folder):
        assert not alive
        engine = Held()
        alive.add(engine)
        return engine

    monkeypatch.setattr(held_out, "open_engine", opened)
    images, validated = held_out_images([NetworkOfRun(run.folder, run)] * 3, variants=2, folder=run.folder)
    gray = {index: gray_pair(run.folder, index, images) for index in range(len(images))}
    validated = [replace(network, pairs=gray) for network in validated]
    with HeldOutPredictions(images, ("mirrored",), 1, folder=run.folder) as predictions:
        assert len(list(predict_held_out(validated, predictions, progress=lambda *_: None))) == 3 * len(images)


def gray_pair(folder, index, images):
    file = folder / f"gray{index}.png"
    Image.fromarray(np.full(images[index].truth.shape, 128, np.uint8)).save(file)
    return Pair(file.stem, file, file)


def test_snapshot_has_the_mask_values_of_its_run(run):
    recipe = run.read_recipe().changed("data", mask_suffix="_mask")
    run.recipe.write_text(recipe.to_yaml())
    snapshot = run.snapshot(2)
    snapshot.mkdir(parents=True)
    assert _training_masks(snapshot, Bundle.read(run.folder)) == (recipe.data.mask_values, "_mask")


def test_only_common_transforms_are_tried():
    flipped = Recipe.from_dict({"data": {"images": "i", "masks": "m"}})
    plain = flipped.changed("augmentation", flip="none")
    assert common_transforms([flipped]).keys() == {"flips", "scales"}
    assert common_transforms([flipped, plain]).keys() == {"scales"}


class Scored:
    """A scorer whose masks are numbers: the score of a mask is the number itself, on both halves."""

    def __init__(self, mean, max_networks_per_image=2):
        self.mean = mean
        self.predicted = SimpleNamespace(max_networks_per_image=max_networks_per_image)

    def score(self, predictions):
        masks = [mask for _, mask in predictions]
        return HalfScores(sum(masks) / len(masks), sum(masks) / len(masks))

    def mask(self, index):
        return self.mean[index]

    def score_transforms(self, transforms):
        return self.score(self.mean.items())


@pytest.mark.parametrize(
    ("masks", "mean", "max_networks_per_image", "same_images", "expected"),
    [
        ([{0: 0.5}], {0: 0.5}, 1, True, ([], [], [0])),
        ([{0: 0.5}, {1: 0.7}], {0: 0.5, 1: 0.7}, 1, False, ([0.6, None], [True, True], [0, 1])),
        ([{0: 0.5}, {0: 0.7}], {0: 0.8}, 2, True, ([0.7, 0.8], [True, True], [0, 1])),
        ([{0: 0.5}, {0: 0.7}], {0: 0.6}, 2, True, ([0.7, 0.6], [True, False], [1])),
        ([{0: 0.5, 1: 0.1}, {0: 0.7}], {0: 0.6, 1: 0.9}, 2, True, ([0.7, 0.6], [True, False], [1])),  # short time
        ([{0: 0.5, 1: 0.6}, {1: 0.1}], {0: 0.5, 1: 0.4}, 2, False, ([0.55, 0.45], [True, False], [0])),
        ([{0: 0.5, 1: 0.6}, {1: 0.1}, {2: 0.4}], {0: 0.5, 1: 0.3, 2: 0.4}, 2, False, ([0.5, 0.4], [True, 0], [0, 2])),
        ([{0: 0.5, 1: 0.6}, {1: 0.1, 2: 0.4}], {0: 0.5, 1: 0.3, 2: 0.4}, 2, False, ([0.5, 0.4], [True, True], [0, 1])),
    ],
)  # fmt: skip
def test_mean_is_kept_if_it_gains_or_is_not_measurable(masks, mean, max_networks_per_image, same_images, expected):
    options, kept = compare_networks(Scored(mean, max_networks_per_image), masks, same_images=same_images)
    scores, on, expected_networks = expected
    assert [option.score for option in options] == [None if score is None else pytest.approx(score) for score in scores]
    assert [option.on for option in options] == on
    assert kept == expected_networks


def test_new_ensemble_or_run_removes_old_tuning_files(run, tmp_path):
    for name in (TUNING_FILE, TUNING_PAGE):
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "both" / name).touch()
        (run.folder / name).touch()
    write_ensemble(tmp_path / "both", [run.folder])
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["bundle.json", "ensemble.json"]
    run.discard()
    assert not [path for path in run.folder.rglob("*") if path.is_file() and path.name[0] != "."]


def test_runs_with_missing_images_are_not_measured(run):
    held = run.read_split()["validation"][0]
    run.write_split(train=[], validation=[replace(held, image=run.folder / "gone.png")])
    assert networks_of_runs([run.folder]) is None
