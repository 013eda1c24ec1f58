"""Segmentation losses, as pure functions and as Keras losses that can be added, scaled and serialised.

``0.5 * CategoricalCELoss(ignore=255) + DiceLoss(ignore=255)`` is a Keras loss. Cross entropy, focal and Lovász hinge
losses accept probabilities, or logits with ``from_logits=True``. All other losses accept only probabilities, and so
does a sum that contains one of them.
"""

from maskwright.losses.base import LogitsMixedWithProbabilities, ScaledLoss, SegmentationLoss, SumOfLosses
from maskwright.losses.catalogue import (
    LOSSES_BY_NAME,
    bce_dice_loss,
    bce_jaccard_loss,
    binary_crossentropy,
    binary_focal_dice_loss,
    binary_focal_jaccard_loss,
    binary_focal_loss,
    categorical_crossentropy,
    categorical_focal_dice_loss,
    categorical_focal_jaccard_loss,
    categorical_focal_loss,
    cce_dice_loss,
    cce_jaccard_loss,
    dice_loss,
    jaccard_loss,
    loss_from_names,
)
from maskwright.losses.cross_entropy import (
    BinaryCELoss,
    CategoricalCELoss,
    binary_cross_entropy,
    categorical_cross_entropy,
)
from maskwright.losses.focal import BinaryFocalLoss, CategoricalFocalLoss, binary_focal, categorical_focal
from maskwright.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss, lovasz_hinge, lovasz_softmax
from maskwright.losses.matthews import MCCLoss, mcc
from maskwright.losses.region import DiceLoss, JaccardLoss, dice, jaccard
from maskwright.losses.tversky import FocalTverskyLoss, TverskyLoss, focal_tversky, tversky

__all__ = [
    "LOSSES_BY_NAME",
    "BinaryCELoss",
    "BinaryFocalLoss",
    "CategoricalCELoss",
    "CategoricalFocalLoss",
    "DiceLoss",
    "FocalTverskyLoss",
    "JaccardLoss",
    "LogitsMixedWithProbabilities",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MCCLoss",
    "ScaledLoss",
    "SegmentationLoss",
    "SumOfLosses",
    "TverskyLoss",
    "bce_dice_loss",
    "bce_jaccard_loss",
    "binary_cross_entropy",
    "binary_crossentropy",
    "binary_focal",
    "binary_focal_dice_loss",
    "binary_focal_jaccard_loss",
    "binary_focal_loss",
    "categorical_cross_entropy",
    "categorical_crossentropy",
    "categorical_focal",
    "categorical_focal_dice_loss",
    "categorical_focal_jaccard_loss",
    "categorical_focal_loss",
    "cce_dice_loss",
    "cce_jaccard_loss",
    "dice",
    "dice_loss",
    "focal_tversky",
    "jaccard",
    "jaccard_loss",
    "loss_from_names",
    "lovasz_hinge",
    "lovasz_softmax",
    "mcc",
    "tversky",
]
