"""Time that a training with a time budget reserves for validations and the final check."""

import pytest

from maskwright.training.schedule import Stopwatch
from maskwright.training.state import State
from maskwright.training.time_budget import BudgetTooShort, TimeBudget
from tests.training.rig import Clock


def time_budget(clock, pixels, budget=1000.0, earlier_sessions=0.0, tuning_passes=None):
    stopwatch = Stopwatch(0.0, earlier_sessions=earlier_sessions, now=clock)
    return TimeBudget(
        stopwatch, budget=budget, steps=0, pixels=pixels, batch_size=4, is_float32=True, tuning_passes=tuning_passes
    )


def validate(budget, clock, pixels, *, compiling=0):
    """Record a validation of every fourth image, which takes a second for 10,000 pixels."""
    seconds = [number / 10_000 for number in pixels[::4]]
    seconds[:compiling] = [20.0] * compiling
    clock.seconds += sum(seconds)
    budget.after_validation(started=clock.seconds - sum(seconds), image_seconds=seconds)


def test_the_final_check_is_estimated_from_the_pixels_of_all_images():
    pixels = [1000, 16_000, 1000, 1000] * 64 + [1000]  # no large image is among every fourth one
    clock = Clock()
    budget = time_budget(clock, pixels)
    validate(budget, clock, pixels, compiling=8)
    state = State(best=0.5, validation_images=65)
    schedule = budget.start_session(State())
    for _ in range(5):
        clock.seconds += 1.0
        budget.after_step(schedule, state, work=100)
    final_check = 1.1 * 1.15 * sum(pixels) / 10_000
    intermediate = 65 * 0.1 + 8 * 19.9
    assert schedule.reserve == pytest.approx(15 + intermediate + final_check)


def test_the_reserved_time_is_kept_in_the_next_session():
    assert time_budget(Clock(), [100]).start_session(State(reserved_seconds=70.0)).reserve == 70.0


@pytest.mark.parametrize(("state", "expected"), [(State(), 32), (State(validation_images=87), 87)])
def test_the_first_validation_uses_few_images_and_decides_their_number(state, expected):
    before = state.validation_images
    assert time_budget(Clock(), [100] * 800).intermediate_images(state) == expected
    assert state.validation_images == before


def test_no_validation_is_due_before_its_cost_can_be_estimated():
    clock = Clock()
    budget, state = time_budget(clock, [100] * 800, budget=1e6), State()
    schedule = budget.start_session(state)
    due = []
    for _ in range(5):
        clock.seconds += 1000.0
        budget.after_step(schedule, state, work=10**6)
        due.append(budget.validation_is_due(schedule, state))
    assert due == [False, False, False, True, True]


def test_a_resumed_session_does_not_begin_with_a_validation():
    clock = Clock()
    budget = time_budget(clock, [10_000], budget=1e4, earlier_sessions=500.0)
    state = State(seconds=490.0, validation_images=1, best=0.5)
    schedule = budget.start_session(state)
    for _ in range(5):
        clock.seconds += 1.0
        budget.after_step(schedule, state, work=100)
    assert not budget.validation_is_due(schedule, state)


def test_a_training_that_just_began_is_refused_if_the_final_check_takes_too_long():
    clock = Clock()
    budget = time_budget(clock, [10_000] * 800)
    clock.seconds = 5.0
    budget.after_validation(started=0.0, image_seconds=[2.0] * 32)
    with pytest.raises(BudgetTooShort, match="about 2024 s"):
        budget.check_feasible(State(step=5))
    budget.check_feasible(State(step=6))
    budget.check_feasible(State(step=5, nan_recoveries=["a NaN"]))


def test_a_short_budget_is_answered_with_a_longer_one():
    clock = Clock()
    clock.seconds = 25.0
    error = time_budget(clock, [100], budget=40.0).too_short(State())
    assert error.fields["minimum"] == "50 s"


@pytest.mark.parametrize(
    ("tuning_passes", "expected"),
    [
        (None, 0.0),  # the network is not tuned
        (2.0, 2.0 * 1.1 * 4.0 + 400 * 1e-6),  # two more predictions of all images, and the search for a threshold
        (99.0, 0.05 * 1000.0),  # at most a twentieth of the time budget
    ],
)
def test_time_for_tuning_is_reserved_up_to_a_twentieth_of_the_budget(tuning_passes, expected):
    clock = Clock()
    budget = time_budget(clock, [100] * 4, tuning_passes=tuning_passes)
    clock.seconds = 4.0
    budget.after_validation(started=0.0, image_seconds=[1.0] * 4)
    state = State(best=0.5, validation_images=4)
    schedule = budget.start_session(state)
    for _ in range(5):
        clock.seconds += 1.0
        budget.after_step(schedule, state, work=100)
    assert schedule.reserve == pytest.approx(15 + 4.0 + 1.1 * 4.0 + expected)
    assert budget.tuning_deadline(state) == 1000.0 - 8.0


def test_a_run_that_was_killed_after_its_last_step_has_the_reserved_time_for_tuning():
    clock = Clock()
    budget = time_budget(clock, [100] * 4, earlier_sessions=980.0, tuning_passes=2.0)
    clock.seconds = 40.0
    state = State(step=9, reserved_seconds=70.0)
    budget.start_session(state)
    assert budget.tuning_deadline(state) == 1020.0 + 70.0 - 8.0
    assert time_budget(clock, [100], budget=None).tuning_deadline(state) is None
