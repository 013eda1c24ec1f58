"""Reading and writing pixels and masks; knows no network and no Keras."""

from maskwright.images.channels import to_channels
from maskwright.images.errors import ImageFault
from maskwright.images.files import IMAGE_SUFFIXES, expand_inputs, image_files
from maskwright.images.labels import IGNORED, Label, distinct_colours
from maskwright.images.normalise import Normalisation
from maskwright.images.overlay import overlay, to_display
from maskwright.images.panel import panel
from maskwright.images.read import image_size, read_image, read_mask, read_mask_and_palette
from maskwright.images.samples import MAX_PIXELS
from maskwright.images.write import (
    atomic_path,
    write_image,
    write_json,
    write_mask,
    write_probabilities,
    write_text,
)

__all__ = [
    "IGNORED",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageFault",
    "Label",
    "Normalisation",
    "atomic_path",
    "distinct_colours",
    "expand_inputs",
    "image_files",
    "image_size",
    "overlay",
    "panel",
    "read_image",
    "read_mask",
    "read_mask_and_palette",
    "to_channels",
    "to_display",
    "write_image",
    "write_json",
    "write_mask",
    "write_probabilities",
    "write_text",
]
