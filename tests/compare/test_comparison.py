"""Which runs go together, on which images, and what is told of them."""

import json

import numpy as np
import pytest

from maskwright.compare import compare_runs
from maskwright.compare.errors import NothingShared, OtherClasses, OtherMasks, TooFewRuns
from maskwright.compare.text import costs, difference, differing_settings, span
from maskwright.metrics.scores import Scores
from tests.compare.runs_to_compare import CLASSES, change_json, confusion, drawn_masks, write_run

NAMES = [f"{number:02}" for number in range(24)]


def runs_of(tmp_path, **masks):
    return [write_run(tmp_path / name, drawn) for name, drawn in masks.items()]


@pytest.fixture
def pair(tmp_path):
    """A run, and one that errs less on the same images."""
    return runs_of(tmp_path, rough=drawn_masks(NAMES, wrong=0.4), fine=drawn_masks(NAMES, wrong=0.2))


def test_scores_are_those_of_the_masks_and_differences_are_to_the_first(pair):
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
        assert [line.run for line in measure.lines] == ["rough", "fine"]
        assert [line.score.value for line in measure.lines] == pytest.approx([first, second], rel=1e-12)
        assert measure.lines[0].difference is None
        assert measure.lines[1].difference.value == pytest.approx(second - first, rel=1e-9)
        for line in measure.lines:
            assert line.score.interval[0] < line.score.value < line.score.interval[1]


def test_a_paired_difference_is_surer_than_its_scores(pair):
    first, second = compare_runs(pair).measures[0].lines
    spread = np.hypot(*(np.ptp(line.score.interval) for line in (first, second)))
    assert np.ptp(second.difference.interval) < spread / 1.5
    assert second.difference.excludes_zero


def test_the_order_of_the_runs_turns_the_difference_round(pair):
    there, back = (compare_runs(runs).measures[0].lines[1].difference for runs in (pair, pair[::-1]))
    assert there.value == pytest.approx(-back.value)
    assert there.interval == pytest.approx([-back.interval[1], -back.interval[0]])


def test_only_shared_images_count_and_the_others_are_said(tmp_path):
    few = drawn_masks(NAMES[4:], wrong=0.4)
    part, shuffled = runs_of(tmp_path, part=few, whole=dict(reversed(drawn_masks([*NAMES, "x"], wrong=0.2).items())))
    alone = write_run(tmp_path / "alone", drawn_masks(NAMES[4:], wrong=0.2))
    comparison = compare_runs([part, shuffled])
    assert comparison.shared == tuple(NAMES[4:])
    assert comparison.notes[0] == (
        "Scores are of the 20 validation images that all runs share; left out, as not all runs have them: 5 of whole."
    )
    scores = [run.measures[0].lines[1].score.value for run in (comparison, compare_runs([part, alone]))]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_runs_without_a_common_image_are_refused(tmp_path):
    runs = runs_of(
        tmp_path, a=drawn_masks("12", wrong=0.2), b=drawn_masks("23", wrong=0.2), c=drawn_masks("13", wrong=0)
    )
    with pytest.raises(NothingShared, match=r"a, .*b, .*c: no validation image is common to all .* same --val-images"):
        compare_runs(runs)


def test_other_classes_and_another_order_are_refused(tmp_path):
    masks = drawn_masks("12", wrong=0.2)
    first, other = (
        write_run(tmp_path / "a", masks),
        write_run(tmp_path / "b", masks, classes=("background", "cell", "vein")),
    )
    with pytest.raises(
        OtherClasses, match=r"b: its classes are background, cell, vein \(background first\), .*a.* fibre"
    ):
        compare_runs([first, other])
    turned = write_run(tmp_path / "c", masks, classes=("background", "fibre", "cell"))
    with pytest.raises(OtherClasses, match="same order"):
        compare_runs([first, turned])


def test_a_background_that_is_a_class_elsewhere_is_refused(pair):
    stored = json.loads((pair[1] / "scores.json").read_text())
    change_json(pair[1] / "scores.json", scores={**stored["scores"], "background": False})
    with pytest.raises(
        OtherClasses, match=r"fine: its classes are background, cell, fibre, those of .*background first"
    ):
        compare_runs(pair)


def test_one_name_with_other_masks_is_refused(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.2, seed=9))
    with pytest.raises(
        OtherMasks, match=r"b: the mask of validation image 1 has other pixels than in .*a \(3 of 3 images"
    ):
        compare_runs(runs)


def test_fewer_than_two_runs_or_one_twice_are_refused(pair):
    for given in ([], pair[:1], [pair[0], pair[1], pair[0] / "../rough"]):
        with pytest.raises(TooFewRuns, match="expected two or more runs, each once"):
            compare_runs(given)


def test_runs_of_one_folder_name_are_told_apart_by_their_paths(tmp_path):
    masks = drawn_masks("12", wrong=0.2)
    runs = [write_run(tmp_path / parent / "run", masks) for parent in ("a", "b")]
    assert compare_runs(runs).names == tuple(map(str, runs))


def test_what_a_reader_must_know_is_said(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.1))
    change_json(runs[1] / "run.json", machine="another", stopped_by="interrupt")
    assert compare_runs(runs).notes == (
        "Scores are of the 3 validation images that all runs share.",
        "Intervals from 3 images are too narrow; take them as a lower bound of the doubt.",
        "Interrupted before the end: b.",
        "Times were taken on different machines, backends or precisions, and do not compare.",
    )


def test_one_image_has_scores_and_no_intervals(tmp_path):
    comparison = compare_runs(runs_of(tmp_path, a=drawn_masks("1", wrong=0.2), b=drawn_masks("1", wrong=0.1)))
    assert comparison.notes[1] == "There are no intervals: one image says nothing of others."
    line = comparison.measures[0].lines[1]
    assert (span(line.score), span(line.difference, signed=True)) == ("–", "–")
    assert not line.difference.excludes_zero


def test_a_class_that_one_run_alone_sees_has_no_difference(tmp_path):
    truth = np.zeros((4, 4), np.uint8)
    seen = np.where(np.eye(4, dtype=bool), 2, 0)
    runs = runs_of(
        tmp_path, blind={"1": (truth, truth), "2": (truth, truth)}, sees={"1": (truth, seen), "2": (truth, seen)}
    )
    blind, sees = compare_runs(runs).measures[3].lines
    assert (blind.score.value, blind.score.interval) == (None, None)
    assert (sees.score.value, sees.score.interval) == (0.0, (0.0, 0.0))
    assert (difference(sees.difference.value), span(sees.difference)) == ("–", "–")


def test_costs_stand_beside_the_scores(tmp_path):
    slow = write_run(tmp_path / "slow", drawn_masks("123", wrong=0.2), seconds=0.5)
    old = write_run(tmp_path / "old", drawn_masks("123", wrong=0.2), counted=False)
    change_json(old / "run.json", seconds=None, parameters=None)
    rows = [row[:6] for row in costs(compare_runs([slow, old]))]
    assert rows[0] == ("slow", "1 min 58 s", "1\u2009234", "14\u2009456\u2009154", "1.5 MB", "500 ms")
    assert rows[1] == ("old", "–", "1\u2009234", "–", "1.5 MB", "–")


def test_the_first_image_which_compiles_does_not_set_the_time(tmp_path):
    runs = runs_of(tmp_path, a=drawn_masks("123", wrong=0.2), b=drawn_masks("123", wrong=0.2))
    stored = json.loads((runs[0] / "scores.json").read_text())
    for image, seconds in zip(stored["images"], (20.0, 0.25, 0.125), strict=True):
        image["seconds"] = seconds
    change_json(runs[0] / "scores.json", **stored)
    comparison = compare_runs(runs)
    assert [comparison.milliseconds(run) for run in comparison.runs] == [250, 20]


def test_settings_are_told_where_they_differ(pair):
    recipe = json.loads((pair[1] / "recipe.yaml").read_text())
    change_json(pair[1] / "recipe.yaml", **recipe, training={"seed": 3}, network={"backbone": "resnet18"})
    assert differing_settings(compare_runs(pair)) == [
        ("network.backbone", ("resnet34", "resnet18")),
        ("training.seed", ("0", "3")),
    ]
