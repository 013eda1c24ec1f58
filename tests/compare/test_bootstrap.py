"""The bootstrap against enumeration, a loop over masks, and simulated studies with a known score."""

import itertools

import numpy as np
import pytest

from maskwright.compare.bootstrap import bootstrap, interval, mean_and_class_ious, resampling_weights
from maskwright.metrics.scores import Scores, confusion_matrix


def one_class(true_positives, unions):
    """Counts of images of one class, (images, 3, 1), whose errors are all false negatives."""
    return np.array([[[both], [union], [both]] for both, union in zip(true_positives, unions, strict=True)])


def test_resamples_of_three_images_have_their_exact_probabilities():
    true_positives, unions = (
        (10, 50, 90),
        (100, 100, 300),
    )  # IoU 0.1, 0.5 and 0.3, and no other mean is that of the sums
    exact = [
        sum(true_positives[at] for at in drawn) / sum(unions[at] for at in drawn)
        for drawn in itertools.product(range(3), repeat=3)
    ]
    drawn = bootstrap(one_class(true_positives, unions)[None], background=False, resamples=20_000)[:, 0, 0]
    for value, times in zip(*np.unique(np.round(exact, 12), return_counts=True), strict=True):
        share = np.isclose(drawn, value).mean()
        assert share == pytest.approx(times / 27, abs=0.011)  # three standard errors of the most common
    assert np.isclose(drawn[:, None], np.unique(exact)).any(axis=1).all()


def test_an_interval_matches_one_computed_by_hand():
    # Two images of IoU 0 and 1, 100 pixels each: a draw has 0, 1 or 2 of the second, with probability 1/4, 1/2, 1/4.
    drawn = bootstrap(one_class((0, 100), (100, 100))[None], background=False)[:, 0, 0]
    assert sorted(set(drawn.tolist())) == [0.0, 0.5, 1.0]
    assert [(drawn == value).mean() for value in (0.0, 0.5, 1.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.035)
    assert interval(drawn) == (0.0, 1.0)  # more than 2.5 % on either side


def masks(runs, images, classes, seed):
    """Truth (images, pixels) and predictions (runs, images, pixels); the last class is rare, 255 is ignored."""
    generator = np.random.default_rng(seed)
    shares = np.r_[np.full(classes - 1, 0.999 / (classes - 1)), 0.001]
    truth = generator.choice(classes, (images, 60), p=shares)
    predictions = np.where(
        generator.random((runs, images, 60)) < 0.3, generator.choice(classes - 1, (runs, images, 60)), truth
    )
    truth[generator.random(truth.shape) < 0.1] = 255
    return truth, predictions


def slow_scores(truth, prediction, classes, background):
    """Mean IoU and class IoUs of concatenated masks, counted pixel by pixel."""
    confusion = [[0] * classes for _ in range(classes)]
    for true, predicted in zip(truth.tolist(), prediction.tolist(), strict=True):
        if true != 255:
            confusion[true][predicted] += 1
    ious = []
    for c in range(classes):
        union = sum(confusion[c]) + sum(row[c] for row in confusion) - confusion[c][c]
        ious.append(confusion[c][c] / union if union else float("nan"))
    present = [iou for iou in ious[background:] if iou == iou]
    return [sum(present) / len(present) if present else float("nan"), *ious]


@pytest.mark.parametrize("background", [False, True])
def test_each_resample_has_the_score_of_its_concatenated_masks(background):
    runs, images, classes, draws = 2, 7, 4, 130
    truth, predictions = masks(runs, images, classes, seed=3)
    matrices = [
        [confusion_matrix(t, g, classes=classes, ignore=255) for t, g in zip(truth, prediction, strict=True)]
        for prediction in predictions
    ]
    counts = np.array([[(m.diagonal(), m.sum(1), m.sum(0)) for m in row] for row in matrices])
    drawn = bootstrap(counts, background=background, resamples=draws, seed=5)
    weights = np.concatenate(list(resampling_weights(images, resamples=draws, seed=5))).astype(int)
    slow = [
        [
            slow_scores(
                *(np.repeat(pixels, times, axis=0).ravel() for pixels in (truth, prediction)), classes, background
            )
            for prediction in predictions
        ]
        for times in weights
    ]
    np.testing.assert_allclose(drawn, slow, rtol=1e-12)
    assert np.isnan(drawn).any()  # some draws have no image of the rare class


def test_weights_are_those_of_drawing_with_replacement():
    weights = np.concatenate(list(resampling_weights(12, resamples=4050, seed=1)))
    assert weights.shape == (4050, 12)
    assert (weights.sum(axis=1) == 12).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(12), abs=0.06)
    assert weights.var() == pytest.approx(1 - 1 / 12, abs=0.03)
    assert (weights == 0).mean() == pytest.approx((11 / 12) ** 12, abs=0.01)


def test_the_score_of_all_images_equals_the_reported_score():
    truth, predictions = masks(1, 5, 5, seed=8)
    confusion = confusion_matrix(truth, predictions[0], classes=5, ignore=255)
    counts = np.array([confusion.diagonal(), confusion.sum(1), confusion.sum(0)])
    for background in (False, True):
        reported = Scores.from_confusion(confusion, list("abcde"), background=background)
        expected = [reported.mean_iou, *(score.iou for score in reported.classes)]
        np.testing.assert_allclose(
            mean_and_class_ious(counts, background=background), np.array(expected, float), rtol=1e-12
        )


def test_a_constant_difference_has_no_variance_in_paired_resamples():
    true_positives = np.random.default_rng(0).integers(100, 800, 40)
    runs = np.stack([one_class(true_positives, np.full(40, 1000)), one_class(true_positives + 50, np.full(40, 1000))])
    drawn = bootstrap(runs, background=False)[:, :, 0]
    assert np.ptp(drawn[:, 0]) > 0.1
    assert drawn[:, 1] - drawn[:, 0] == pytest.approx(np.full(2000, 0.05), abs=1e-12)


def test_95_percent_intervals_cover_the_true_score_in_90_to_98_percent():
    generator, covered = np.random.default_rng(4), 0
    for study in range(300):
        unions = generator.integers(500, 1500, 60)
        true_positives = generator.binomial(unions, generator.beta(6, 4, 60))  # of mean 0.6 for any union
        low, high = interval(
            bootstrap(one_class(true_positives, unions)[None], background=False, resamples=400, seed=study)[:, 0, 0]
        )
        covered += low <= 0.6 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_resamples_depend_on_the_seed_only():
    runs = one_class((1, 5, 9, 4), (10, 10, 10, 10))[None]
    first, repeated, reseeded = (bootstrap(runs, background=False, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, repeated)
    assert (first != reseeded).any()


def test_one_image_and_an_absent_class_have_no_interval():
    drawn = bootstrap(one_class((5,), (10,))[None], background=False)
    assert drawn.shape == (0, 1, 2)
    assert interval(drawn[:, 0, 0]) is None
    assert interval(np.full(9, np.nan)) is None
    assert interval(np.array([np.nan, 0.25, np.nan])) == (0.25, 0.25)
