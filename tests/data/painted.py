"""Write small test images and masks."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def paint(path: Path, pixels: object, *, palette: list[int] | None = None) -> Path:
    """Write pixels, (h, w) or (h, w, c), in the format of the suffix; with ``palette``, as a palette image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(pixels)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
        return path
    picture = Image.fromarray(array.astype(np.uint8))
    if palette is not None:
        picture.putpalette(palette)
    picture.save(path)
    return path


def touch(folder: Path, *names: str) -> Path:
    """Create empty files in ``folder``."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder
