import numpy as np
import pytest
from scipy import ndimage

from maskwright.images.components import cleaned
from maskwright.metrics.salt import salt_score
from maskwright.tune.search import THRESHOLDS, ThresholdSearch, min_sizes_to_try, score_min_sizes, search_thresholds


@pytest.fixture
def images():
    """Truths of blobs, some of them empty, and probabilities that are low, noisy and blurred."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(12):
        blob = ndimage.gaussian_filter(rng.normal(size=(50, 60)), 8)
        truth = (blob > np.quantile(blob, 0.8)).astype(np.uint8) if number % 3 else np.zeros((50, 60), np.uint8)
        prediction = 0.7 * ndimage.gaussian_filter(truth.astype(float), 2) + 0.1 * rng.random((50, 60))
        prediction[rng.random((50, 60)) < 0.003] = 0.9
        made.append((truth, prediction.astype(np.float32)))
    return made


def score_by_masks(images, *, threshold, area, fill, monitor):
    """Score masks that are made one by one, by the functions that `predict` uses."""
    masks = [
        cleaned((prediction > threshold).astype(np.uint8), min_component_sizes=(0, area), fill_holes=fill)
        for _, prediction in images
    ]
    truths = [truth for truth, _ in images]
    if monitor == "mean_precision":
        return salt_score(truths, masks)
    true_positives = sum((truth & mask).sum() for truth, mask in zip(truths, masks, strict=True))
    if monitor == "dice":
        return 2 * true_positives / sum(truth.sum() + mask.sum() for truth, mask in zip(truths, masks, strict=True))
    return true_positives / sum((truth | mask).sum() for truth, mask in zip(truths, masks, strict=True))


@pytest.mark.parametrize("monitor", ["mean_iou", "dice", "mean_precision"])
@pytest.mark.parametrize("fill", [False, True])
def test_scores_equal_those_of_predicted_masks(images, monitor, fill):
    found = search_thresholds(images, min_sizes=(0, 3, 40), fill_holes=fill, monitor=monitor)
    for row in range(0, len(THRESHOLDS), 5):
        for column, area in enumerate(found.min_sizes):
            expected = score_by_masks(images, threshold=THRESHOLDS[row], area=area, fill=fill, monitor=monitor)
            assert found.scores[row, column] == pytest.approx(expected, abs=1e-9)


def test_best_pair_has_the_greatest_score(images):
    found = search_thresholds(images, min_sizes=(0, 3, 40), fill_holes=False, monitor="mean_precision")
    threshold, area, best = found.best
    assert best == pytest.approx(found.scores.max(), abs=1e-6)
    assert best > found.scores[found.thresholds.index(0.5), 0]
    assert threshold < 0.5
    assert area > 0


def test_ties_prefer_threshold_one_half_and_size_zero():
    found = ThresholdSearch((0.3, 0.4, 0.5, 0.6), (0, 10), np.full((4, 2), 0.7))
    assert found.best == (0.5, 0, 0.7)


def test_ignored_pixels_are_not_scored():
    truth = np.array([[1, 1, 255, 255, 0]], np.uint8)
    prediction = np.array([[0.9, 0.9, 0.9, 0.9, 0.1]], np.float32)
    found = search_thresholds([(truth, prediction)], min_sizes=(0,), fill_holes=False, monitor="mean_iou")
    assert found.scores[found.thresholds.index(0.5), 0] == 1


def test_tried_sizes_are_small_relative_to_the_images():
    assert min_sizes_to_try([(101, 101)] * 3) == (0, 5, 10, 20, 40, 80, 160)
    assert min_sizes_to_try([(10, 10)]) == (0,)


def test_min_size_removes_specks_only():
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15], truth[20:24, 20:24] = 2, 2
    prediction = truth.copy()
    prediction[30, 30], prediction[1, 1:4] = 2, 2
    ious = score_min_sizes([(truth, prediction)], label=2, min_sizes=(0, 2, 5, 20))
    assert ious == pytest.approx([116 / 120, 116 / 119, 1.0, 100 / 116])
