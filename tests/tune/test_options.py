"""An option is turned on only if it gains on the half that chose its values, and on the other half."""

from pathlib import Path

import numpy as np
import pytest

from maskwright.data.pairs import Pair
from maskwright.tune.halves import Halves, split_into_halves
from maskwright.tune.held_out import HeldOutImage, HeldOutPredictions
from maskwright.tune.options import tune_options
from maskwright.tune.result import TuningResult
from maskwright.tune.scoring import MaskScorer
from maskwright.tune.time_limit import TimeLimit
from tests.inference.fake_engines import bundle

SIDE = 20
TRUTH = np.zeros((SIDE, SIDE), np.uint8)
TRUTH[5:15, 5:15] = 1


def faint(truth):
    """Probabilities of a network that misses the object at a threshold of 0.5, and finds it at 0.3."""
    return np.where(truth == 1, 0.4, 0.05)


def noisy(truth):
    """Probabilities of a network that finds the object at a threshold of 0.5, and too much at 0.3."""
    return np.where(truth == 1, 0.9, 0.35)


@pytest.fixture
def tuned(tmp_path):
    def tune(probabilities, transformed=None, *, transforms=None, limit=None, **changes):
        """Tune on images whose probabilities are computed by a function of each image's truth."""
        transforms = transforms or {}
        pairs = [
            Pair(f"{index}", Path(f"{index}.png"), Path(f"{index}-mask.png")) for index in range(len(probabilities))
        ]
        images = [HeldOutImage(pair, TRUTH, index * TRUTH.size) for index, pair in enumerate(pairs)]
        result = TuningResult(bundle(), "mean_iou", (), held_out_images=len(images))
        with HeldOutPredictions(images, ("mirrored",) if transforms else (), 1, folder=tmp_path) as predicted:
            for variant, functions in enumerate([probabilities, transformed] if transforms else [probabilities]):
                for index, function in enumerate(functions):
                    predicted.add(index, variant, function(TRUTH)[..., None].astype(np.float32))
            scorer = MaskScorer(predicted, bundle(), "mean_iou", groups={})
            return tune_options(scorer, result, transforms, limit=limit, **changes)

    return tune


def options_of(result):
    return {option.name: option for option in result.options}


def test_a_threshold_that_gains_on_both_halves_is_used(tuned):
    result = tuned([faint] * 4)
    assert (result.bundle.threshold, result.scores) == (0.35, (1.0, 1.0))
    option = options_of(result)["threshold 0.35"]
    assert (option.gain, option.check_gain, option.on) == (1.0, 1.0, True)
    assert "threshold 0.35 (+1.0000)" in result.summary()[0]
    assert (result.record().score, result.record().check_score) == (1.0, 1.0)


def test_a_threshold_that_gains_only_on_the_half_that_chose_it_is_refused(tuned):
    result = tuned([faint, noisy, faint, noisy])
    option = options_of(result)["threshold 0.35"]
    assert option.gain == 1.0
    assert option.check_gain == 0.0
    assert not option.on
    assert result.bundle == bundle()
    assert "no option improves the mean IoU of both" in result.summary()[0]


@pytest.mark.parametrize(("kinds", "expected"), [([noisy] * 4, ("mirrored",)), ([noisy, faint] * 2, ())])
def test_flips_are_used_only_if_they_gain_on_both_halves(tuned, kinds, expected):
    wrong = lambda truth: np.where(truth == 1, 0.45, 0.6)  # noqa: E731  wrong everywhere without its mirror image
    mirrored = [{noisy: lambda truth: np.where(truth == 1, 0.9, 0.1), faint: wrong}[kind] for kind in kinds]
    result = tuned([wrong] * 4, mirrored, transforms={"flips": ("mirrored",)})
    assert result.bundle.tta == expected
    assert any("runs the network 2 times" in line for line in result.summary()) == bool(expected)


def test_without_time_nothing_is_turned_on_and_each_option_is_named(tuned):
    result = tuned([faint] * 4, [faint] * 4, transforms={"flips": ("mirrored",)}, limit=TimeLimit(lambda: -1.0))
    assert result.bundle == bundle()
    assert [note.partition(":")[0] for note in result.notes] == ["flips", "fill holes", "threshold"]


def test_a_search_within_a_time_limit_uses_fewer_images(tuned):
    left = iter([1e3] * 3)  # time for the holes, for the search, and for one image of the selection half
    result = tuned([faint] * 8, limit=TimeLimit(lambda: next(left, -1.0)))
    assert result.bundle.threshold == 0.35
    assert result.notes == ("threshold: chosen on 2 of 4 images to keep the time budget.",)


def test_transforms_are_not_scored_if_their_prediction_takes_too_long(tuned):
    result = tuned([faint] * 4, [faint] * 4, transforms={"flips": ("mirrored",)}, predict=lambda transforms: False)
    assert "flips" not in options_of(result)
    assert result.notes == ("flips: not tried, to keep the time budget.",)


def test_halves_keep_groups_together_and_ignore_groups_that_leave_one_image():
    names = dict(enumerate(["v1-a", "v1-b", "v1-c", "v2-a", "v3-a", "v4-a"]))
    groups = {name: name[:2] for name in names.values()}
    assert split_into_halves(names, groups) == Halves((0, 1, 2), (3, 4, 5))
    assert split_into_halves(names, dict.fromkeys(names.values(), "one")) == Halves((0, 2, 4), (1, 3, 5))
    assert split_into_halves(names, {}) == split_into_halves(dict(reversed(names.items())), {})
