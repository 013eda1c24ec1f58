"""Folds and seeds: what each is trained on, going on with what is there, and the scores of all together."""

import json

import pytest

from maskwright.errors import InputError
from maskwright.training.folds_and_seeds import BudgetForTooMany, OtherSeries, by_fold, by_seed, summarise, train_series
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import OutputNotEmpty, Run
from tests.inference.fake_engines import bundle


def recipe(**training):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"epochs": 3} | training})


def pretend(reached, trained):
    """Writes what a complete training leaves behind, with a score for each in turn."""
    scores = iter(reached)

    def train(member, folder):
        trained.append(folder.name)
        run = Run(folder)
        run.begin(member.to_yaml(), asked=member.to_yaml())
        hits = next(scores)
        pixels = {"hits": [50, hits], "truth": [60, 100], "predicted": [80, 120]}
        iou = hits / (220 - hits)
        told = {"scores": {"mean_iou": iou, "classes": [{"name": "cell", "iou": iou}]}, "images": [{"pixels": pixels}]}
        run.scores.write_text(json.dumps(told))
        bundle().write(folder, lambda file, text: file.write_text(text))
        run.facts.write_text(json.dumps({"stopped_by": "schedule"}))
        run.report.write_text("")

    return train


def test_folds_hold_out_each_part_and_share_out_the_time():
    members = by_fold(recipe(epochs=None, time_budget=600), 3)
    assert [(one.name, one.recipe.data.fold, one.recipe.training.time_budget) for one in members] == [
        ("fold1", (1, 3), 185), ("fold2", (2, 3), 185), ("fold3", (3, 3), 185),
    ]  # fmt: skip
    with pytest.raises(BudgetForTooMany, match=r"60 s .* 5 trainings: each takes 30 s .* end 75 s\. Give 225 s"):
        by_fold(recipe(epochs=None, time_budget=60), 5)


def test_seeds_differ_in_all_but_the_split():
    members = by_seed(recipe(seed=7), 2)
    assert [(one.name, one.recipe.training.seed, one.recipe.data.split_seed) for one in members] == [
        ("seed7", 7, 7), ("seed8", 8, 7),
    ]  # fmt: skip


def test_the_summary_pools_pixels_and_tells_the_spread(tmp_path):
    trained, said = [], []
    summary = train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), trained), say=said.append)
    assert trained == ["fold1", "fold2"]
    one, two = 80 / 140, 40 / 180
    assert summary.members == {"fold1": pytest.approx(one), "fold2": pytest.approx(two)}
    assert summary.mean == pytest.approx((one + two) / 2)
    assert summary.spread == pytest.approx(abs(one - two) / 2**0.5)
    assert summary.pooled == summary.classes["cell"] == pytest.approx(120 / (200 + 240 - 120))
    assert json.loads((tmp_path / "summary.json").read_text())["pooled"] == pytest.approx(120 / 320)


def test_the_same_series_again_trains_what_is_missing(tmp_path):
    trained, said = [], []
    train_series(by_fold(recipe(), 2)[:1], tmp_path, train=pretend((80,), trained), say=said.append)
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((40,), trained), say=said.append)
    assert trained == ["fold1", "fold2"]
    assert "fold1: complete" in said


def test_what_was_interrupted_is_not_summed_up(tmp_path):
    def stopped(member, folder):
        Run(folder).begin(member.to_yaml(), asked=member.to_yaml())

    with pytest.raises(KeyboardInterrupt):
        train_series(by_fold(recipe(), 2), tmp_path, train=stopped, say=lambda line: None)
    assert not (tmp_path / "summary.json").exists()


def test_other_trainings_and_other_files_are_left_alone(tmp_path):
    trained = []
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), trained), say=lambda line: None)
    with pytest.raises(OtherSeries, match=r"holds other trainings \(fold1, fold2\); name another folder"):
        train_series(by_fold(recipe(epochs=4), 2), tmp_path, train=pretend((), trained), say=lambda line: None)
    with pytest.raises(OutputNotEmpty, match="it has fold1, fold2"):
        train_series(by_seed(recipe(), 2), tmp_path, train=pretend((), trained), say=lambda line: None)
    assert trained == ["fold1", "fold2"]


def test_a_class_that_is_nowhere_does_not_count(tmp_path):
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), []), say=lambda line: None)
    for name in ("fold1", "fold2"):
        file = tmp_path / name / "scores.json"
        told = json.loads(file.read_text())
        told["images"][0]["pixels"] = {"hits": [50, 0], "truth": [60, 0], "predicted": [80, 0]}
        file.write_text(json.dumps(told))
    summary = summarise([Run(tmp_path / name) for name in ("fold1", "fold2")])
    assert (summary.pooled, summary.classes) == (None, {"cell": None})


def test_without_a_time_the_usual_one_is_shared_out():
    assert [one.recipe.training.time_budget for one in by_seed(recipe(epochs=None), 2)] == [900, 900]


def test_folds_have_no_validation_folders():
    given = Recipe.from_dict({"data": {"images": "i", "masks": "m", "val_images": "v", "val_masks": "w"}})
    with pytest.raises(WrongRecipe, match="not be given together with val_images"):
        by_fold(given, 3)


def test_a_fold_beyond_the_last_is_refused():
    with pytest.raises(InputError, match=r"fold must be such as \[1, 5\]"):
        Recipe.from_dict({"data": {"images": "i", "masks": "m", "fold": [6, 5]}})
