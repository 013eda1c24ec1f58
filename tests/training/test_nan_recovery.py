from pathlib import Path

import pytest

from maskwright.training.nan_recovery import LossNotFinite, NotFinite, gone_back
from maskwright.training.state import State

FAULT = NotFinite("loss became nan")


def back(now, then):
    return gone_back(now, then, FAULT, run=Path("run"), peak=0.8)


def test_the_place_is_the_checkpoints_and_the_rest_is_as_it_stands():
    kept = {"began": 3.0, "best": 0.7, "best_step": 8, "best_answer": [0.7], "looked_at": 32, "snapshots": 2}
    now = State(step=9, **kept, history=[{"step": 4}, {"step": 8}], losses=[0.1])
    then = State(step=4, began=1.0, best=0.2, best_step=4, best_answer=[0.2], snapshots=1, history=[{"step": 4}])
    line = "The loss became nan at step 9: goes back to step 4, at half the learning rate, 0.4 at its peak."
    assert back(now, then) == State(
        step=4, **kept, history=[{"step": 4}],
        rate=0.5, setbacks=1, went_back_to=4, went_back=[line],
    )  # fmt: skip


def test_three_times_in_a_row_and_no_more():
    now = State()
    for halved in (0.5, 0.25, 0.125):
        now = back(State(**{**vars(now), "step": 9}), State(step=4))
        assert now.rate == halved
    with pytest.raises(LossNotFinite, match=r"peak learning rate of 0\.1 and after going back .* 3 times in a row"):
        back(State(**{**vars(now), "step": 9}), State(step=4))


def test_a_checkpoint_further_on_begins_a_new_row():
    now = State(step=9, rate=0.125, setbacks=3, went_back_to=4)
    assert (back(now, State(step=8)).setbacks, now.rate) == (1, 0.125)


def test_without_a_checkpoint_there_is_no_way_back():
    with pytest.raises(LossNotFinite, match="0 times in a row"):
        back(State(step=9), None)
