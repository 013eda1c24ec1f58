"""The bundle: a JSON file, stored next to a network, with the settings needed for prediction."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.components import clean_up_steps, cleaned
from maskwright.images.coord_channels import CoordChannel, add_coord_channels, extra_channels, ramp
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.json_record import JsonRecord

BUNDLE_FILE = "bundle.json"

TtaTransform = Literal["mirrored", "upside_down", "turned_left", "turned_round", "turned_right", "smaller", "larger"]
"""A transform of test-time augmentation: a flip, a rotation by a multiple of 90°, or scaling by 4/5 or 5/4."""

OutputKind = Literal["ids", "probabilities"]
"""Content of a prediction file: mask values, or a float32 probability for each pixel and output of the network."""


class UnreadableBundle(InputError):
    """A ``bundle.json`` file that this version of the package cannot read."""

    text = "{file}: not a bundle this version can read ({found}); expected a file written by training or export."


class WrongPixels(InputError):
    """An image whose data type differs from that of the training images."""

    text = "{file}: pixels are {found}, but the network was trained on {expected}; convert the image to {expected}."


class Bundle(JsonRecord):
    """The settings that prediction requires in addition to the weights of the network."""

    unreadable: ClassVar[type[InputError]] = UnreadableBundle

    format: Literal[1] = 1
    channels: int = Field(ge=1, description="Number of channels of an input image.")
    pixels: tuple[str, ...] = Field(min_length=1, description="Data types of the training images.")
    normalisation: Normalisation
    labels: tuple[Label, ...] = Field(
        min_length=1,
        max_length=IGNORED,  # a label index is one byte, and 255 marks ignored pixels
        description="Class of each label index; the background, if any, comes first.",
    )
    activation: Literal["sigmoid", "softmax"]
    threshold: float = Field(0.5, ge=0, le=1, description="Sigmoid output above which a pixel belongs to the class.")
    multiple: int = Field(32, ge=1, description="Divisor of the heights and widths that the network accepts.")
    scale: float = Field(
        1.0, gt=0, le=8, description="Factor by which images are resized for the network; its output is resized back."
    )
    coord_channels: tuple[CoordChannel, ...] = Field((), description="Coordinate channels that are added to the image.")
    tta: tuple[TtaTransform, ...] = Field(
        (), max_length=7, description="Transforms of test-time augmentation, whose probabilities are averaged."
    )
    min_component_sizes: tuple[NonNegativeInt, ...] = Field(
        (), description="Minimum size in pixels for each label; smaller connected components become background."
    )
    fill_holes: bool = Field(False, description="Whether background that one class encloses is assigned to that class.")
    tile: int = Field(
        1024, gt=0, description="Approximate side of a block, in pixels, for images of more than tile x tile pixels."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Bundle":
        if self.activation == "sigmoid" and not (len(self.labels) == 2 and self.labels[0].background):
            raise ValueError("a sigmoid needs two labels, background first")
        if (self.min_component_sizes or self.fill_holes) and not self.labels[0].background:
            raise ValueError("min_component_sizes and fill_holes need a background")
        if len(self.min_component_sizes) not in (0, len(self.labels)):
            raise ValueError("min_component_sizes must have one entry for each label")
        if self.tile % self.multiple:
            raise ValueError("tile must be a multiple of `multiple`")
        return self

    @property
    def outputs(self) -> int:
        """Number of channels of the network's output."""
        return 1 if self.activation == "sigmoid" else len(self.labels)

    @property
    def inputs(self) -> int:
        """Number of channels of the network's input."""
        return self.channels + extra_channels(self.coord_channels, self.channels)

    @property
    def cleans(self) -> bool:
        """Whether holes are filled or small components removed in masks."""
        return bool(clean_up_steps(min_component_sizes=self.min_component_sizes, fill_holes=self.fill_holes))

    @property
    def background(self) -> bool:
        """Whether label 0 is the background, which is listed in scores but excluded from the mean score."""
        return self.labels[0].background

    def prepare(
        self,
        image: NDArray[np.generic],
        *,
        file: str | Path = "image",
        coordinates: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> NDArray[np.float32]:
        """Convert an image to the channels of the network and normalise it.

        Args:
            image: Pixels (h, w, c) as read from a file.
            file: Path of the image, used in error messages.
            coordinates: Coordinates of the rows and columns in the whole image, from -1 to 1; by default, ``image`` is
                the whole image.

        Returns:
            Prepared pixels (h, w, inputs), float32.

        Raises:
            WrongPixels: The network was not trained on the data type of the image.
            WrongChannels: The channels of the image cannot be converted without loss.
        """
        if str(image.dtype) not in self.pixels:
            raise WrongPixels(file=file, found=image.dtype, expected=" or ".join(self.pixels))
        normalised = self.normalisation(to_channels(image, self.channels, file=file))
        rows, columns = coordinates or tuple(map(ramp, image.shape[:2]))
        return add_coord_channels(normalised, self.coord_channels, rows[:, None], columns)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the label indices (..., h, w) of probabilities (..., h, w, outputs); a tie yields the first label."""
        if self.activation == "sigmoid":
            return (probabilities[..., 0] > self.threshold).astype(np.uint8)
        return probabilities.argmax(axis=-1).astype(np.uint8)

    def finish(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fill holes and remove small components in the label indices (h, w) of a whole image, as configured."""
        if not self.cleans:
            return indices
        return cleaned(indices, min_component_sizes=self.min_component_sizes, fill_holes=self.fill_holes)

    def values(self, indices: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Convert label indices of any shape to the values of the training masks."""
        table = np.array([label.value for label in self.labels])
        smallest = np.result_type(np.min_scalar_type(table.min()), np.min_scalar_type(table.max()))
        return table.astype(smallest).take(indices)

    def untuned(self) -> "Bundle":
        """Return a copy with the values that the bundle had before tuning."""
        return self.model_copy(update={"tta": (), "min_component_sizes": (), "fill_holes": False, "threshold": 0.5})

    def write(self, folder: Path) -> None:
        """Write ``folder/bundle.json``."""
        self.write_file(folder / BUNDLE_FILE)

    @classmethod
    def read(cls, folder: Path) -> "Bundle":
        """Read the bundle in ``folder``.

        Raises:
            UnreadableBundle: The file is missing, is damaged or has a later format.
        """
        return cls.read_file(folder / BUNDLE_FILE)
