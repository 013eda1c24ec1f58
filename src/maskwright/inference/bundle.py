"""The bundle: a JSON file next to a network with the settings that predicting needs."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.components import cleaned
from maskwright.images.coord_channels import CoordChannel, add_coord_channels, extra_channels, ramp
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.json_record import JsonRecord

BUNDLE_FILE = "bundle.json"

TtaTransform = Literal["mirrored", "upside_down", "turned_left", "turned_round", "turned_right", "smaller", "larger"]
"""A transform of test-time augmentation: flips, turns by quarters, and 4/5 and 5/4 of the size."""

OutputKind = Literal["ids", "probabilities"]
"""Content of a written prediction: mask values, or a float32 probability for each output of the network."""


class UnreadableBundle(InputError):
    """A ``bundle.json`` that this version cannot use."""

    text = "{file}: not a bundle this version can read ({found}); expected a file written by a training or an export."


class WrongPixels(InputError):
    """An image whose data type differs from that of the training images."""

    text = "{file}: pixels are {found}, but the network was trained on {expected}; convert the image to {expected}."


class Bundle(JsonRecord):
    """The settings of a network that prediction needs in addition to its weights."""

    unreadable: ClassVar[type[InputError]] = UnreadableBundle

    format: Literal[1] = 1
    channels: int = Field(ge=1, description="Channels of an input image.")
    pixels: tuple[str, ...] = Field(min_length=1, description="Data types of the training images.")
    normalisation: Normalisation
    labels: tuple[Label, ...] = Field(
        min_length=1,
        max_length=IGNORED,  # label indices are bytes, the last of which marks ignored pixels
        description="Meaning of each label index; the background, if any, comes first.",
    )
    activation: Literal["sigmoid", "softmax"]
    threshold: float = Field(0.5, ge=0, le=1, description="With a sigmoid: pixels above it belong to the class.")
    multiple: int = Field(32, ge=1, description="The network takes heights and widths that are multiples of this.")
    scale: float = Field(
        1.0, gt=0, le=8, description="Images are resized by this factor for the network, and its output back."
    )
    coord_channels: tuple[CoordChannel, ...] = Field((), description="Coordinate channels added to the image's own.")
    tta: tuple[TtaTransform, ...] = Field(
        (), max_length=7, description="Test-time augmentation: transforms whose probabilities are averaged."
    )
    min_component_sizes: tuple[NonNegativeInt, ...] = Field(
        (), description="Per label, in pixels: smaller connected components become background."
    )
    fill_holes: bool = Field(False, description="Background that one class surrounds becomes that class.")
    tile: int = Field(
        1024, gt=0, description="Images of more than tile x tile pixels are predicted in blocks of about this side."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Bundle":
        if self.activation == "sigmoid" and not (len(self.labels) == 2 and self.labels[0].background):
            raise ValueError("a sigmoid needs two labels, background first")
        if (self.min_component_sizes or self.fill_holes) and not self.labels[0].background:
            raise ValueError("min_component_sizes and fill_holes need a background")
        if len(self.min_component_sizes) not in (0, len(self.labels)):
            raise ValueError("min_component_sizes must be as many as labels")
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
    def background(self) -> bool:
        """Whether label 0 is the background, which scores list but exclude from the mean."""
        return self.labels[0].background

    def prepare(
        self,
        image: NDArray[np.generic],
        *,
        file: str | Path = "image",
        coordinates: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> NDArray[np.float32]:
        """Convert an image (h, w, c) as read to the network's channels and normalise it, (h, w, inputs) float32.

        Args:
            image: Pixels.
            file: Their file, for errors.
            coordinates: Coordinates of its rows and columns in the whole image, from -1 to 1; by default the image is
                the whole.

        Raises:
            WrongPixels: The network was not trained on this data type.
            WrongChannels: The channels cannot be converted without loss.
        """
        if str(image.dtype) not in self.pixels:
            raise WrongPixels(file=file, found=image.dtype, expected=" or ".join(self.pixels))
        normalised = self.normalisation(to_channels(image, self.channels, file=file))
        rows, columns = coordinates or tuple(map(ramp, image.shape[:2]))
        return add_coord_channels(normalised, self.coord_channels, rows[:, None], columns)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Label indices (..., h, w) of probabilities (..., h, w, outputs); ties go to the first label."""
        if self.activation == "sigmoid":
            return (probabilities[..., 0] > self.threshold).astype(np.uint8)
        return probabilities.argmax(axis=-1).astype(np.uint8)

    def finish(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fill holes and remove small components in the label indices (h, w) of a whole image, as configured."""
        if not (self.fill_holes or self.min_component_sizes):
            return indices
        return cleaned(indices, min_component_sizes=self.min_component_sizes, fill_holes=self.fill_holes)

    def values(self, indices: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Mask values, as in the training masks, of label indices of any shape."""
        table = np.array([label.value for label in self.labels])
        smallest = np.result_type(np.min_scalar_type(table.min()), np.min_scalar_type(table.max()))
        return table.astype(smallest).take(indices)

    def write(self, folder: Path) -> None:
        """Write ``folder/bundle.json``."""
        self.write_file(folder / BUNDLE_FILE)

    @classmethod
    def read(cls, folder: Path) -> "Bundle":
        """Read the bundle in ``folder``.

        Raises:
            UnreadableBundle: The file is damaged, or of a later format.
        """
        return cls.read_file(folder / BUNDLE_FILE)
