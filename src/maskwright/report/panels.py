"""Create the embedded images of a report, such as panels for the worst and best validation images."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.overlay import to_display
from maskwright.images.panel import panel
from maskwright.images.read import read_image
from maskwright.inference.bundle import Bundle
from maskwright.report.masks import read_truth_and_prediction
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.run_records import ImageScore

MAX_WORST: Final = 6
MAX_BEST: Final = 3

_MAX_SIDE_PIXELS: Final = 1960  # width of four tiles of 480 pixels and the gaps around them
_WEBP_QUALITY: Final = 88  # quality of the WebP encoder, 0 to 100


@dataclass(frozen=True)
class ImagePanel:
    """Panel for a validation image, as an image source (a data URI), or the reason why it cannot be shown."""

    score: ImageScore
    source: str | None
    problem: str = ""


def worst_and_best(images: Sequence[ImageScore]) -> tuple[list[ImageScore], list[ImageScore]]:
    """Return the images with the lowest mean IoU, worst first, and those with the highest mean IoU, best first.

    The lists have at most `MAX_WORST` and `MAX_BEST` images, and no image is in both. With fewer than nine images, the
    list of the best images contains a third of them, or one of two images. Images without a score are omitted, and
    images with equal scores are sorted by name.
    """
    scored = [(image.mean_iou, image.name, image) for image in images if image.mean_iou is not None]
    ranked = [image for _, _, image in sorted(scored, key=lambda entry: entry[:2])]
    best = min(MAX_BEST, max(len(ranked) // 3, 1)) if len(ranked) > 1 else 0
    rest = len(ranked) - best
    return ranked[:rest][:MAX_WORST], ranked[rest:][::-1]


def image_panels(
    images: Sequence[ImageScore], *, run: Run, recipe: Recipe, bundle: Bundle, pairs: Sequence[Pair]
) -> list[ImagePanel]:
    """Return a panel with the image, the ground truth, the prediction and the errors for each of ``images``.

    Images and masks are read from the paths in ``split.csv``. If a file cannot be read, no error is raised, and the
    panel contains the reason.

    Args:
        images: Scores of the validation images to show.
        run: Run that contains the predicted masks.
        recipe: Recipe of the run.
        bundle: Bundle of the run.
        pairs: Validation pairs of the run.
    """
    pair_of = {pair.name: pair for pair in pairs}
    shown = []
    for image in images:
        pair = pair_of.get(image.name)
        if pair is None:
            shown.append(ImagePanel(image, None, f"{run.split} does not list this image."))
            continue
        try:
            truth, prediction = read_truth_and_prediction(pair, run=run, recipe=recipe, bundle=bundle)
            pixels = to_display(read_image(pair.image), bundle.normalisation)
            picture = panel(pixels, truth, prediction=prediction, labels=bundle.labels)
            shown.append(ImagePanel(image, picture_source(picture)))
        except InputError as error:
            shown.append(ImagePanel(image, None, str(error)))
    return shown


def file_source(file: Path) -> str:
    """Read an image file and return it as an image source (a data URI), scaled down if it is large.

    Raises:
        ImageFault: The image file cannot be read.
    """
    return picture_source(to_display(read_image(file)))


def picture_source(picture: np.ndarray) -> str:
    """Return a uint8 picture (h, w, 3) as a data URI of a WebP image with sides of at most 1960 pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((_MAX_SIDE_PIXELS, _MAX_SIDE_PIXELS), Image.Resampling.LANCZOS)
    webp = BytesIO()
    image.save(webp, format="WEBP", quality=_WEBP_QUALITY)
    return f"data:image/webp;base64,{b64encode(webp.getvalue()).decode()}"
