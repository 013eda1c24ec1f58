"""Deciding for real runs: alone, of several classes, and of networks that share their images."""

import json
import re
import shutil
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.images.labels import Label
from maskwright.images.read import read_image, read_mask
from maskwright.images.write import write_text
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import open_engine
from maskwright.inference.engines.keras import load_network
from maskwright.inference.ensemble import DECISION_FILE, DECISION_PAGE, WrongEnsemble, write_ensemble
from maskwright.inference.load_predictor import open_predictor
from maskwright.inference.predict_image import predict_probabilities
from maskwright.metrics.scores import Scores, confusion_matrix
from maskwright.segmenter import _training_masks
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.tune import held_out as module
from maskwright.tune.held_out import Answers, Known, Network, NothingHeldOut, asked, held_out, networks_with_runs
from maskwright.tune.tune import (
    NothingToDecide,
    _compared,
    decide,
    decide_ensemble,
    views_in_common,
    views_worth_trying,
)
from tests.inference.fake_engines import Brightness


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def test_a_run_predicts_and_scores_as_was_decided(run):
    before = run.read_scores()["scores"]["mean_iou"]
    decision = decide(run.folder)
    stored = json.loads((run.folder / "decision.json").read_text())
    names = [line["name"] for line in stored["tried"]]
    assert names[0] == "as trained"
    assert stored["tried"][0]["score"] == pytest.approx(before, abs=1e-6)
    assert [name for name in names if ", its own IoU, of parts of " in name], "each class has a line of its own"
    for line in stored["tried"][1:]:
        assert line["on"] == (line["gain"] > 1e-4)
    bundle = Bundle.read(run.folder)
    assert (list(bundle.views), bundle.fill_holes) == (stored["views"], stored["fill_holes"])
    assert run.read_scores()["scores"]["mean_iou"] == pytest.approx(decision.score, abs=1e-6)
    predictor, pairs = open_predictor(run.folder), run.read_split()["validation"]
    values = json.loads((run.folder / "scores.json").read_text())["scores"]["mean_iou"]
    again = evaluate_pairs(predictor, pairs, mask_values=parse_mask_values(run.read_recipe().data.mask_values))
    assert again.scores.mean_iou == pytest.approx(values)
    assert all((run.validation / f"{pair.name}.png").is_file() for pair in pairs)
    assert run.report.is_file()


def test_deciding_again_begins_from_what_was_trained(run):
    first = decide(run.folder)
    Bundle.read(run.folder).model_copy(update={"views": ("upside_down",), "fill_holes": True}).write(
        run.folder, write_text
    )
    assert decide(run.folder).bundle == first.bundle


def test_a_mean_that_gains_nothing_is_off_and_the_best_network_is_left(run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(run.folder, tmp_path / f"series/seed{seed}")
    decision = decide(tmp_path / "series")
    named = {line.name: line for line in decision.lines}
    assert named["their mean"].gain == pytest.approx(0, abs=1e-6)
    assert not named["their mean"].on
    predictor = open_predictor(tmp_path / "series")
    assert [path.name for path in predictor.members] == ["seed0"]
    image = run.read_split()["validation"][0].image
    assert read_mask(run.validation / f"{image.stem}.png").shape


def with_other_weights(run, seed):
    """Let a run's network say something else, so that a mean with it differs."""
    network, rng = load_network(run.network), np.random.default_rng(seed)
    network.layers[-1].set_weights([w + rng.normal(0, 0.3, w.shape) for w in network.layers[-1].get_weights()])
    network.save(run.network)


def scores_of(decision):
    return {line.name: line for line in decision.lines}


def test_an_ensemble_of_any_runs_is_scored_on_what_was_held_out_of_all_and_kept_only_if_it_gains(run, tmp_path):
    other = Run(tmp_path / "elsewhere/other")
    shutil.copytree(run.folder, other.folder)
    with_other_weights(other, 1)
    networks = networks_with_runs([run.folder, other.folder])
    decision = decide_ensemble(networks, tmp_path / "both")
    lines = scores_of(decision)
    alone = [mean_of([run]), mean_of([other])]
    assert lines["the best network alone"].score == pytest.approx(max(alone), abs=1e-6)
    mean = mean_of([run, other])
    assert lines["their mean"].score == pytest.approx(mean, abs=1e-6)
    kept = [path.name for path in open_predictor(tmp_path / "both").members]
    gains = mean > max(alone) + 1e-4
    assert lines["their mean"].on == gains
    assert kept == (["run", "other"] if gains else [["run", "other"][int(np.argmax(alone))]])
    assert json.loads((tmp_path / "both/decision.json").read_text())["networks"] == len(kept)


def mean_of(runs):
    """The mean IoU of the mean of some runs' networks on the validation images of the first, by itself."""
    engines = [open_engine(one.folder) for one in runs]
    plain, values = engines[0].bundle, parse_mask_values(runs[0].read_recipe().data.mask_values)
    total = 0
    for pair in runs[0].read_split()["validation"]:
        image = read_image(pair.image)
        said = np.mean([predict_probabilities(engine, image) for engine in engines], axis=0)
        truth = values.encode(read_mask(pair.mask), file=pair.mask)
        total = total + confusion_matrix(truth, plain.decide(said), classes=len(plain.labels), ignore=255)
    names = [label.name for label in plain.labels]
    return Scores.from_confusion(total, names, background=plain.background).mean_iou


def test_where_runs_share_some_of_their_images_the_first_that_holds_one_out_stands_against_the_mean(run, tmp_path):
    other = Run(tmp_path / "other")
    shutil.copytree(run.folder, other.folder)
    with_other_weights(other, 2)
    split = other.read_split()
    kept = split["validation"][:1]
    other.write_split(train=split["train"] + split["validation"][1:], validation=kept)
    decision = decide_ensemble(networks_with_runs([run.folder, other.folder]), tmp_path / "both")
    plain = mean_of([run])
    lines = scores_of(decision)
    assert lines["each image by the first network it was held out of"].score == pytest.approx(plain, abs=1e-6)
    assert lines["their mean"].gain == pytest.approx(lines["their mean"].score - plain, abs=1e-6)
    assert len(decision.chosen) == (2 if lines["their mean"].on else 1)
    assert decision.of == len(split["validation"])


def test_a_snapshot_is_of_the_run_it_lies_in_and_an_engine_of_none(run, tmp_path):
    snapshot = run.snapshot(1)
    snapshot.mkdir(parents=True)
    for name in ("model.keras", "bundle.json"):
        shutil.copy(run.folder / name, snapshot)
    assert [network.run for network in networks_with_runs([run.folder, snapshot])] == [run, run]
    decision = decide_ensemble(networks_with_runs([run.folder, snapshot]), tmp_path / "both")
    assert not scores_of(decision)["their mean"].on, "of twice the same network"
    (tmp_path / "engine").mkdir()
    for name in ("model.keras", "bundle.json"):
        shutil.copy(run.folder / name, tmp_path / "engine")
    assert networks_with_runs([run.folder, tmp_path / "engine"]) is None


def test_runs_of_other_classes_are_refused_before_any_is_asked(run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(run.folder, tmp_path / f"series/seed{seed}")
    bundle = Bundle.read(run.folder)
    renamed = (*bundle.labels[:-1], Label(name="other", value=9, colour=(1, 2, 3)))
    bundle.model_copy(update={"labels": renamed}).write(tmp_path / "series/seed1", write_text)
    with pytest.raises(WrongEnsemble, match="differ in their labels"):
        decide(tmp_path / "series")


@pytest.mark.parametrize("found", ["no run", "run not finished"])
def test_what_is_no_finished_run_is_named(run, tmp_path, found):
    folder = tmp_path / "empty" if found == "no run" else tmp_path
    run.report.unlink()
    with pytest.raises(NothingToDecide, match=f"found {found}; expected a finished run"):
        decide(folder)


def test_a_run_that_held_out_nothing_is_named(run):
    split = run.split.read_text().splitlines()
    run.split.write_text("\n".join(line for line in split if ",validation," not in line) + "\n")
    with pytest.raises(NothingHeldOut, match="found no validation images"):
        decide(run.folder)


def test_in_no_time_a_few_images_of_each_network_are_asked(run, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 1)
    known, validated = held_out([Network(run.folder, run)], ways=1)
    assert len(known) > 1
    with Answers(known, (), 3, beside=run.folder) as answers:
        places = [place for _, place, _ in asked(validated, answers, seconds=0.0, progress=lambda *_: None)]
        assert len(places) == 1
        assert answers.places == places
    with Answers(known, (), 3, beside=run.folder) as answers:
        assert len(list(asked(validated, answers, progress=lambda *_: None))) == len(known)


def test_of_more_than_would_fit_some_evenly_spread_are_asked(run, monkeypatch):
    every = held_out([Network(run.folder, run)], ways=1)[0]
    pixels = every[0].truth.size * 3
    monkeypatch.setattr(module, "_MOST_NUMBERS", pixels * (len(every) - 1))
    assert len(held_out([Network(run.folder, run)], ways=1)[0]) == len(every) - 1


def test_answers_of_several_networks_are_averaged_way_by_way(tmp_path):
    truths = [np.zeros((4, 5), np.uint8), np.zeros((6, 2), np.uint8)]
    known = [Known("a", truths[0], 0), Known("b", truths[1], 20)]
    rng = np.random.default_rng(0)
    with Answers(known, ("mirrored", "smaller"), 2, beside=tmp_path) as answers:
        said = [rng.random((3, *truth.shape, 2)).astype(np.float32) for truth in truths * 2]
        for place, ways in zip((0, 1, 0, 1), said, strict=True):
            for way, answer in enumerate(ways):
                answers.add(place, way, answer)
        assert answers.most_asked == 2
        for place in (0, 1):
            both = (said[place] + said[place + 2]) / 2
            np.testing.assert_allclose(answers.mean(place), both[0], atol=1e-6)
            np.testing.assert_allclose(answers.mean(place, ("smaller",)), both[[0, 2]].mean(axis=0), atol=1e-6)


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
def test_only_views_like_those_of_the_training_are_tried(drawn, groups):
    recipe = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "augmentation": drawn})
    assert views_worth_trying(recipe) == groups


def test_from_the_command_line(run, tmp_path, drawn, maskwright_command):
    code, told, err = maskwright_command("decide", run.folder)
    assert code == 0, err
    assert "holes filled" in told
    assert (run.folder / "decision.html").is_file()
    twice = [run.folder, run.folder]
    code, told, err = maskwright_command("ensemble", *twice, "--out", tmp_path / "both", "--decided", run.folder)
    assert code == 0, err
    assert "(networks: 2)" in told
    for folder, masks in ((run.folder, tmp_path / "one"), (tmp_path / "both", tmp_path / "two")):
        code, _, err = maskwright_command("predict", folder, drawn / "new/images", "--out", masks)
        assert code == 0, err
    for path in (tmp_path / "one").glob("*.png"):
        np.testing.assert_array_equal(read_mask(path), read_mask(tmp_path / "two" / path.name))
    code, _, err = maskwright_command("ensemble", run.folder, "--out", tmp_path / "both")
    assert code == 1
    assert "it holds" in err
    code, _, err = maskwright_command("predict", tmp_path / "both", drawn / "new/images", "--out", tmp_path / "a.tif")
    assert code == 1
    assert "an ensemble predicts whole images" in err


def test_an_ensemble_tells_what_its_mean_gains(run, tmp_path, maskwright_command):
    command = ["ensemble", run.folder, run.folder, "--time-budget", "5m", "--out", tmp_path / "both"]
    code, told, err = maskwright_command(*command)
    assert code == 0, err
    assert re.search(r"their mean +0\.\d{4} +[+-]0\.0000 +off", told)
    assert "(networks: 1)" in told
    assert (tmp_path / "both/decision.html").is_file()
    code, _, err = maskwright_command(*command)
    assert (code, "expected a new folder, or --overwrite" in err) == (1, True)
    assert maskwright_command(*command, "--overwrite")[0] == 0
    code, _, err = maskwright_command("ensemble", run.folder, "--time-budget", "soon", "--out", tmp_path / "other")
    assert (code, "--time-budget soon" in err) == (1, True)


def test_engines_of_folds_take_the_decision_of_the_folds(run, tmp_path, maskwright_command):
    decided = Bundle.read(run.folder).model_copy(update={"views": ("mirrored",), "fill_holes": True})
    shutil.copytree(run.folder, tmp_path / "folds")
    decided.write(tmp_path / "folds", write_text)
    command = ["ensemble", run.folder, run.folder, "--decided", tmp_path / "folds", "--out", tmp_path / "both"]
    code, _, err = maskwright_command(*command)
    assert code == 0, err
    assert Bundle.read(tmp_path / "both") == decided
    labels = (*decided.labels[:-1], Label(name="other", value=9, colour=(1, 2, 3)))
    decided.model_copy(update={"labels": labels}).write(tmp_path / "folds", write_text)
    code, _, err = maskwright_command(*command, "--overwrite")
    assert code == 1
    assert "a decision for other classes" in err


def test_of_what_knows_no_held_out_images_no_gain_is_told(run, tmp_path, maskwright_command):
    run.split.unlink()
    code, told, err = maskwright_command("ensemble", run.folder, run.folder, "--out", tmp_path / "both")
    assert code == 0, err
    assert "Not measured what this gains" in told
    assert "(networks: 2)" in told


def test_one_network_is_in_memory_at_a_time(run, monkeypatch):
    alive = weakref.WeakSet()

    class Held(Brightness):
        pass

    def opened(folder):
        assert not alive
        engine = Held()
        alive.add(engine)
        return engine

    monkeypatch.setattr(module, "open_engine", opened)
    known, validated = held_out([Network(run.folder, run)] * 3, ways=2)
    gray = {place: gray_pair(run.folder, place, known) for place in range(len(known))}
    validated = [replace(one, pairs=gray) for one in validated]
    with Answers(known, ("mirrored",), 1, beside=run.folder) as answers:
        assert len(list(asked(validated, answers, progress=lambda *_: None))) == 3 * len(known)


def gray_pair(folder, place, known):
    file = folder / f"gray{place}.png"
    Image.fromarray(np.full(known[place].truth.shape, 128, np.uint8)).save(file)
    return Pair(file.stem, file, file)


def test_masks_of_a_snapshot_mean_what_they_mean_for_its_run(run):
    recipe = run.read_recipe().changed("data", mask_suffix="_mask")
    run.recipe.write_text(recipe.to_yaml())
    snapshot = run.snapshot(2)
    snapshot.mkdir(parents=True)
    assert _training_masks(snapshot, Bundle.read(run.folder)) == (recipe.data.mask_values, "_mask")


def test_only_what_all_networks_were_trained_with_is_tried():
    flipped = Recipe.from_dict({"data": {"images": "i", "masks": "m"}})
    plain = flipped.changed("augmentation", flip="none")
    assert views_in_common([flipped]).keys() == {"flips", "scales"}
    assert views_in_common([flipped, plain]).keys() == {"scales"}


class Scored:
    """A judge for whom a mask is its own score, and who knows that of the mean at each place."""

    def __init__(self, mean, most_asked=2):
        self.mean = mean
        self.answers = SimpleNamespace(most_asked=most_asked)

    def of(self, predictions):
        return sum(prediction for _, prediction in predictions) / len(predictions)

    def prediction(self, place, views):
        return self.mean[place]

    def with_views(self, views):
        return self.of(self.mean.items())


@pytest.mark.parametrize(
    ("said", "mean", "most_asked", "is_shared", "expected"),
    [
        ([{0: 0.5}], {0: 0.5}, 1, True, ([0.5], [True], [0])),
        ([{0: 0.5}, {1: 0.7}], {0: 0.5, 1: 0.7}, 1, False, ([0.6, None], [True, True], [0, 1])),
        ([{0: 0.5}, {0: 0.7}], {0: 0.8}, 2, True, ([0.7, 0.8], [True, True], [0, 1])),
        ([{0: 0.5}, {0: 0.7}], {0: 0.6}, 2, True, ([0.7, 0.6], [True, False], [1])),
        ([{0: 0.5, 1: 0.1}, {0: 0.7}], {0: 0.6, 1: 0.9}, 2, True, ([0.7, 0.6], [True, False], [1])),  # fewer were asked
        ([{0: 0.5, 1: 0.6}, {1: 0.1}], {0: 0.5, 1: 0.4}, 2, False, ([0.55, 0.45], [True, False], [0])),
        ([{0: 0.5, 1: 0.6}, {1: 0.1}, {2: 0.4}], {0: 0.5, 1: 0.3, 2: 0.4}, 2, False, ([0.5, 0.4], [True, 0], [0, 2])),
        ([{0: 0.5, 1: 0.6}, {1: 0.1, 2: 0.4}], {0: 0.5, 1: 0.3, 2: 0.4}, 2, False, ([0.5, 0.4], [True, True], [0, 1])),
    ],
)  # fmt: skip
def test_a_mean_is_kept_where_it_gains_or_cannot_be_done_without(said, mean, most_asked, is_shared, expected):
    lines, kept = _compared(Scored(mean, most_asked), said, is_shared=is_shared)
    scores, on, left = expected
    assert [line.score for line in lines] == [None if one is None else pytest.approx(one) for one in scores]
    assert [line.on for line in lines] == on
    assert kept == left


def test_no_decision_outlives_the_ensemble_or_the_run_it_was_made_for(run, tmp_path):
    for name in (DECISION_FILE, DECISION_PAGE):
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "both" / name).touch()
        (run.folder / name).touch()
    write_ensemble(tmp_path / "both", [run.folder])
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["bundle.json", "ensemble.json"]
    run.discard()
    assert not [path for path in run.folder.rglob("*") if path.is_file() and path.name[0] != "."]


def test_runs_whose_images_are_elsewhere_are_averaged_unmeasured(run):
    held = run.read_split()["validation"][0]
    run.write_split(train=[], validation=[replace(held, image=run.folder / "gone.png")])
    assert networks_with_runs([run.folder]) is None
