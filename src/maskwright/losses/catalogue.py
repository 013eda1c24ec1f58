"""Losses ready to use: the reference library's names, and a table of words for settings."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Final, NamedTuple

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
    """The loss a word stands for, by the head of the network."""

    sigmoid: Callable[..., SegmentationLoss]
    softmax: Callable[..., SegmentationLoss]
    by_pixel: bool = False
    """Whether it is a mean over pixels, and for a softmax over classes as well, so the smaller the more there are."""

    def __call__(
        self, channels: int, *, class_weights: Sequence[float] | None = None, ignore: int | None = None
    ) -> SegmentationLoss:
        """The loss for a head of so many channels: one is a sigmoid, several are a softmax.

        A word means the same whatever the number of classes: a loss of the reference library that is a mean over
        classes as well as pixels is multiplied by their number.
        """
        loss = (self.sigmoid if channels == 1 else self.softmax)(class_weights=class_weights, ignore=ignore)
        return loss * channels if self.by_pixel and channels > 1 else loss


LOSSES: Mapping[str, Heads] = MappingProxyType(
    {
        "cross_entropy": Heads(BinaryCELoss, CategoricalCELoss, by_pixel=True),
        "focal": Heads(BinaryFocalLoss, CategoricalFocalLoss, by_pixel=True),
        "dice": Heads(DiceLoss, DiceLoss),
        "jaccard": Heads(JaccardLoss, JaccardLoss),
        "tversky": Heads(TverskyLoss, TverskyLoss),
        "focal_tversky": Heads(FocalTverskyLoss, FocalTverskyLoss),
        "mcc": Heads(MCCLoss, MCCLoss),
        "lovasz": Heads(LovaszHingeLoss, LovaszSoftmaxLoss),
    }
)
"""Words for losses, as settings have them."""

SORTING: Final = frozenset({"lovasz"})
"""Those that sort pixels."""


def loss_of_words(
    weights: Mapping[str, float],
    *,
    channels: int,
    class_weights: Sequence[float] | None = None,
    pixel_weights: Sequence[float] | None = None,
    ignore: int | None = None,
) -> SegmentationLoss:
    """The weighted sum of the losses that words of `LOSSES` stand for.

    Args:
        weights: Word to weight, at least one.
        channels: Output channels of the network; one is a sigmoid, several are a softmax.
        class_weights: One weight for each channel.
        pixel_weights: In their place for losses that are means over pixels; losses of regions count every class alike.
        ignore: The id of truth pixels that weigh nothing.

    Raises:
        UnknownChoice: A word stands in no row.
        WrongArgument: A weight is negative or not finite.

    >>> loss_of_words({"dice": 1, "lovasz": 0.5}, channels=1).name
    'dice_loss_plus_0.5_times_lovasz_hinge_loss'
    """
    heads = {word: one_of("loss", word, LOSSES) for word in weights}
    terms = [
        head(channels, class_weights=(head.by_pixel and pixel_weights) or class_weights, ignore=ignore)
        for head in heads.values()
    ]
    scaled = (term if weight == 1 else term * weight for term, weight in zip(terms, weights.values(), strict=True))
    return reduce(add, scaled)
