import numpy as np
import pytest

from maskwright.training.lr_schedule import learning_rate
from maskwright.training.progressive_resize import patch_size
from maskwright.training.recipe import ProgressiveResize
from maskwright.training.schedule import StepSchedule, Stopwatch, TimeSchedule
from tests.training.rig import Clock


def clock_at(seconds):
    clock = Clock()
    clock.seconds = seconds
    return clock


def test_the_learning_rate_has_a_linear_warm_up_and_a_cosine_decay():
    rates = [learning_rate(p, peak=2.0, warmup=0.2) for p in np.linspace(0, 1, 11)]
    falling = 1 + np.cos(np.pi * np.linspace(0, 1, 9))  # from 0.2 to 1, of peak 2
    np.testing.assert_allclose(rates, [0, 1, *falling], atol=1e-12)


def test_without_warm_up_the_learning_rate_begins_at_its_peak():
    assert learning_rate(0.0, peak=3.0, warmup=0.0) == 3.0


def test_a_step_schedule_ends_after_its_steps_and_returns_the_time_left():
    clock = Clock()
    schedule = StepSchedule(10, Stopwatch(0.0, now=clock), first=2)
    assert schedule.seconds_left(2) is None
    clock.seconds = 6.0  # two steps of 3 seconds
    assert schedule.progress(4) == 0.4
    assert schedule.seconds_left(4) == pytest.approx(18.0)
    assert schedule.progress(10) == 1.0


def test_a_time_schedule_counts_from_the_first_step_and_keeps_its_reserve():
    clock = clock_at(30.0)
    schedule = TimeSchedule(100.0, Stopwatch(0.0, now=clock), reserve=10.0)
    assert schedule.progress(0) == 0.0  # reading and tracing do not shorten the schedule
    schedule.started = 30.0
    clock.seconds = 60.0
    assert schedule.progress(5) == pytest.approx(0.5)
    assert schedule.seconds_left(5) == pytest.approx(30.0)
    clock.seconds = 90.0
    assert schedule.progress(9) == 1.0
    assert schedule.seconds_left(9) == 0.0


def test_progress_does_not_decrease_when_the_reserve_shrinks():
    schedule = TimeSchedule(100.0, Stopwatch(0.0, now=clock_at(50.0)), started=0.0, reserve=40.0)
    before = schedule.progress(0)
    schedule.reserve = 0.0
    assert schedule.progress(0) == before


def test_a_budget_spent_before_the_first_step_is_over():
    schedule = TimeSchedule(10.0, Stopwatch(0.0, now=clock_at(11.0)))
    assert schedule.progress(0) == 1.0


def test_the_stopwatch_adds_earlier_sessions():
    assert Stopwatch(5.0, earlier_sessions=100.0, now=clock_at(7.0)).seconds() == 102.0


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
def test_early_patches_are_smaller_with_a_similar_shape(patch, early):
    assert patch_size(0.2, patch=patch, resize=ProgressiveResize()) == early
    assert patch_size(0.7, patch=patch, resize=ProgressiveResize()) == patch
    assert patch_size(0.2, patch=patch, resize=None) == patch
