"""Pixel counts of every evaluated image, from which the scores of any subset follow."""

import itertools

import numpy as np
import pytest
from PIL import Image

from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import Pair
from maskwright.inference import pipeline
from maskwright.training.evaluate import evaluate_pairs
from maskwright.training.run_records import ClassPixels
from tests.inference.fake_engines import Brightness


def paint(file, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file)
    return file


def test_the_evaluation_has_the_pixel_counts_of_each_image_and_class(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "perf_counter", itertools.count(step=0.25).__next__)
    bright, dark = [255] * 8, [0] * 8
    images = [np.array([bright, bright, dark, bright]), np.array([dark, dark, bright, dark])]
    # Foreground, foreground and ignored, background, background; then all background.
    masks = [[[1] * 8, [1, 1, 1, 1, 1, 9, 9, 9], [0] * 8, [0] * 8], [[0] * 8] * 4]
    pairs = [
        Pair(str(n), paint(tmp_path / f"i{n}.png", image), paint(tmp_path / f"m{n}.png", mask))
        for n, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    values = parse_mask_values({0: "background", 1: "cell", 9: "ignored"})
    evaluation = evaluate_pairs(Brightness(), pairs, mask_values=values)
    first, second = evaluation.images
    assert first.pixels == ClassPixels(true_positives=(8, 13), truth=(16, 13), predicted=(8, 21))
    assert second.pixels == ClassPixels(true_positives=(24, 0), truth=(32, 0), predicted=(24, 8))
    assert (first.seconds, second.seconds) == (0.25, 0.25)
    assert [score.iou for score in evaluation.scores.classes] == pytest.approx([32 / 48, 13 / 29])  # of the sums
    assert evaluation.score("mean_iou") == pytest.approx(13 / 29)
    assert evaluation.score("dice") == pytest.approx(2 * 13 / (13 + 29))
    assert evaluation.score("mean_precision") == evaluation.mean_precision
    record = evaluation.record()
    assert (record.scores, record.images) == (evaluation.scores, evaluation.images)
