from pathlib import Path

import pytest

from maskwright.training.nan_recovery import LossNotFinite, NotFinite, recovered_state
from maskwright.training.state import State

FAULT = NotFinite("loss became nan")


def recovered(current, saved):
    return recovered_state(current, saved, FAULT, run=Path("run"), peak=0.8)


def test_the_step_is_the_checkpoints_and_the_results_are_the_current_ones():
    results = {"first_step_ended": 3.0, "best": 0.7, "best_step": 8, "best_sample": [0.7]}
    results |= {"validation_images": 32, "snapshots": 2, "reserved_seconds": 7.0}
    current = State(step=9, **results, history=[{"step": 4}, {"step": 8}], losses=[0.1])
    saved = State(
        step=4,
        first_step_ended=1.0,
        best=0.2,
        best_step=4,
        best_sample=[0.2],
        snapshots=1,
        reserved_seconds=5.0,
        history=[{"step": 4}],
    )
    state = recovered(current, saved)
    (sentence,) = state.nan_recoveries
    assert sentence.startswith("The loss became nan at step 9: ")
    assert sentence.endswith(" 0.4.")
    expected = State(step=4, **results, history=[{"step": 4}], lr_factor=0.5, retries=1, retried_step=4)
    expected.nan_recoveries = [sentence]
    assert state == expected


def test_one_checkpoint_is_retried_three_times():
    state = State()
    for lr_factor in (0.5, 0.25, 0.125):
        state = recovered(State(**{**vars(state), "step": 9}), State(step=4))
        assert state.lr_factor == lr_factor
    with pytest.raises(LossNotFinite, match=r"peak learning rate of 0\.1 .* 3 returns"):
        recovered(State(**{**vars(state), "step": 9}), State(step=4))


def test_a_later_checkpoint_resets_the_number_of_retries():
    current = State(step=9, lr_factor=0.125, retries=3, retried_step=4)
    assert recovered(current, State(step=8)).retries == 1
    assert current.lr_factor == 0.125


def test_without_a_checkpoint_a_nan_is_an_error():
    with pytest.raises(LossNotFinite, match="after 0 returns"):
        recovered(State(step=9), None)
