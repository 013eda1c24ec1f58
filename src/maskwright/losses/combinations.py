"""Losses ready to use: the reference library's names, and a table of words for settings."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import NamedTuple

from maskwright.errors import one_of
from maskwright.losses.base import SegmentationLoss
from maskwright.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from maskwright.losses.matthews import MCCLoss
from maskwright.losses.pixel import BinaryCELoss, BinaryFocalLoss, CategoricalCELoss, CategoricalFocalLoss
from maskwright.losses.region import DiceLoss, FocalTverskyLoss, JaccardLoss, TverskyLoss

jaccard_loss = JaccardLoss()
dice_loss = DiceLoss()
binary_focal_loss = BinaryFocalLoss()
categorical_focal_loss = CategoricalFocalLoss()
binary_crossentropy = BinaryCELoss()
categorical_crossentropy = CategoricalCELoss()

bce_dice_loss = binary_crossentropy + dice_loss
bce_jaccard_loss = binary_crossentropy + jaccard_loss
cce_dice_loss = categorical_crossentropy + dice_loss
cce_jaccard_loss = categorical_crossentropy + jaccard_loss
binary_focal_dice_loss = binary_focal_loss + dice_loss
binary_focal_jaccard_loss = binary_focal_loss + jaccard_loss
categorical_focal_dice_loss = categorical_focal_loss + dice_loss
categorical_focal_jaccard_loss = categorical_focal_loss + jaccard_loss


class Heads(NamedTuple):
    """The class of loss a word stands for, by the head of the network."""

    sigmoid: Callable[..., SegmentationLoss]
    softmax: Callable[..., SegmentationLoss]

    def __call__(
        self, channels: int, *, class_weights: Sequence[float] | None = None, ignore: int | None = None
    ) -> SegmentationLoss:
        """The loss for a head of so many channels: one is a sigmoid, several are a softmax."""
        return (self.sigmoid if channels == 1 else self.softmax)(class_weights=class_weights, ignore=ignore)


LOSSES: Mapping[str, Heads] = MappingProxyType(
    {
        "cross_entropy": Heads(BinaryCELoss, CategoricalCELoss),
        "focal": Heads(BinaryFocalLoss, CategoricalFocalLoss),
        "dice": Heads(DiceLoss, DiceLoss),
        "jaccard": Heads(JaccardLoss, JaccardLoss),
        "tversky": Heads(TverskyLoss, TverskyLoss),
        "focal_tversky": Heads(FocalTverskyLoss, FocalTverskyLoss),
        "mcc": Heads(MCCLoss, MCCLoss),
        "lovasz": Heads(LovaszHingeLoss, LovaszSoftmaxLoss),
    }
)
"""Words for losses."""


def find_loss(
    words: str, *, channels: int, class_weights: Sequence[float] | None = None, ignore: int | None = None
) -> SegmentationLoss:
    """The loss a word of `LOSSES` stands for, or the sum of several: ``"cross_entropy + dice"``.

    Args:
        words: One or more words, with ``+`` between them.
        channels: Output channels of the network; one is a sigmoid, several are a softmax.
        class_weights: One weight for each channel.
        ignore: The id of truth pixels that weigh nothing.

    Raises:
        UnknownChoice: A word stands in no row.

    >>> find_loss("cross_entropy + dice", channels=3, ignore=255).name
    'categorical_crossentropy_plus_dice_loss'
    """
    factories = [one_of("loss", word.strip(), LOSSES) for word in words.split("+")]
    return reduce(add, (make(channels, class_weights=class_weights, ignore=ignore) for make in factories))
