"""The bundle: the contract between training and predicting, one small JSON file beside the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.components import cleaned
from maskwright.images.coord_channels import Position, extra_channels, ramp, with_position
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation

BUNDLE_FILE = "bundle.json"

View = Literal["mirrored", "upside_down", "turned_left", "turned_round", "turned_right", "smaller", "larger"]
"""A way to look at an image beside the plain one; turned by quarters, and at 4/5 and 5/4 of its size."""


class UnreadableBundle(InputError):
    """A ``bundle.json`` that this version cannot use."""

    text = "{file}: not a bundle this version can read ({found}); expected the file a training or an export wrote."


class WrongPixels(InputError):
    """An image whose values are of another kind than those the network was trained on."""

    text = "{file}: pixels are {found}, but the network was trained on {expected}; convert the image to {expected}."


class Bundle(BaseModel):
    """What a network expects and what its outputs mean; no later command asks the user again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    channels: int = Field(ge=1, description="Channels of an input image.")
    pixels: tuple[str, ...] = Field(min_length=1, description="dtypes of the training images.")
    normalisation: Normalisation
    labels: tuple[Label, ...] = Field(
        min_length=1,
        max_length=IGNORED,  # an index is a byte, and that of the ignored pixels is the last one
        description="What each label index means, background first if any.",
    )
    activation: Literal["sigmoid", "softmax"]
    threshold: float = Field(0.5, ge=0, le=1, description="With a sigmoid: a pixel above it belongs to the class.")
    multiple: int = Field(32, ge=1, description="The network takes heights and widths that are multiples of this.")
    scale: float = Field(
        1.0, gt=0, le=8, description="Images are resized by this before the network sees them, masks back."
    )
    position: tuple[Position, ...] = Field((), description="Channels the network is given beside the image's own.")
    views: tuple[View, ...] = Field(
        (), max_length=7, description="Ways an image is also looked at; probabilities are averaged."
    )
    minimum_areas: tuple[NonNegativeInt, ...] = Field(
        (), description="Of each label: smaller parts become background, pixels."
    )
    fill_holes: bool = Field(False, description="Background that one class surrounds becomes that class.")
    tile: int = Field(1024, gt=0, description="Images of more than tile x tile pixels are predicted in tiles.")
    margin: int = Field(128, ge=0, description="Pixels thrown away on each inner side of a tile.")

    @model_validator(mode="after")
    def _consistent(self) -> "Bundle":
        if self.activation == "sigmoid" and not (len(self.labels) == 2 and self.labels[0].background):
            raise ValueError("a sigmoid needs two labels, background first")
        if (self.minimum_areas or self.fill_holes) and not self.labels[0].background:
            raise ValueError("minimum_areas and fill_holes need a background")
        if len(self.minimum_areas) not in (0, len(self.labels)):
            raise ValueError("minimum_areas must be as many as labels")
        if self.tile % self.multiple or self.tile <= 2 * self.margin:
            raise ValueError("tile must be a multiple of `multiple`, and larger than two margins")
        return self

    @property
    def outputs(self) -> int:
        """Channels of the network's output."""
        return 1 if self.activation == "sigmoid" else len(self.labels)

    @property
    def inputs(self) -> int:
        """Channels of the network's input."""
        return self.channels + extra_channels(self.position, self.channels)

    @property
    def background(self) -> bool:
        """Whether label 0 is the background, which scores list but leave out of the mean."""
        return self.labels[0].background

    def prepare(
        self,
        image: NDArray[np.generic],
        *,
        file: str | Path = "image",
        places: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> NDArray[np.float32]:
        """An image as read, (h, w, c), as the network takes it: the channels it knows, normalised float32.

        Args:
            image: Pixels.
            file: Where they are from, for the error.
            places: Where its rows and columns lie in the whole image, from -1 to 1; it is the whole image if absent.

        Raises:
            WrongPixels: The values are of a dtype the network was not trained on.
            WrongChannels: The channels cannot be brought to the network's without guessing.
        """
        if str(image.dtype) not in self.pixels:
            raise WrongPixels(file=file, found=image.dtype, expected=" or ".join(self.pixels))
        normalised = self.normalisation(to_channels(image, self.channels, file=file))
        rows, columns = places or tuple(map(ramp, image.shape[:2]))
        return with_position(normalised, self.position, rows[:, None], columns)

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Label indices, (..., h, w), from probabilities, (..., h, w, outputs); of equals, the first."""
        if self.activation == "sigmoid":
            return (probabilities[..., 0] > self.threshold).astype(np.uint8)
        return probabilities.argmax(axis=-1).astype(np.uint8)

    def finish(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label indices of a whole image, (h, w), without the holes and the small parts that were found to be wrong."""
        if not (self.fill_holes or self.minimum_areas):
            return indices
        return cleaned(indices, minimum_areas=self.minimum_areas, fill_holes=self.fill_holes)

    def values(self, indices: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Mask values, as the training masks had them, from label indices of any shape."""
        table = np.array([label.value for label in self.labels])
        smallest = np.result_type(np.min_scalar_type(table.min()), np.min_scalar_type(table.max()))
        return table.astype(smallest).take(indices)

    def write(self, folder: Path, write: Callable[[Path, str], None]) -> None:
        """Store as ``folder/bundle.json`` through ``write``."""
        write(folder / BUNDLE_FILE, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, folder: Path) -> "Bundle":
        """The bundle in ``folder``.

        Raises:
            UnreadableBundle: The file is damaged, or of a later format.
        """
        file = folder / BUNDLE_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UnreadableBundle(file=file, found=f"{where}: {first['msg']}".removeprefix(": ")) from None
        except OSError as error:
            raise UnreadableBundle(file=file, found=error.strerror) from None
