"""Write the images of a data set, and name its folders on the command line."""

import numpy as np
from PIL import Image


def paint(path, pixels):
    """Write an image, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def folders(data):
    """The options for the folders of a data set."""
    return "--images", data / "images", "--masks", data / "masks"


def add_unpaired(data, number):
    """Add so many images without a mask."""
    for index in range(number):
        paint(data / f"images/unpaired{index:03}.png", np.full((40, 50), index % 200))
