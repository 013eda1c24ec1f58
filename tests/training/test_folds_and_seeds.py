"""Folds and seeds: their recipes, continuing an interrupted series, and the pooled scores."""

import json

import pytest

from maskwright.errors import InputError
from maskwright.images.output_folder import OutputNotEmpty
from maskwright.training.folds_and_seeds import BudgetForTooMany, OtherSeries, by_fold, by_seed, summarise, train_series
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run
from maskwright.training.run_records import write_facts, write_scores
from tests.inference.fake_engines import bundle
from tests.training.run_files import run_facts, run_scores


def recipe(**training):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"epochs": 3} | training})


def confusion(true_positives):
    """Return counts with 100 true and 120 predicted pixels of class 1."""
    return [[50, 120 - true_positives], [100 - true_positives, true_positives]]


def pretend(true_positives, trained):
    """Return a function that writes the files of a complete training, with each number of true positives in turn."""
    scores = iter(true_positives)

    def train(member, folder):
        trained.append(folder.name)
        run = Run(folder)
        run.begin(member.to_yaml(), requested=member.to_yaml())
        write_scores(run.scores, run_scores(confusion(next(scores))))
        bundle().write(folder)
        write_facts(run.facts, run_facts())
        run.report.write_text("")

    return train


def test_folds_are_held_out_in_turn_and_share_the_time():
    members = by_fold(recipe(epochs=None, time_budget=600), 3)
    assert [(one.name, one.recipe.data.fold, one.recipe.training.time_budget) for one in members] == [
        ("fold1", (1, 3), 185), ("fold2", (2, 3), 185), ("fold3", (3, 3), 185),
    ]  # fmt: skip
    with pytest.raises(BudgetForTooMany, match=r"60 s .* 5 training runs: .* 30 s.* 75 s\. Give 225 s"):
        by_fold(recipe(epochs=None, time_budget=60), 5)


def test_seeds_share_the_split():
    members = by_seed(recipe(seed=7), 2)
    assert [(one.name, one.recipe.training.seed, one.recipe.data.split_seed) for one in members] == [
        ("seed7", 7, 7), ("seed8", 8, 7),
    ]  # fmt: skip


def test_the_summary_pools_pixels_and_has_the_standard_deviation(tmp_path):
    trained, messages = [], []
    summary = train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), trained), report=messages.append)
    assert trained == ["fold1", "fold2"]
    one, two = 80 / 140, 40 / 180
    assert summary.members == {"fold1": pytest.approx(one), "fold2": pytest.approx(two)}
    assert summary.mean == pytest.approx((one + two) / 2)
    assert summary.standard_deviation == pytest.approx(abs(one - two) / 2**0.5)
    assert summary.pooled == summary.classes["cell"] == pytest.approx(120 / (200 + 240 - 120))
    assert json.loads((tmp_path / "summary.json").read_text())["pooled"] == pytest.approx(120 / 320)


def test_a_repeated_series_trains_only_what_is_missing(tmp_path):
    trained, messages = [], []
    train_series(by_fold(recipe(), 2)[:1], tmp_path, train=pretend((80,), trained), report=messages.append)
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((40,), trained), report=messages.append)
    assert trained == ["fold1", "fold2"]
    assert "fold1: complete" in messages


def test_an_interrupted_series_has_no_summary(tmp_path):
    def stopped(member, folder):
        Run(folder).begin(member.to_yaml(), requested=member.to_yaml())

    with pytest.raises(KeyboardInterrupt):
        train_series(by_fold(recipe(), 2), tmp_path, train=stopped, report=lambda line: None)
    assert not (tmp_path / "summary.json").exists()


def test_other_trainings_and_other_files_are_not_changed(tmp_path):
    trained = []
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), trained), report=lambda line: None)
    with pytest.raises(OtherSeries, match=r"other training runs \(fold1, fold2\)"):
        train_series(by_fold(recipe(epochs=4), 2), tmp_path, train=pretend((), trained), report=lambda line: None)
    with pytest.raises(OutputNotEmpty, match="fold1, fold2"):
        train_series(by_seed(recipe(), 2), tmp_path, train=pretend((), trained), report=lambda line: None)
    assert trained == ["fold1", "fold2"]


def test_a_class_without_pixels_does_not_count(tmp_path):
    train_series(by_fold(recipe(), 2), tmp_path, train=pretend((80, 40), []), report=lambda line: None)
    for name in ("fold1", "fold2"):
        write_scores(Run(tmp_path / name).scores, run_scores([[50, 0], [0, 0]]))
    summary = summarise([Run(tmp_path / name) for name in ("fold1", "fold2")])
    assert (summary.pooled, summary.classes) == (None, {"background": 1.0, "cell": None})


def test_without_a_time_budget_the_default_one_is_shared():
    assert [one.recipe.training.time_budget for one in by_seed(recipe(epochs=None), 2)] == [900, 900]


def test_folds_cannot_have_validation_folders():
    given = Recipe.from_dict({"data": {"images": "i", "masks": "m", "val_images": "v", "val_masks": "w"}})
    with pytest.raises(WrongRecipe, match="cannot be combined with val_images"):
        by_fold(given, 3)


def test_a_fold_after_the_last_is_an_error():
    with pytest.raises(InputError, match=r"fold must be such as \[1, 5\]"):
        Recipe.from_dict({"data": {"images": "i", "masks": "m", "fold": [6, 5]}})
