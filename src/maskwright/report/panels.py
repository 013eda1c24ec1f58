"""The pictures of a page: the validation images that went worst and best, and the sheet of augmented pairs."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.overlay import to_display
from maskwright.images.panel import panel
from maskwright.images.read import read_image
from maskwright.inference.bundle import Bundle
from maskwright.report.masks import truth_and_guess
from maskwright.report.run_contents import ImageScore
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

WORST, BEST = 6, 3

_LONGEST = 1960  # four tiles of 480 pixels and the gaps around them
_QUALITY = 88  # of WebP, 0 to 100


@dataclass(frozen=True)
class Shown:
    """A validation image on the page: its panel as the source of an image, or why there is none."""

    score: ImageScore
    source: str | None
    problem: str = ""


def worst_and_best(images: Sequence[ImageScore]) -> tuple[list[ImageScore], list[ImageScore]]:
    """At most six images of least mean IoU, worst first, and at most three of greatest, best first; none is in both.

    A third of few images is best, one of two. Images without a score are in neither; ties go by name.
    """
    scored = [(image.mean_iou, image.name, image) for image in images if image.mean_iou is not None]
    ranked = [image for _, _, image in sorted(scored, key=lambda entry: entry[:2])]
    best = min(BEST, max(len(ranked) // 3, 1)) if len(ranked) > 1 else 0
    rest = len(ranked) - best
    return ranked[:rest][:WORST], ranked[rest:][::-1]


def panels(
    images: Sequence[ImageScore], *, run: Run, recipe: Recipe, bundle: Bundle, pairs: Sequence[Pair]
) -> list[Shown]:
    """Image, truth, prediction and mistakes of each of ``images``.

    The images and masks are read where the run's ``split.csv`` says; one that cannot be read is told, not raised.
    """
    pair_of = {pair.name: pair for pair in pairs}
    shown = []
    for image in images:
        pair = pair_of.get(image.name)
        if pair is None:
            shown.append(Shown(image, None, f"{run.split} has no such image."))
            continue
        try:
            truth, prediction = truth_and_guess(pair, run=run, recipe=recipe, bundle=bundle)
            shown_image = to_display(read_image(pair.image), bundle.normalisation)
            picture = panel(shown_image, truth, prediction=prediction, labels=bundle.labels)
            shown.append(Shown(image, picture_source(picture)))
        except InputError as error:
            shown.append(Shown(image, None, str(error)))
    return shown


def file_source(file: Path) -> str:
    """An image file as the source of an image, reduced if large.

    Raises:
        ImageFault: The file cannot be read.
    """
    return picture_source(to_display(read_image(file)))


def picture_source(picture: np.ndarray) -> str:
    """An (h, w, 3) uint8 picture as the source of an image: WebP in base64, at most 1960 pixels a side."""
    image = Image.fromarray(picture)
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    webp = BytesIO()
    image.save(webp, format="WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{b64encode(webp.getvalue()).decode()}"
