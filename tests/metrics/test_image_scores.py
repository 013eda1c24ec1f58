"""Boundaries and the salt score: by hand, by brute force, and the same from the Keras objects."""

import math

import numpy as np
import pytest

from maskwright.errors import WrongArgument
from maskwright.metrics import BoundaryFScore, SaltScore, boundary_f_score, salt_score
from maskwright.metrics.scores import MaskShapesDiffer

random = np.random.default_rng(4)


def blobs(classes, images=3, size=(17, 23)):
    """Masks with regions of several pixels."""
    small = random.integers(0, classes, (images, size[0] // 4 + 1, size[1] // 4 + 1))
    return small.repeat(4, 1).repeat(4, 2)[:, : size[0], : size[1]]


def by_brute_force(truth, guess, row, tolerance, ignore):
    """The definition, pixel by pixel."""
    height, width = truth.shape

    def boundary(mask):
        pixels = []
        for y, x in np.ndindex(mask.shape):
            beside = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            beside = [(a, b) for a, b in beside if 0 <= a < height and 0 <= b < width and truth[a, b] != ignore]
            if truth[y, x] != ignore and mask[y, x] == row and any(mask[place] != row for place in beside):
                pixels.append((y, x))
        return pixels

    def share(pixels, others):
        return np.mean([any(math.dist(one, other) <= tolerance for other in others) for one in pixels]) if pixels else 0

    true, found = boundary(truth), boundary(guess)
    if not true and not found:
        return np.nan
    precision, recall = share(found, true), share(true, found)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3])
def test_the_boundary_score_is_its_definition_on_every_image(tolerance):
    truths, guesses = blobs(3), blobs(3)
    truths[1, 3:8, 4:9] = 255
    for truth, guess in zip(truths, guesses, strict=True):
        expected = [by_brute_force(truth, guess, row, tolerance, 255) for row in range(4)]
        found = boundary_f_score(truth, guess, classes=4, tolerance=tolerance, ignore=255)
        np.testing.assert_allclose(found, expected)


def test_the_tolerance_is_by_default_a_share_of_the_diagonal():
    truth, guess = np.zeros((2, 300, 400), int)  # a diagonal of 500 pixels: 3.75
    truth[:, 200:], guess[:, 203:] = 1, 1
    np.testing.assert_array_equal(boundary_f_score(truth, guess, classes=2), [1, 1])
    guess[:, 203] = 0
    np.testing.assert_array_equal(boundary_f_score(truth, guess, classes=2), [0, 0])


def test_neither_the_frame_nor_ignored_pixels_are_a_boundary():
    truth = np.ones((4, 4), int)
    np.testing.assert_array_equal(boundary_f_score(truth, truth, classes=2), [np.nan, np.nan])
    truth[1, 1] = 0
    np.testing.assert_array_equal(boundary_f_score(truth, truth, classes=2, ignore=0), [np.nan, np.nan])


@pytest.mark.parametrize("empty", ["truth", "guess"])
def test_a_boundary_in_only_one_mask_scores_0(empty):
    masks = {"truth": np.uint8([[0, 1]]), "guess": np.uint8([[0, 1]]), empty: np.uint8([[0, 0]])}
    np.testing.assert_array_equal(boundary_f_score(**masks, classes=2), [0, 0])


def test_boundaries_are_compared_of_one_image_at_a_time():
    with pytest.raises(WrongArgument, match=r"truth=\(2, 4, 4\): expected one mask of shape \(height, width\)"):
        boundary_f_score(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), classes=2)
    with pytest.raises(MaskShapesDiffer, match=r"guess of shape \(4, 5\) for a truth of shape \(4, 4\)"):
        boundary_f_score(np.zeros((4, 4)), np.zeros((4, 5)), classes=2)
    with pytest.raises(WrongArgument, match="tolerance=-1: expected a distance in pixels, from 0 up"):
        boundary_f_score(np.zeros((4, 4)), np.zeros((4, 4)), classes=2, tolerance=-1)


@pytest.mark.parametrize(("background", "tolerance"), [(False, 1), (True, 1.5)])
def test_the_keras_boundary_score_is_the_mean_over_images_then_classes(background, tolerance):
    truths, guesses = blobs(3, images=4), blobs(3, images=4)
    truths[0], guesses[0] = 1, 1  # no boundary at all in this image
    truths[1, :6] = 255
    metric = BoundaryFScore(4, tolerance=tolerance, ignore=255, background=background)
    for batch in (slice(0, 2), slice(2, 4)):
        metric.update_state(truths[batch], np.eye(4)[guesses[batch]])
    each = [
        boundary_f_score(truth, guess, classes=4, tolerance=tolerance, ignore=255)[background:]
        for truth, guess in zip(truths, guesses, strict=True)
    ]
    assert float(metric.result()) == pytest.approx(np.nanmean(np.nanmean(np.array(each)[:, :-1], axis=0)), rel=1e-5)


def test_the_keras_boundary_score_of_one_channel_has_the_default_tolerance():
    truth, guess = np.zeros((2, 1, 30, 400), int)  # a diagonal of 401 pixels: 3.01
    truth[:, :, 200:], guess[:, :, 203:] = 1, 1
    assert float(BoundaryFScore(2)(truth, guess[..., None] * 0.6)) == 1
    guess[:, :, 203] = 0
    assert float(BoundaryFScore(2)(truth, guess[..., None] * 0.6)) == 0


def test_a_wrong_tolerance_is_refused_when_given():
    with pytest.raises(WrongArgument, match="tolerance=-1: expected a finite number from 0 up"):
        BoundaryFScore(2, tolerance=-1)


def mask_pair(hits, false_alarms, misses):
    row = np.zeros((2, 1, 40), int)
    row[0, 0, : hits + misses] = 1
    row[1, 0, misses : misses + hits + false_alarms] = 1
    return row


SALT = {
    "right": (mask_pair(7, 0, 0), 1.0),
    "both empty": (mask_pair(0, 0, 0), 1.0),
    "only the guess empty": (mask_pair(0, 0, 5), 0.0),
    "only the truth empty": (mask_pair(0, 5, 0), 0.0),
    "apart": (mask_pair(0, 5, 4), 0.0),
    "exactly 0.5 passes none": (mask_pair(5, 2, 3), 0.0),
    "exactly 0.55 passes 0.5 only": (mask_pair(11, 5, 4), 0.1),
    "just above 0.55": (mask_pair(5, 2, 2), 0.2),
    "exactly 0.7 passes four": (mask_pair(7, 2, 1), 0.4),
    "exactly 0.95 passes nine": (mask_pair(19, 1, 0), 0.9),
}


@pytest.mark.parametrize("case", SALT)
def test_the_salt_score_of_an_image(case):
    (truth, guess), expected = SALT[case]
    assert salt_score([truth], [guess]) == pytest.approx(expected)
    assert float(SaltScore()(truth[None], guess[None, ..., None] * 0.9)) == pytest.approx(expected)


def test_the_salt_score_is_the_mean_over_images_however_they_are_batched():
    pairs, scores = [pair for pair, _ in SALT.values()], [score for _, score in SALT.values()]
    truths, guesses = np.array(pairs).transpose(1, 0, 2, 3)
    assert salt_score(truths, guesses) == pytest.approx(np.mean(scores))
    metric = SaltScore()
    for batch in (slice(0, 3), slice(3, 10)):
        metric.update_state(truths[batch], guesses[batch][..., None])
    assert float(metric.result()) == pytest.approx(np.mean(scores))


def test_the_salt_score_reads_0_and_255_and_leaves_ignored_pixels_out():
    truth, guess = mask_pair(4, 4, 0)
    assert salt_score([truth * 255], [truth]) == 1
    marked = np.where(truth != guess, 9, truth)
    assert float(SaltScore(ignore=9)(marked[None], guess[None, ..., None])) == 1


def test_the_salt_score_needs_pairs_of_masks():
    assert math.isnan(salt_score([], []))
    with pytest.raises(MaskShapesDiffer, match=r"guess of shape \(3, 4\) for a truth of shape \(4, 3\)"):
        salt_score([np.zeros((4, 3))], [np.zeros((3, 4))])
    with pytest.raises(ValueError, match="shorter"):
        salt_score([np.zeros((4, 3))], [])
