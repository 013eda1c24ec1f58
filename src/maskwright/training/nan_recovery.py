"""A loss that is no number: back to the last checkpoint at half the learning rate, but not for ever."""

from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.training.state import State

_MOST_IN_A_ROW: Final = 3


class LossNotFinite(InputError):
    """The loss or the weights became NaN or infinite, and lower learning rates did not help."""

    text = (
        "The {fault} at step {step} of {run}, at a peak learning rate of {peak:g} and after going back to a checkpoint "
        "{times} times in a row. Train again with --overwrite and a lower training.learning_rate."
    )


class NotFinite(Exception):
    """A number of the training became NaN or infinite; the text says which."""


def gone_back(now: State, then: State | None, fault: NotFinite, *, run: Path, peak: float) -> State:
    """``then``, the state of the last checkpoint, to go on from at half the rate of ``now``; its last word says so.

    What the time was, which network is the best and by how many images, and which are kept stays as it is ``now``.

    Args:
        now: Where the numbers became useless.
        then: The last checkpoint's; None where there is none.
        fault: Which number it was.
        run: The folder, for the error.
        peak: The recipe's learning rate.

    Raises:
        LossNotFinite: There is no checkpoint, or three times in a row did not lead past this one.
    """
    again = then is not None and then.step <= now.went_back_to
    times = now.setbacks if again else 0
    if then is None or times == _MOST_IN_A_ROW:
        raise LossNotFinite(fault=fault, step=now.step, run=run, peak=peak * now.rate, times=times)
    for name in ("began", "best", "best_step", "best_answer", "looked_at", "snapshots", "reserve"):
        setattr(then, name, getattr(now, name))
    then.rate = now.rate / 2
    then.setbacks, then.went_back_to = times + 1, then.step
    line = (
        f"The {fault} at step {now.step}: goes back to step {then.step}, "
        f"at half the learning rate, {peak * then.rate:g} at its peak."
    )
    then.went_back = [*now.went_back, line]
    return then
