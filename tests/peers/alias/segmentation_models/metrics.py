"""The reference's metrics are functions of a batch; ours accumulate, so each call here starts a new one."""

from maskwright.metrics import FScore as _FScore
from maskwright.metrics import IOUScore as _IOUScore


def _of_a_batch(metric):
    def with_options(**options):
        return lambda truth, guess: metric(**options)(truth, guess)

    return with_options


IOUScore, FScore = _of_a_batch(_IOUScore), _of_a_batch(_FScore)
