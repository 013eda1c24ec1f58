"""Presets: the layout and the recipe of a well-known job, which any option given beside them overrides."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from maskwright.tgs_salt.layout import SALT, read_salt

Fields = Mapping[str, Mapping[str, Any]]


class Given(NamedTuple):
    """A recipe's fields, by section, and what a person should know of the data."""

    fields: Fields
    notes: tuple[str, ...]


class Preset(NamedTuple):
    """How a folder of data becomes a recipe, and in how many folds it is trained."""

    read: Callable[..., Given]
    folds: int


def tgs_salt(data: Path, *, masks_into: Path) -> Given:
    """The TGS salt identification challenge, from scratch, as its medal winners describe it.

    Binary cross-entropy and Dice, then the Lovász hinge; scSE attention and hypercolumns; depth as a channel; weights
    averaged at the end; the challenge's own score; five folds by salt coverage and depth. Published afterwards in the
    challenge's discussions; for scSE see Roy et al. (2018), for the loss Berman et al. (2018).

    Raises:
        InputError: As `read_salt` does.
    """
    found = read_salt(data, masks_into=masks_into)
    fields: dict[str, dict[str, Any]] = {
        "data": {
            "images": found.images,
            "masks": found.masks,
            "mask_values": {0: "background", SALT: "salt", 65535: "salt"},
            "channels": 1,
            "position": ("row", "row_times_image"),
            "groups": "identical",
        },
        "network": {"backbone": "resnet34", "attention": "scse", "hypercolumn": True},
        "augmentation": {"flip": "horizontal", "zoom": 0.25, "rotation": 0.0, "brightness": 0.1, "contrast": 0.1},
        "training": {
            "time_budget": "8h",
            "early_share": 0.0,
            "loss": {"cross_entropy": 1.0, "dice": 1.0},
            "late_loss": {"lovasz": 1.0},
            "late_share": 0.4,
            "average_share": 0.15,
            "select": "mean_precision",
        },
    }
    if found.depths is not None:
        fields["data"]["strata"] = found.depths
    return Given(fields, found.notes)


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({"tgs-salt": Preset(tgs_salt, folds=5)})
"""By the name that ``--preset`` takes."""
