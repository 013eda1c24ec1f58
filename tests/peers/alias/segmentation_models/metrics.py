"""Metrics of `segmentation_models` as functions of one batch, which create a new accumulating metric for each call.

The score of an absent class is NaN in Maskwright and 1 in `segmentation_models`, as its tests expect.
"""

from keras import ops

from maskwright.metrics import FScore as _FScore
from maskwright.metrics import IOUScore as _IOUScore


def _function_of_a_batch(metric):
    def with_options(**options):
        return lambda truth, prediction: ops.nan_to_num(metric(**options)(truth, prediction), nan=1.0)

    return with_options


IOUScore, FScore = _function_of_a_batch(_IOUScore), _function_of_a_batch(_FScore)
