"""What a training by the clock keeps of it, where images differ in size and sittings are interrupted."""

import pytest

from maskwright.training.schedule import Stopwatch
from maskwright.training.state import State
from maskwright.training.time_budget import BudgetTooShort, Pace
from tests.training.rig import Clock


def pace(clock, pixels, budget=1000.0):
    return Pace(Stopwatch(0.0, now=clock), budget=budget, steps=0, pixels=pixels, batch_size=4, is_alike=True)


def validated(one, clock, pixels, *, compiling=0):
    """Let it see a validation of every fourth image, at a second for 10,000 pixels."""
    took = [number / 10_000 for number in pixels[::4]]
    took[:compiling] = [20.0] * compiling
    clock.seconds += sum(took)
    one.validated(since=clock.seconds - sum(took), images=took)


def test_the_proof_of_images_of_different_sizes_is_reckoned_by_their_pixels():
    pixels = [1000, 16_000, 1000, 1000] * 64 + [1000]  # every large one is missed by the spread
    clock = Clock()
    one = pace(clock, pixels)
    validated(one, clock, pixels, compiling=8)
    schedule, state = one.begin(State()), State(best=0.5, looked_at=65)
    for _ in range(5):
        clock.seconds += 1.0
        one.stepped(schedule, state, work=100)
    proof = 1.1 * 1.15 * sum(pixels) / 10_000
    on_the_way = 65 * 0.1 + 8 * 19.9
    assert schedule.reserve == pytest.approx(15 + on_the_way + proof)


def test_what_was_kept_of_the_clock_is_kept_in_the_next_sitting():
    assert pace(Clock(), [100]).begin(State(reserve=70.0)).reserve == 70.0


@pytest.mark.parametrize(("state", "expected"), [(State(), 32), (State(best=0.5), 800), (State(looked_at=87), 87)])
def test_before_their_cost_is_known_few_images_are_looked_at_but_for_runs_that_looked_at_all(state, expected):
    assert pace(Clock(), [100] * 800).looked_at(state) == expected
    assert state.looked_at in (0, 87), "the first validation settles it"


def test_no_validation_is_due_before_its_cost_can_be_guessed():
    clock = Clock()
    one, state = pace(clock, [100] * 800, budget=1e6), State()
    schedule = one.begin(state)
    due = []
    for _ in range(5):
        clock.seconds += 1000.0
        one.stepped(schedule, state, work=10**6)
        due.append(one.validation_is_due(schedule, state))
    assert due == [False, False, False, True, True]


def test_a_sitting_that_goes_on_does_not_begin_with_a_validation():
    clock = Clock()
    one = Pace(
        Stopwatch(0.0, before=500.0, now=clock), budget=1e4, steps=0, pixels=[10_000], batch_size=4, is_alike=True
    )
    state = State(seconds=490.0, looked_at=1, best=0.5)
    schedule = one.begin(state)
    for _ in range(5):
        clock.seconds += 1.0
        one.stepped(schedule, state, work=100)
    assert not one.validation_is_due(schedule, state)


@pytest.mark.parametrize(("state", "refused"), [({}, True), ({"went_back": ["a NaN"]}, False), ({"step": 6}, False)])
def test_only_a_training_that_has_just_begun_is_refused(state, refused):
    clock = Clock()
    one = pace(clock, [10_000] * 800)
    clock.seconds = 5.0
    one.validated(since=0.0, images=[2.0] * 32)
    if refused:
        with pytest.raises(BudgetTooShort, match="about 2024 s"):
            one.refuse_hopeless(State(**{"step": 5} | state))
    else:
        one.refuse_hopeless(State(**{"step": 5} | state))
