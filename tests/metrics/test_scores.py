"""Confusion matrix, IoU and scores of a data set, against counts by hand and pixel by pixel."""

import json

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.metrics import Scores, confusion_matrix, iou
from maskwright.metrics.scores import MaskShapesDiffer, NotClassIds


def counted_pixel_by_pixel(truth, prediction, classes, ignore):
    matrix = np.zeros((classes, classes), int)
    for row, column in zip(truth.ravel(), prediction.ravel(), strict=True):
        if row != ignore:
            matrix[row, column] += 1
    return matrix


@pytest.mark.parametrize("ignore", [None, 2, 255])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int64", "uint64"])
def test_confusion_matrix_counts_every_valid_pixel_once(kind, ignore):
    random = np.random.default_rng(1)
    truth, prediction = random.integers(0, 4, (2, 3, 20, 30)).astype(kind)
    if ignore == 255:
        truth[0, :5] = 255
    matrix = confusion_matrix(truth, prediction, classes=4, ignore=ignore)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, counted_pixel_by_pixel(truth, prediction, 4, ignore))


def test_many_classes_in_the_smallest_type_do_not_overflow():
    ids = np.arange(200, dtype=np.uint8)
    np.testing.assert_array_equal(confusion_matrix(ids, ids[::-1], classes=200), np.eye(200)[::-1])


def test_boolean_masks_are_counted():
    matrix = confusion_matrix(np.array([True, True, False]), np.array([True, False, False]), classes=2)
    np.testing.assert_array_equal(matrix, [[1, 0], [1, 1]])


def test_prediction_at_an_ignored_pixel_is_not_checked():
    np.testing.assert_array_equal(
        confusion_matrix(np.array([9, 1]), np.array([7, 1]), classes=2, ignore=9).diagonal(), [0, 1]
    )


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        ([0, 3, 9], [0, 0, 0], NotClassIds, r"^truth .*ids 3, 9; expected .* 0 to 2\. .*ignore="),
        ([0, 1, 2], [0, -1, 0], NotClassIds, r"^prediction .*ids -1; expected .* 0 to 2"),
        (range(3, 20), [0] * 17, NotClassIds, r"ids 3, 4, 5, 6, 7, 8, 9, 10, \.\.\.; expected"),
        ([0, 1, 2], [0.0, 0.5, 1.0], NotClassIds, r"^prediction .*float64.*integer"),
        ([0, 1, 2], [0, 1], MaskShapesDiffer, r"prediction.*\(2,\).*truth.*\(3,\)"),
    ],
)
def test_masks_without_label_ids_are_errors(truth, prediction, error, message):
    with pytest.raises(error, match=message):
        confusion_matrix(np.array(truth), np.array(prediction), classes=3)


def test_iou_equals_that_of_pixel_sets_and_is_nan_for_an_absent_class():
    random = np.random.default_rng(2)
    truth, prediction = random.integers(0, 4, (2, 50))
    expected = []
    for row in range(5):
        true, found = set(np.flatnonzero(truth == row)), set(np.flatnonzero(prediction == row))
        expected.append(len(true & found) / len(true | found) if true | found else np.nan)
    np.testing.assert_allclose(iou(truth, prediction, classes=5), expected)


CONFUSION = np.array([[50, 4, 0, 6], [10, 20, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]])
NAMES = ["road", "car", "tram", "bike"]


def test_scores_counted_by_hand():
    scores = Scores.from_confusion(CONFUSION, NAMES)
    road, car, tram, bike = scores.classes
    assert (road.iou, car.iou, tram.iou, bike.iou) == (50 / 73, 20 / 34, None, 0)
    assert (road.precision, road.recall, road.f_score) == (50 / 63, 50 / 60, 100 / 123)
    assert (tram.precision, tram.recall, tram.f_score) == (None, None, None)
    assert (bike.precision, bike.recall, bike.f_score) == (0, 0, 0)
    assert (road.truth_pixels, road.predicted_pixels) == (60, 63)
    assert scores.mean_iou == pytest.approx((50 / 73 + 20 / 34 + 0) / 3)
    assert scores.pixel_accuracy == 70 / 93
    assert scores.absent == ("tram",)


def test_precision_needs_a_predicted_pixel_and_recall_a_true_one():
    scores = Scores.from_confusion(np.array([[1, 0, 2], [3, 0, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert (scores.classes[1].precision, scores.classes[1].recall) == (None, 0)
    assert (scores.classes[2].precision, scores.classes[2].recall) == (0, None)
    assert scores.absent == ()


def test_background_is_scored_but_excluded_from_the_mean():
    scores = Scores.from_confusion(np.array([[90, 2], [3, 5]]), ["background", "cell"], background=True)
    assert scores.mean_iou == 0.5
    assert scores.pixel_accuracy == 0.95
    assert scores.classes[0].iou == 90 / 95


def test_mean_dice_excludes_the_background_and_absent_classes():
    confusion = np.array([[50, 0, 0, 2], [4, 6, 0, 0], [0, 0, 0, 0], [0, 1, 0, 7]])
    names = ["background", "a", "absent", "b"]
    expected = (2 * 6 / (10 + 7) + 2 * 7 / (8 + 9)) / 2
    assert Scores.from_confusion(confusion, names, background=True).mean_dice == pytest.approx(expected)
    assert Scores.from_confusion(np.zeros((2, 2), int), ["a", "b"]).mean_dice is None


def test_absent_background_is_not_listed_as_absent():
    scores = Scores.from_confusion(
        np.array([[0, 0, 0], [0, 4, 0], [0, 0, 0]]), ["ground", "cell", "gap"], background=True
    )
    assert (scores.absent, scores.mean_iou) == (("gap",), 1)


def test_scores_without_pixels_are_none():
    scores = Scores.from_confusion(np.zeros((2, 2), int), ["background", "cell"], background=True)
    assert (scores.mean_iou, scores.pixel_accuracy, scores.absent) == (None, None, ("cell",))


def test_scores_are_restored_from_json():
    scores = Scores.from_confusion(CONFUSION, NAMES)
    text = scores.model_dump_json()
    assert json.loads(text)["classes"][2]["iou"] is None
    assert Scores.model_validate_json(text) == scores


def test_number_of_names_must_equal_the_number_of_rows():
    with pytest.raises(WrongArgument, match=r"^confusion=\(4, 4\): expected .*\['a', 'b'\]"):
        Scores.from_confusion(CONFUSION, ["a", "b"])
