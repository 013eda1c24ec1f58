import numpy as np
import pytest

from maskwright.training.recipe import ProgressiveResize
from maskwright.training.schedule import ByClock, BySteps, Stopwatch, learning_rate, patch_size


class Hand:
    """A clock that stands where it is put."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


def test_the_rate_rises_straight_and_falls_along_half_a_cosine():
    rates = [learning_rate(p, peak=2.0, warmup=0.2) for p in np.linspace(0, 1, 11)]
    falling = 1 + np.cos(np.pi * np.linspace(0, 1, 9))  # from 0.2 to 1, of peak 2
    np.testing.assert_allclose(rates, [0, 1, *falling], atol=1e-12)


def test_without_warm_up_the_rate_begins_at_its_peak():
    assert learning_rate(0.0, peak=3.0, warmup=0.0) == 3.0


def test_a_run_by_steps_ends_after_its_steps_and_tells_the_time_left():
    hand = Hand()
    schedule = BySteps(10, Stopwatch(0.0, now=hand), first=2)
    assert schedule.seconds_left(2) is None
    hand.seconds = 6.0  # two steps of 3 seconds
    assert schedule.progress(4) == 0.4
    assert schedule.seconds_left(4) == pytest.approx(18.0)
    assert schedule.progress(10) == 1.0


def test_a_run_by_the_clock_counts_from_its_first_step_and_keeps_its_reserve():
    hand = Hand(30.0)
    schedule = ByClock(100.0, Stopwatch(0.0, now=hand), reserve=10.0)
    assert schedule.progress(0) == 0.0  # reading and tracing do not use up the schedule
    schedule.began = 30.0
    hand.seconds = 60.0
    assert schedule.progress(5) == pytest.approx(0.5)
    assert schedule.seconds_left(5) == pytest.approx(30.0)
    hand.seconds = 90.0
    assert schedule.progress(9) == 1.0
    assert schedule.seconds_left(9) == 0.0


def test_progress_never_falls_back_when_the_reserve_shrinks():
    hand = Hand(50.0)
    schedule = ByClock(100.0, Stopwatch(0.0, now=hand), began=0.0, reserve=40.0)
    before = schedule.progress(0)
    schedule.reserve = 0.0
    assert schedule.progress(0) == before


def test_a_budget_spent_before_the_first_step_is_over():
    schedule = ByClock(10.0, Stopwatch(0.0, now=Hand(11.0)))
    assert schedule.progress(0) == 1.0


def test_the_stopwatch_counts_earlier_sittings():
    assert Stopwatch(5.0, before=100.0, now=Hand(7.0)).seconds() == 102.0


@pytest.mark.parametrize(
    ("patch", "early"),
    [
        ((256, 320), (160, 192)),
        ((64, 64), (64, 64)),
        ((96, 128), (64, 96)),
        ((64, 704), (64, 448)),
        ((32, 32), (32, 32)),
    ],
)
def test_early_patches_are_smaller_but_not_too_small_nor_of_another_shape(patch, early):
    assert patch_size(0.2, patch=patch, resize=ProgressiveResize()) == early
    assert patch_size(0.7, patch=patch, resize=ProgressiveResize()) == patch
    assert patch_size(0.2, patch=patch, resize=None) == patch
