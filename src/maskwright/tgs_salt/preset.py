"""Define the recipe preset of the TGS salt identification challenge."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from maskwright.tgs_salt.layout import SALT_VALUE, read_salt

Fields = Mapping[str, Mapping[str, Any]]


class PresetFields(NamedTuple):
    """Recipe fields, by section of the recipe, and warnings about the data."""

    fields: Fields
    warnings: tuple[str, ...]


class Preset(NamedTuple):
    """A function that reads a data set and returns recipe fields, with the default number of folds."""

    read: Callable[..., PresetFields]
    folds: int


def tgs_salt(data: Path, *, masks_into: Path) -> PresetFields:
    """Return recipe fields for the data set of the challenge; they follow the published winning solutions.

    The network is trained from scratch with scSE attention (Roy et al., 2018), hypercolumns and coordinate channels.
    The loss is the sum of binary cross-entropy and Dice loss, followed by the Lovász hinge (Berman et al., 2018) in the
    last part of training. The weights are averaged at the end of training. The network with the best score, as defined
    by the challenge, is selected.

    Args:
        data: Folder of the data set.
        masks_into: Folder outside the data set to which decoded masks are written.

    Raises:
        InputError: The data set is incomplete, inconsistent or unreadable; see `read_salt`.
    """
    data_set = read_salt(data, masks_into=masks_into)
    fields: dict[str, dict[str, Any]] = {
        "data": {
            "images": data_set.images,
            "masks": data_set.masks,
            "mask_values": {0: "background", SALT_VALUE: "salt", 65535: "salt"},
            "channels": 1,
            "coord_channels": ("row", "row_times_image"),
            "grouping": "duplicates",
        },
        "network": {"backbone": "resnet34", "encoder_weights": "none", "attention": "scse", "hypercolumn": True},
        "augmentation": {"flip": "horizontal", "zoom": 0.25, "rotation": 0.0, "brightness": 0.1, "contrast": 0.1},
        "training": {
            "time_budget": "8h",
            "progressive_resize": None,
            "loss": {"cross_entropy": 1.0, "dice": 1.0},
            "final_loss": {"loss": {"lovasz": 1.0}, "start": 0.6},
            "weight_averaging": 0.15,
            "monitor": "mean_precision",
        },
    }
    if data_set.depths is not None:
        fields["data"]["strata"] = data_set.depths
    return PresetFields(fields, data_set.warnings)


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({"tgs-salt": Preset(tgs_salt, folds=5)})
"""Presets by name, as accepted by the option ``--preset``."""
