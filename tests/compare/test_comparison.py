"""Comparisons: comparable runs, shared images, scores, differences and notes."""

import json
import re

import numpy as np
import pytest

from maskwright.compare import compare_runs
from maskwright.compare.errors import ClassesDiffer, MasksDiffer, NoSharedImages, TooFewRuns
from maskwright.compare.text import costs, difference, differing_settings, format_interval
from maskwright.metrics.scores import Scores
from tests.compare.runs_to_compare import CLASSES, change_json, confusion, drawn_masks, write_run

NAMES = [f"{number:02}" for number in range(24)]


def runs_of(tmp_path, **masks):
    return [write_run(tmp_path / name, drawn) for name, drawn in masks.items()]


@pytest.fixture
def pair(tmp_path):
    """A run, and one that errs less on the same images."""
    return runs_of(tmp_path, rough=drawn_masks(NAMES, wrong=0.4), fine=drawn_masks(NAMES, wrong=0.2))


def test_scores_match_the_masks_and_differences_are_from_the_first_run(pair):
    comparison = compare_runs(pair)
    rough, fine = (
        Scores.from_confusion(confusion(drawn_masks(NAMES, wrong=wrong), 3), CLASSES, background=True)
        for wrong in (0.4, 0.2)
    )
    assert [measure.name for measure in comparison.measures] == ["mean IoU", *CLASSES]
    for measure, first, second in zip(
        comparison.measures,
        [rough.mean_iou, *(score.iou for score in rough.classes)],
        [fine.mean_iou, *(score.iou for score in fine.classes)],
        strict=True,
    ):
        assert [run.run for run in measure.runs] == ["rough", "fine"]
        assert [run.score.value for run in measure.runs] == pytest.approx([first, second], rel=1e-12)
        assert measure.runs[0].difference is None
        assert measure.runs[1].difference.value == pytest.approx(second - first, rel=1e-9)
        for run in measure.runs:
            assert run.score.interval[0] < run.score.value < run.score.interval[1]


def test_the_interval_of_a_paired_difference_is_narrower_than_unpaired(pair):
    first, second = compare_runs(pair).measures[0].runs
    unpaired = np.hypot(*(np.ptp(run.score.interval) for run in (first, second)))
    assert np.ptp(second.difference.interval) < unpaired / 1.5
    assert second.difference.excludes_zero


def test_swapping_the_runs_negates_the_difference(pair):
    forward, backward = (compare_runs(runs).measures[0].runs[1].difference for runs in (pair, pair[::-1]))
    assert forward.value == pytest.approx(-backward.value)
    assert forward.interval == pytest.approx([-backward.interval[1], -backward.interval[0]])


def test_only_shared_images_are_scored_and_others_are_counted_in_a_note(tmp_path):
    few = drawn_masks(NAMES[4:], wrong=0.4)
    part, shuffled = runs_of(tmp_path, part=few, whole=dict(reversed(drawn_masks([*NAMES, "x"], wrong=0.2).items())))
    alone = write_run(tmp_path / "alone", drawn_masks(NAMES[4:], wrong=0.2))
    comparison = compare_runs([part, shuffled])
    assert comparison.shared == tuple(NAMES[4:])
    assert re.search(r"\b20 validation images\b.*: 5 of whole\.", comparison.notes[0])
    scores = [run.measures[0].runs[1].score.value for run in (comparison, compare_runs([part, alone]))]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_runs_without_a_common_image_are_an_error(tmp_path):
    runs = runs_of(
        tmp_path, a=drawn_masks("12", wrong=0.2), b=drawn_masks("23", wrong=0.2), c=drawn_masks("13", wrong=0)
    )
    with pytest.raises(NoSharedImages, match=r"a, .*b, .*c: .*--val-images"):
        compare_runs(runs)


def test_different_classes_and_another_class_order_are_errors(tmp_path):
    masks = drawn_masks("12", wrong=0.2)
    first, other = (
        write_run(tmp_path / "a", masks),
        write_run(tmp_path / "b", masks, classes=("background", "cell", "vein")),
    )
    with pytest.raises(
        ClassesDiffer, match=r"b: .*background, cell, vein \(background first\), .*a.*background, cell, fibre"
    ):
        compare_runs([first, other])
    reordered = write_run(tmp_path / "c", masks, classes=("background", "fibre", "cell"))
    with pytest.raises(ClassesDiffer, match=r"c: .*background, fibre, cell"):
        compare_runs([first, reordered])


def test_a_class_named_background_differs_from_the_background(pair):
    stored = json.loads((pair[1] / "scores.json").read_text())
    change_json(pair[1] / "scores.json", scores={**stored["scores"], "background": False})
    with pytest.raises(
        ClassesDiffer, match=r"fine: .*background, cell, fibre, .*rough .*background, cell, fibre \(background first\)"
    ):
        compare_runs(pair)


def test_different_masks_of_one_name_are_an_error(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.2, seed=9))
    with pytest.raises(MasksDiffer, match=r"b: .*\b1\b.* .*a \(3 of 3 .*--val-masks"):
        compare_runs(runs)


def test_fewer_than_two_runs_or_a_repeated_run_are_an_error(pair):
    for given in ([], pair[:1], [pair[0], pair[1], pair[0] / "../rough"]):
        with pytest.raises(TooFewRuns, match="two or more"):
            compare_runs(given)


def test_runs_of_one_folder_name_are_named_by_their_paths(tmp_path):
    masks = drawn_masks("12", wrong=0.2)
    runs = [write_run(tmp_path / parent / "run", masks) for parent in ("a", "b")]
    assert compare_runs(runs).names == tuple(map(str, runs))


def test_notes_warn_of_few_images_interruptions_and_different_machines(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.1))
    change_json(runs[1] / "run.json", machine="another", stopped_by="interrupt")
    shared, few, interrupted, machines = compare_runs(runs).notes
    assert "3 validation images" in shared
    assert re.search(r"[Ii]ntervals .*\b3 images", few)
    assert re.search(r"[Ii]nterrupted .*: b\.", interrupted)
    assert re.search("[Tt]imes .*machines, backends or precisions", machines)


def test_one_image_has_scores_and_no_intervals(tmp_path):
    comparison = compare_runs(runs_of(tmp_path, a=drawn_masks("1", wrong=0.2), b=drawn_masks("1", wrong=0.1)))
    assert re.search("no intervals: .* one image", comparison.notes[1])
    run = comparison.measures[0].runs[1]
    assert (format_interval(run.score), format_interval(run.difference, signed=True)) == ("–", "–")
    assert not run.difference.excludes_zero


def test_a_class_that_only_one_run_predicts_has_no_difference(tmp_path):
    truth = np.zeros((4, 4), np.uint8)
    wrong = np.where(np.eye(4, dtype=bool), 2, 0)
    runs = runs_of(
        tmp_path, absent={"1": (truth, truth), "2": (truth, truth)}, found={"1": (truth, wrong), "2": (truth, wrong)}
    )
    absent, found = compare_runs(runs).measures[3].runs
    assert (absent.score.value, absent.score.interval) == (None, None)
    assert (found.score.value, found.score.interval) == (0.0, (0.0, 0.0))
    assert (difference(found.difference.value), format_interval(found.difference)) == ("–", "–")


def test_costs_are_time_steps_parameters_size_latency_and_precision(tmp_path):
    slow = write_run(tmp_path / "slow", drawn_masks("123", wrong=0.2), seconds=0.5)
    long = write_run(tmp_path / "long", drawn_masks("123", wrong=0.2))
    change_json(long / "run.json", seconds=5400.4, steps=7, precision="mixed_bfloat16", backend="torch")
    assert list(costs(compare_runs([slow, long]))) == [
        ("slow", "1 min 58 s", "1\u2009234", "14\u2009456\u2009154", "1.5 MB", "500 ms", "float32, jax"),
        ("long", "1 h 30 min", "7", "14\u2009456\u2009154", "1.5 MB", "20 ms", "mixed_bfloat16, torch"),
    ]


def test_the_prediction_time_is_a_median_that_ignores_compilation(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.2))
    stored = json.loads((runs[0] / "scores.json").read_text())
    for image, seconds in zip(stored["images"], (20.0, 0.25, 0.125), strict=True):
        image["seconds"] = seconds
    change_json(runs[0] / "scores.json", **stored)
    comparison = compare_runs(runs)
    assert [comparison.milliseconds(run) for run in comparison.runs] == [250, 20]


def test_settings_are_listed_where_they_differ(pair):
    recipe = json.loads((pair[1] / "recipe.yaml").read_text())
    change_json(pair[1] / "recipe.yaml", **recipe, training={"seed": 3}, network={"backbone": "resnet18"})
    assert differing_settings(compare_runs(pair)) == [
        ("network.backbone", ("resnet34", "resnet18")),
        ("training.seed", ("0", "3")),
    ]
