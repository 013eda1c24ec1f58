"""The bundle: the contract between training and predicting, one small JSON file beside the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskwright.errors import InputError
from maskwright.images.channels import to_channels
from maskwright.images.labels import IGNORED, Label
from maskwright.images.normalise import Normalisation

BUNDLE_FILE = "bundle.json"


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
    tile: int = Field(1024, gt=0, description="Images of more than tile x tile pixels are predicted in tiles.")
    margin: int = Field(128, ge=0, description="Pixels thrown away on each inner side of a tile.")

    @model_validator(mode="after")
    def _consistent(self) -> "Bundle":
        if self.activation == "sigmoid" and not (len(self.labels) == 2 and self.labels[0].background):
            raise ValueError("a sigmoid needs two labels, background first")
        if self.tile % self.multiple or self.tile <= 2 * self.margin:
            raise ValueError("tile must be a multiple of `multiple`, and larger than two margins")
        return self

    @property
    def outputs(self) -> int:
        """Channels of the network's output."""
        return 1 if self.activation == "sigmoid" else len(self.labels)

    @property
    def background(self) -> bool:
        """Whether label 0 is the background, which scores list but leave out of the mean."""
        return self.labels[0].background

    def prepare(self, image: NDArray[np.generic], *, file: str | Path = "image") -> NDArray[np.float32]:
        """An image as read, (h, w, c), as the network takes it: the channels it knows, normalised float32.

        Raises:
            WrongPixels: The values are of a dtype the network was not trained on.
            WrongChannels: The channels cannot be brought to the network's without guessing.
        """
        if str(image.dtype) not in self.pixels:
            raise WrongPixels(file=file, found=image.dtype, expected=" or ".join(self.pixels))
        return self.normalisation(to_channels(image, self.channels, file=file))

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Label indices, (..., h, w), from probabilities, (..., h, w, outputs); of equals, the first."""
        if self.activation == "sigmoid":
            return (probabilities[..., 0] > self.threshold).astype(np.uint8)
        return probabilities.argmax(axis=-1).astype(np.uint8)

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
