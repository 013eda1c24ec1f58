"""Loss instances named as in segmentation_models, and a table of losses by their names in a recipe."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from types import MappingProxyType
from typing import Final, NamedTuple

from maskwright.errors import one_of
from maskwright.losses.base import SegmentationLoss
from maskwright.losses.cross_entropy import BinaryCELoss, CategoricalCELoss
from maskwright.losses.focal import BinaryFocalLoss, CategoricalFocalLoss
from maskwright.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from maskwright.losses.matthews import MCCLoss
from maskwright.losses.region import DiceLoss, JaccardLoss
from maskwright.losses.tversky import FocalTverskyLoss, TverskyLoss

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


class NamedLoss(NamedTuple):
    """Loss classes with the same name, one for each output activation."""

    sigmoid: Callable[..., SegmentationLoss]
    softmax: Callable[..., SegmentationLoss]
    mean_over_pixels: bool = False
    """Whether the loss is a mean over pixels, which for a softmax is also divided by the number of classes."""

    def build(
        self, channels: int, *, class_weights: Sequence[float] | None = None, ignore: int | None = None
    ) -> SegmentationLoss:
        """Create the loss for ``channels`` output channels: that of a sigmoid for one, that of a softmax for several.

        A loss that is a mean over pixels and classes is multiplied by the number of classes, so that the cost of a
        pixel does not depend on the number of classes.
        """
        loss = (self.sigmoid if channels == 1 else self.softmax)(class_weights=class_weights, ignore=ignore)
        return loss * channels if self.mean_over_pixels and channels > 1 else loss


LOSSES_BY_NAME: Mapping[str, NamedLoss] = MappingProxyType(
    {
        "cross_entropy": NamedLoss(BinaryCELoss, CategoricalCELoss, mean_over_pixels=True),
        "focal": NamedLoss(BinaryFocalLoss, CategoricalFocalLoss, mean_over_pixels=True),
        "dice": NamedLoss(DiceLoss, DiceLoss),
        "jaccard": NamedLoss(JaccardLoss, JaccardLoss),
        "tversky": NamedLoss(TverskyLoss, TverskyLoss),
        "focal_tversky": NamedLoss(FocalTverskyLoss, FocalTverskyLoss),
        "mcc": NamedLoss(MCCLoss, MCCLoss),
        "lovasz": NamedLoss(LovaszHingeLoss, LovaszSoftmaxLoss),
    }
)
"""Table of losses by their names in a recipe."""

SORTING_LOSSES: Final = frozenset({"lovasz"})
"""Names of the losses that sort pixels, an operation that XLA compiles to slow code."""


def loss_from_names(
    weights: Mapping[str, float],
    *,
    channels: int,
    class_weights: Sequence[float] | None = None,
    pixel_weights: Sequence[float] | None = None,
    ignore: int | None = None,
) -> SegmentationLoss:
    """Create a weighted sum of losses from `LOSSES_BY_NAME`.

    Args:
        weights: Mapping from the name of each loss to its weight, with at least one entry.
        channels: Number of output channels of the network: one for a sigmoid, several for a softmax.
        class_weights: Class weights, one per output channel; None means that all weights are 1.
        pixel_weights: Class weights, one per output channel, that replace ``class_weights`` in the losses that are
            means over pixels. Region losses already balance the classes.
        ignore: Label id of the pixels to exclude.

    Raises:
        UnknownChoice: The name of a loss is unknown.
        WrongArgument: A weight is negative or not finite.

    >>> loss_from_names({"dice": 1, "lovasz": 0.5}, channels=1).name
    'dice_loss_plus_0.5_times_lovasz_hinge_loss'
    """
    named_losses = {name: one_of("loss", name, LOSSES_BY_NAME) for name in weights}
    terms = [
        loss.build(
            channels,
            class_weights=(loss.mean_over_pixels and pixel_weights) or class_weights,
            ignore=ignore,
        )
        for loss in named_losses.values()
    ]
    scaled = (term if weight == 1 else term * weight for term, weight in zip(terms, weights.values(), strict=True))
    return reduce(add, scaled)
