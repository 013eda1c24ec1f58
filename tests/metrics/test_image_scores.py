"""Boundary F-score and salt score: by hand, by brute force, and from the Keras metrics."""

import math

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.metrics import BoundaryFScore, SaltScore, boundary_f_score, salt_score
from maskwright.metrics.scores import MaskShapesDiffer


def blobs(classes, seed, images=3, size=(17, 23)):
    """Return masks with regions of several pixels."""
    small = np.random.default_rng(seed).integers(0, classes, (images, size[0] // 4 + 1, size[1] // 4 + 1))
    return small.repeat(4, 1).repeat(4, 2)[:, : size[0], : size[1]]


def by_brute_force(truth, prediction, row, tolerance, ignore):
    """Apply the definition pixel by pixel."""
    height, width = truth.shape

    def boundary(mask):
        pixels = []
        for y, x in np.ndindex(mask.shape):
            neighbours = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            neighbours = [(a, b) for a, b in neighbours if 0 <= a < height and 0 <= b < width and truth[a, b] != ignore]
            if truth[y, x] != ignore and mask[y, x] == row and any(mask[index] != row for index in neighbours):
                pixels.append((y, x))
        return pixels

    def fraction_near(pixels, reference):
        near = [any(math.dist(a, b) <= tolerance for b in reference) for a in pixels]
        return np.mean(near) if near else 0

    true, predicted = boundary(truth), boundary(prediction)
    if not true and not predicted:
        return np.nan
    precision, recall = fraction_near(predicted, true), fraction_near(true, predicted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3])
def test_boundary_score_equals_its_definition(tolerance):
    truths, predictions = blobs(3, seed=4), blobs(3, seed=5)
    truths[1, 3:8, 4:9] = 255
    for truth, prediction in zip(truths, predictions, strict=True):
        expected = [by_brute_force(truth, prediction, row, tolerance, 255) for row in range(4)]
        found = boundary_f_score(truth, prediction, classes=4, tolerance=tolerance, ignore=255)
        np.testing.assert_allclose(found, expected)


def test_default_tolerance_is_a_fraction_of_the_diagonal():
    truth, prediction = np.zeros((2, 300, 400), int)  # a diagonal of 500 pixels: 3.75
    truth[:, 200:], prediction[:, 203:] = 1, 1
    np.testing.assert_array_equal(boundary_f_score(truth, prediction, classes=2), [1, 1])
    prediction[:, 203] = 0
    np.testing.assert_array_equal(boundary_f_score(truth, prediction, classes=2), [0, 0])


def test_image_border_and_ignored_pixels_are_not_boundaries():
    truth = np.ones((4, 4), int)
    np.testing.assert_array_equal(boundary_f_score(truth, truth, classes=2), [np.nan, np.nan])
    truth[1, 1] = 0
    np.testing.assert_array_equal(boundary_f_score(truth, truth, classes=2, ignore=0), [np.nan, np.nan])


@pytest.mark.parametrize("empty", ["truth", "prediction"])
def test_a_boundary_in_only_one_mask_scores_0(empty):
    masks = {"truth": np.uint8([[0, 1]]), "prediction": np.uint8([[0, 1]]), empty: np.uint8([[0, 0]])}
    np.testing.assert_array_equal(boundary_f_score(**masks, classes=2), [0, 0])


def test_boundary_score_rejects_batches_other_shapes_and_negative_tolerances():
    with pytest.raises(WrongArgument, match=r"^truth=\(2, 4, 4\): expected .*\(height, width\)"):
        boundary_f_score(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), classes=2)
    with pytest.raises(MaskShapesDiffer, match=r"prediction.*\(4, 5\).*truth.*\(4, 4\)"):
        boundary_f_score(np.zeros((4, 4)), np.zeros((4, 5)), classes=2)
    with pytest.raises(WrongArgument, match=r"^tolerance=-1: expected .*pixels.* 0"):
        boundary_f_score(np.zeros((4, 4)), np.zeros((4, 4)), classes=2, tolerance=-1)


@pytest.mark.parametrize(("background", "tolerance"), [(False, 1), (True, 1.5)])
def test_keras_boundary_score_is_the_mean_over_images_then_classes(background, tolerance):
    truths, predictions = blobs(3, seed=4, images=4), blobs(3, seed=5, images=4)
    truths[0], predictions[0] = 1, 1  # no boundary at all in this image
    truths[1, :6] = 255
    metric = BoundaryFScore(4, tolerance=tolerance, ignore=255, background=background)
    for batch in (slice(0, 2), slice(2, 4)):
        metric.update_state(truths[batch], np.eye(4)[predictions[batch]])
    each = [
        boundary_f_score(truth, prediction, classes=4, tolerance=tolerance, ignore=255)[background:]
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    assert float(metric.result()) == pytest.approx(np.nanmean(np.nanmean(np.array(each)[:, :-1], axis=0)), rel=1e-5)


def test_keras_boundary_score_of_one_channel_has_the_default_tolerance():
    truth, prediction = np.zeros((2, 1, 30, 400), int)  # a diagonal of 401 pixels: 3.01
    truth[:, :, 200:], prediction[:, :, 203:] = 1, 1
    assert float(BoundaryFScore(2)(truth, prediction[..., None] * 0.6)) == 1
    prediction[:, :, 203] = 0
    assert float(BoundaryFScore(2)(truth, prediction[..., None] * 0.6)) == 0


def test_negative_tolerance_raises_at_construction():
    with pytest.raises(WrongArgument, match=r"^tolerance=-1: expected .* 0"):
        BoundaryFScore(2, tolerance=-1)


def mask_pair(true_positives, false_positives, false_negatives):
    row = np.zeros((2, 1, 40), int)
    row[0, 0, : true_positives + false_negatives] = 1
    row[1, 0, false_negatives : false_negatives + true_positives + false_positives] = 1
    return row


SALT = {
    "correct": (mask_pair(7, 0, 0), 1.0),
    "both empty": (mask_pair(0, 0, 0), 1.0),
    "only the prediction empty": (mask_pair(0, 0, 5), 0.0),
    "only the truth empty": (mask_pair(0, 5, 0), 0.0),
    "disjoint": (mask_pair(0, 5, 4), 0.0),
    "exactly 0.5 exceeds none": (mask_pair(5, 2, 3), 0.0),
    "exactly 0.55 exceeds 0.5 only": (mask_pair(11, 5, 4), 0.1),
    "just above 0.55": (mask_pair(5, 2, 2), 0.2),
    "exactly 0.7 exceeds four": (mask_pair(7, 2, 1), 0.4),
    "exactly 0.95 exceeds nine": (mask_pair(19, 1, 0), 0.9),
}


@pytest.mark.parametrize("case", SALT)
def test_salt_score_of_one_image(case):
    (truth, prediction), expected = SALT[case]
    assert salt_score([truth], [prediction]) == pytest.approx(expected)
    assert float(SaltScore()(truth[None], prediction[None, ..., None] * 0.9)) == pytest.approx(expected)


def test_salt_score_is_the_mean_over_images_for_any_batches():
    pairs, scores = [pair for pair, _ in SALT.values()], [score for _, score in SALT.values()]
    truths, predictions = np.array(pairs).transpose(1, 0, 2, 3)
    assert salt_score(truths, predictions) == pytest.approx(np.mean(scores))
    metric = SaltScore()
    for batch in (slice(0, 3), slice(3, 10)):
        metric.update_state(truths[batch], predictions[batch][..., None])
    assert float(metric.result()) == pytest.approx(np.mean(scores))


def test_salt_score_takes_0_and_255_and_excludes_ignored_pixels():
    truth, prediction = mask_pair(4, 4, 0)
    assert salt_score([truth * 255], [truth]) == 1
    marked = np.where(truth != prediction, 9, truth)
    assert float(SaltScore(ignore=9)(marked[None], prediction[None, ..., None])) == 1


def test_salt_score_of_unpaired_masks_is_an_error_and_of_none_is_nan():
    assert math.isnan(salt_score([], []))
    with pytest.raises(MaskShapesDiffer, match=r"prediction.*\(3, 4\).*truth.*\(4, 3\)"):
        salt_score([np.zeros((4, 3))], [np.zeros((3, 4))])
    with pytest.raises(ValueError, match="shorter"):
        salt_score([np.zeros((4, 3))], [])
