import numpy as np
import pytest
from scipy import ndimage

from maskwright.images.components import cleaned
from maskwright.metrics.salt import salt_score
from maskwright.tune.search import THRESHOLDS, Search, areas_for, search, search_area


@pytest.fixture
def images():
    """Truths of blobs, some of them empty, and probabilities that are low, speckled and blurred."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(12):
        blob = ndimage.gaussian_filter(rng.normal(size=(50, 60)), 8)
        truth = (blob > np.quantile(blob, 0.8)).astype(np.uint8) if number % 3 else np.zeros((50, 60), np.uint8)
        prediction = 0.7 * ndimage.gaussian_filter(truth.astype(float), 2) + 0.1 * rng.random((50, 60))
        prediction[rng.random((50, 60)) < 0.003] = 0.9
        made.append((truth, prediction.astype(np.float32)))
    return made


def slowly(images, *, threshold, area, fill, select):
    """The score of masks made one by one, by the functions that predicting uses."""
    masks = [
        cleaned((prediction > threshold).astype(np.uint8), minimum_areas=(0, area), fill_holes=fill) for _, prediction in images
    ]
    truths = [truth for truth, _ in images]
    if select == "mean_precision":
        return salt_score(truths, masks)
    true_positives = sum((truth & mask).sum() for truth, mask in zip(truths, masks, strict=True))
    return true_positives / sum((truth | mask).sum() for truth, mask in zip(truths, masks, strict=True))


@pytest.mark.parametrize("select", ["mean_iou", "mean_precision"])
@pytest.mark.parametrize("fill", [False, True])
def test_every_score_is_that_of_the_masks_that_predicting_would_make(images, select, fill):
    found = search(images, areas=(0, 3, 40), fill_holes=fill, select=select)
    for row in range(0, len(THRESHOLDS), 5):
        for column, area in enumerate(found.areas):
            expected = slowly(images, threshold=THRESHOLDS[row], area=area, fill=fill, select=select)
            assert found.scores[row, column] == pytest.approx(expected, abs=1e-9)


def test_the_best_is_the_greatest_and_beats_one_half(images):
    found = search(images, areas=(0, 3, 40), fill_holes=False, select="mean_precision")
    threshold, area, best = found.best
    assert best == pytest.approx(found.scores.max(), abs=1e-6)
    assert best > found.before
    assert threshold < 0.5
    assert area > 0


def test_of_equals_the_one_nearest_to_one_half_and_to_no_area_is_taken():
    found = Search((0.3, 0.4, 0.5, 0.6), (0, 10), np.full((4, 2), 0.7))
    assert found.best == (0.5, 0, 0.7)


def test_ignored_pixels_do_not_count():
    truth = np.array([[1, 1, 255, 255, 0]], np.uint8)
    prediction = np.array([[0.9, 0.9, 0.9, 0.9, 0.1]], np.float32)
    assert search([(truth, prediction)], areas=(0,), fill_holes=False, select="mean_iou").before == 1


def test_areas_worth_trying_are_far_smaller_than_the_images():
    assert areas_for([(101, 101)] * 3) == (0, 5, 10, 20, 40, 80, 160)
    assert areas_for([(10, 10)]) == (0,)


def test_a_class_loses_its_specks_and_no_more():
    truth = np.zeros((40, 40), np.uint8)
    truth[5:15, 5:15], truth[20:24, 20:24] = 2, 2
    prediction = truth.copy()
    prediction[30, 30], prediction[1, 1:4] = 2, 2
    area, best, before = search_area([(truth, prediction)], label=2, areas=(0, 2, 5, 20))
    assert (area, best) == (5, 1.0)
    assert before == pytest.approx(116 / 120)
