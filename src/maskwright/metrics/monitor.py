"""Names of the scores by which a network is selected during training and by which predictions are tuned."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Monitor = Literal["mean_iou", "dice", "mean_precision"]
"""Name of a score: mean IoU, mean Dice coefficient, or the score of the TGS salt challenge for one class."""

SCORE_NAMES: Final[Mapping[Monitor, str]] = MappingProxyType(
    {
        "mean_iou": "mean IoU",
        "dice": "mean Dice coefficient",
        "mean_precision": "mean precision over IoU 0.5 to 0.95",
    }
)
"""Display name of each score."""
