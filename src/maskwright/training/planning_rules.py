"""Rules that choose the values of recipe fields from the data and the speed of the machine, each with a reason.

Fingerprinting the data and deriving the settings from it by rules follows nnU-Net: Isensee et al., "nnU-Net: a
self-configuring method for deep learning-based biomedical image segmentation", Nature Methods (2021).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from maskwright.data.fingerprint import Fingerprint
from maskwright.training.candidates import (
    FROM_SCRATCH,
    PATCH_PIXELS,
    PRETRAINED,
    REFERENCE_RATES,
    Candidate,
    candidates_by_work,
)
from maskwright.training.duration import format_duration
from maskwright.training.progressive_resize import MULTIPLE
from maskwright.training.recipe import ARCHITECTURE_OPTIONS, ProgressiveResize, Recipe
from maskwright.training.step_work import StepRates

DEFAULT_SECONDS: Final = 30 * 60.0

_FEW_PATCHES: Final = 36_000  # with more patches of the usual size, larger batches result in higher scores
_SHORT_LR_FACTOR: Final = 2.0  # learning rate of short training from scratch, relative to the default
_MAX_PRETRAINED_LR_FACTOR: Final = 3.0
_DEFAULT_RATE_PATCHES: Final = 6_000  # number of patches from which a pretrained network is trained at the default rate
_PRETRAINED_ENCODER_RATE: Final = 1e-3
CONTINUED_LEARNING_RATE: Final = 3e-4
"""Learning rate of training that starts from a trained network."""
_MIN_PATCH_SIDE: Final = 64  # pixels
_LARGE_PATCH_PIXELS: Final = 384 * 384
_SMALL_PATCH_PIXELS: Final = 192 * 192
_MAX_THIN_WIDTH: Final = 20  # pixels; narrower objects are lost when images are downscaled
_MIN_WIDE_WIDTH: Final = 128  # pixels; for wider objects, a patch of the usual size shows too little context
_MIN_BATCH: Final = 2
_MAX_BATCH: Final = 16
_MAX_BATCH_BY_TIME: Final = 64
_MAX_AREA_RATIO: Final = 2.0  # of the largest image to the smallest, above which small batches score lower
_MAX_CONSTANT_RATIO: Final = 0.5  # of the time of a step that does not depend on the batch to the time that does
_MIN_STEPS: Final = 2000
_RARE_FRACTION: Final = 0.001  # fraction of the pixels; about 65 pixels in a patch of 256 x 256
_SOME_EMPTY: Final = 0.1  # fraction of the masks
_MANY_EMPTY: Final = 0.6  # fraction of the masks
_FOREGROUND_FRACTION: Final = 0.33  # fraction of the patches; the value is that of nnU-Net
_MIN_WEIGHTED_CLASSES: Final = 3
_USUAL_MIN_STD: Final = 0.1  # fraction of the value range


@dataclass(frozen=True, slots=True)
class Facts:
    """Properties of the data and of the machine that determine the plan."""

    data: Fingerprint
    rates: StepRates = REFERENCE_RATES
    """Seconds that the operations of a training step take on the machine."""
    pretrained_backbone: str | None = None
    """Encoder whose pretrained weights were chosen; None if no weights or those of a given encoder were chosen."""


Rule = Callable[[Facts, Recipe], tuple[object, str]]


def choose_normalisation(facts: Facts, recipe: Recipe) -> tuple[str, str]:
    """Choose the normalisation used in pretraining if there are pretrained weights, otherwise that of the training
    images."""
    if recipe.network.pretrained is not None:
        return "encoder", f"normalisation of the {recipe.network.pretrained} weights"
    return "dataset", f"mean {facts.data.mean:.3g}, std {facts.data.std:.3g} of {len(facts.data.sizes)} training images"


def choose_patch(facts: Facts, recipe: Recipe) -> tuple[tuple[int, int], str]:
    """Choose a patch size with the aspect ratio of the median image, as in nnU-Net, and an area that depends on the
    width of objects."""
    area = PATCH_PIXELS
    if facts.data.object_width is not None and facts.data.object_width > _MIN_WIDE_WIDTH:
        area = _LARGE_PATCH_PIXELS
    elif _is_thin(facts.data) and _few_patches(facts, recipe):
        area = _SMALL_PATCH_PIXELS
    patch = patch_for(facts.data.sizes, area=area)
    height, width = facts.data.median_size
    if patch[0] >= height and patch[1] >= width:
        return patch, f"covers the median image {height} x {width}"
    objects = "" if facts.data.object_width is None else f"; object width {facts.data.object_width:.0f}"
    return patch, f"median image {height} x {width}{objects}"


def patch_for(sizes: Sequence[tuple[int, int]], *, area: int = PATCH_PIXELS) -> tuple[int, int]:
    """Return the (height, width) of a patch of about ``area`` pixels with the aspect ratio of the median size.

    If an image of the median size has a smaller area, the patch has the median size. Both sides are rounded to
    multiples of 32 and are at least 64 pixels long.

    >>> patch_for([(360, 480)] * 3), patch_for([(101, 101)])
    ((256, 320), (128, 128))
    """
    median = np.median(sizes, axis=0)
    scale = math.sqrt(area / math.prod(median))
    is_whole = scale >= 1
    height, width = (
        max(_MIN_PATCH_SIDE, (math.ceil(side / MULTIPLE) if is_whole else round(side * scale / MULTIPLE)) * MULTIPLE)
        for side in median
    )
    return height, width


def choose_progressive_resize(facts: Facts, recipe: Recipe) -> tuple[ProgressiveResize | None, str]:
    """Choose the default progressive resizing, or None if thin objects would be lost in smaller patches.

    This rule is not applied if progressive resizing was given, either as null or with a value of ``until``.
    """
    if _is_thin(facts.data):
        return None, f"objects {facts.data.object_width:.0f} pixels wide would be lost"
    return recipe.training.progressive_resize, "more and faster steps with smaller patches"


def _is_thin(data: Fingerprint) -> bool:
    return data.object_width is not None and data.object_width < _MAX_THIN_WIDTH


def choose_batch(facts: Facts, recipe: Recipe) -> tuple[int, str]:
    """Choose the default batch size, or half of it for short training, for patches of the usual area.

    A batch of other patches has about the same area, and 2 to 16 patches. As in nnU-Net, a large patch takes precedence
    over a large batch. If most of the time of a step does not depend on the batch, the batch is larger. The batch size
    is a multiple of the number of devices.
    """
    batch, reason = _choose_batch_by_area(facts, recipe)
    area = math.prod(recipe.training.patch_size or patch_for(facts.data.sizes))
    larger = min(_batch_by_time(facts, recipe, batch, area), max(batch, math.ceil(facts.data.pixels / area)))
    if larger > batch:
        batch, reason = larger, "much of the time of a step does not depend on the number of patches"
    devices = recipe.training.devices
    if batch % devices:
        return max(devices, batch - batch % devices), f"{reason}; a multiple of {devices} devices"
    return batch, reason


def _has_different_sizes(data: Fingerprint) -> bool:
    """Return whether the images seem to come from different sources, between which the statistics of batches vary."""
    areas = [height * width for height, width in data.sizes]
    return max(areas) > _MAX_AREA_RATIO * min(areas)


def _batch_by_time(facts: Facts, recipe: Recipe, batch: int, area: int) -> int:
    """Double the batch while much of the time of a step does not depend on the batch and enough steps can be taken."""
    seconds, candidate = recipe.training.time_budget, _candidate(recipe)
    if seconds is None:
        return batch
    constant = candidate.constant_seconds(facts.rates)
    patch = candidate.patch_seconds(facts.rates) * area / PATCH_PIXELS
    while (
        constant > _MAX_CONSTANT_RATIO * batch * patch
        and 2 * batch <= _MAX_BATCH_BY_TIME
        and seconds / (constant + 2 * batch * patch) >= _MIN_STEPS
    ):
        batch *= 2
    return batch


def _choose_batch_by_area(facts: Facts, recipe: Recipe) -> tuple[int, str]:
    short = None if _has_different_sizes(facts.data) else _few_patches(facts, recipe)
    usual = recipe.training.batch_size // 2 if short else recipe.training.batch_size
    area = math.prod(recipe.training.patch_size or patch_for(facts.data.sizes))
    by_area = max(_MIN_BATCH, min(_MAX_BATCH, round(usual * PATCH_PIXELS / area)))
    patches = math.ceil(facts.data.pixels / area)
    if patches < by_area:
        return max(_MIN_BATCH, patches), f"all training images have the area of {patches} patches"
    if by_area != usual:
        return by_area, f"area of {usual} patches of 256 x 320, {_MIN_BATCH} to {_MAX_BATCH} patches"
    if short:
        return usual, f"{short}: favours small batches"
    return usual, f"training images: area of about {patches} patches"


def choose_loss(facts: Facts, recipe: Recipe) -> tuple[dict[str, float], str]:
    """Choose the sum of the cross-entropy and Dice losses, as in nnU-Net. Dice weights small and large classes
    equally."""
    name, fraction = facts.data.rarest_class
    return recipe.training.loss, f"rarest class {name}: {_percent(fraction)} of the pixels"


def choose_class_weights(facts: Facts, recipe: Recipe) -> tuple[dict[str, float] | None, str]:
    """Choose class weights: the square root of the median class frequency divided by the frequency of the class.

    Without the square root, as in Eigen and Fergus (ICCV 2015), predicted regions of thin classes are too wide.
    """
    del recipe
    fractions = {name: fraction for name, fraction in facts.data.class_fractions.items() if fraction}
    if len(fractions) < _MIN_WEIGHTED_CLASSES:
        return None, f"only {len(fractions)} classes, which are balanced by the loss"
    median = np.median(list(fractions.values()))
    weights = {name: round(float(np.sqrt(median / fraction)), 2) for name, fraction in fractions.items()}
    return weights, "sqrt(median frequency / class frequency)"


def choose_backbone(facts: Facts, recipe: Recipe) -> tuple[str, str]:
    """Choose the largest encoder that learns from enough patches in the time budget."""
    seconds = recipe.training.time_budget
    if recipe.network.pretrained is not None:
        name, reason = facts.pretrained_backbone or PRETRAINED[0].backbone, "smallest encoder with pretrained weights"
    elif seconds is None:
        return recipe.network.backbone, "default without a time budget"
    else:
        name, reason = candidates_by_work(FROM_SCRATCH, facts.rates, seconds=seconds)[0].backbone, ""
    return name, _described_work(facts, recipe.changed("network", backbone=name)) or reason


def choose_decoder(facts: Facts, recipe: Recipe) -> tuple[tuple[int, ...], str]:
    """Choose the number of decoder filters of the candidate for training from scratch in a short time."""
    default, candidate = recipe.network.decoder_filters, _candidate(recipe)
    has_filters = "decoder_filters" in ARCHITECTURE_OPTIONS[recipe.network.architecture]
    is_narrow = candidate.backbone == recipe.network.backbone and candidate.decoder_filters != default
    if has_filters and is_narrow and (few := _few_patches(facts, recipe)):
        return candidate.decoder_filters, f"{few}: favours small networks"
    return default, "default of the architecture"


def choose_optimizer(facts: Facts, recipe: Recipe) -> tuple[str, str]:
    """Choose Muon for training from scratch; with pretrained weights, AdamW reaches a higher score in the same time."""
    del facts
    network = recipe.network
    if network.pretrained is None and network.custom is None and network.start_from is None:
        return "muon", "learns more per step from scratch"
    return recipe.training.optimizer, "default unless training is from scratch"


def choose_learning_rate(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose a higher learning rate for short training.

    With pretrained weights, it is inversely proportional to the number of patches, between 1 and 3 times the default.
    """
    default = recipe.training.learning_rate
    if recipe.network.start_from is not None:
        return CONTINUED_LEARNING_RATE, "lower, because the network is already trained"
    patches, described = _affordable_patches(facts, recipe), _described_work(facts, recipe)
    if recipe.network.pretrained is not None:
        factor = 1.0 if patches is None else min(_MAX_PRETRAINED_LR_FACTOR, _DEFAULT_RATE_PATCHES / patches)
    else:
        factor = _SHORT_LR_FACTOR if _few_patches(facts, recipe) else 1.0
    factor = float(f"{factor:.1g}")
    if factor <= 1:
        return default, f"{described}: default" if described else "default"
    return factor * default, f"{described}: {factor:g} times the default"


def choose_encoder_lr_multiplier(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose a learning rate of at most 0.001 for a pretrained encoder, whose features otherwise transfer less well."""
    del facts
    rate = recipe.training.learning_rate
    if recipe.network.pretrained is None or rate <= _PRETRAINED_ENCODER_RATE:
        return recipe.training.encoder_lr_multiplier, "same learning rate for all layers"
    multiplier = float(f"{_PRETRAINED_ENCODER_RATE / rate:.1g}")
    return multiplier, f"learning rate of {multiplier * rate:.1g} for the pretrained encoder"


def _few_patches(facts: Facts, recipe: Recipe) -> str | None:
    """Return a description of a training run that learns from few patches, or None for any other training run."""
    patches = _affordable_patches(facts, recipe)
    return _described_work(facts, recipe) if patches is not None and patches <= _FEW_PATCHES else None


def _described_work(facts: Facts, recipe: Recipe) -> str | None:
    """Return a description of the number of patches in the time budget; None without a time budget."""
    patches, seconds = _affordable_patches(facts, recipe), recipe.training.time_budget
    if patches is None or seconds is None:
        return None
    return f"about {float(f'{patches:.2g}'):,.0f} patches in {format_duration(seconds)}"


def _affordable_patches(facts: Facts, recipe: Recipe) -> float | None:
    """Return how many patches of 256 x 320 pixels the network learns from; None without a time budget."""
    seconds = recipe.training.time_budget
    return None if seconds is None else _candidate(recipe).patches(facts.rates, seconds=seconds)


def _candidate(recipe: Recipe) -> Candidate:
    """Return the candidate with the encoder of the recipe, or else the smallest one of its kind."""
    network = recipe.network
    is_from_scratch = network.pretrained is None and network.start_from is None
    kind, other = (FROM_SCRATCH, PRETRAINED) if is_from_scratch else (PRETRAINED, FROM_SCRATCH)
    return next((candidate for candidate in (*kind, *other) if candidate.backbone == network.backbone), kind[0])


def choose_monitor(facts: Facts, recipe: Recipe) -> tuple[str, str]:
    """Choose the mean precision for one class if masks are empty, because pooled scores hardly depend on them."""
    empty, is_one_class = facts.data.empty_fraction, len(facts.data.class_fractions) <= 2
    if is_one_class and empty > _SOME_EMPTY:
        return "mean_precision", f"{_percent(empty)} of the masks are empty; mean IoU hardly depends on them"
    return recipe.training.monitor, "default"


def choose_foreground_oversampling(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose to oversample one third of the patches, as in nnU-Net, if most masks are empty or random patches seldom
    contain the rarest class."""
    name, fraction = facts.data.rarest_class
    if facts.data.empty_fraction > _MANY_EMPTY:
        return _FOREGROUND_FRACTION, f"{_percent(facts.data.empty_fraction)} of the masks are empty"
    patch = recipe.training.patch_size or patch_for(facts.data.sizes)
    height, width = facts.data.median_size
    if patch[0] >= height and patch[1] >= width:
        return 0.0, "a patch covers a whole image"
    if fraction < _RARE_FRACTION:
        return _FOREGROUND_FRACTION, f"{name} is rare, {_percent(fraction)} of the pixels"
    return 0.0, f"rarest class {name}: {_percent(fraction)} of the pixels"


def choose_flip(facts: Facts, recipe: Recipe) -> tuple[str, str]:
    """Choose horizontal flips, and also vertical flips if the upper and lower halves of the masks are alike."""
    del recipe
    if facts.data.vertically_asymmetric is None:
        return "horizontal", "too few masks to compare their halves"
    if facts.data.vertically_asymmetric:
        return "horizontal", "upper and lower halves of the masks differ"
    return "horizontal_and_vertical", "upper and lower halves of the masks are alike"


def choose_rotation(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose no rotation for images with a fixed orientation, because rotation is slower than all other
    augmentations."""
    if facts.data.vertically_asymmetric:
        return 0.0, "images have a fixed orientation"
    return recipe.augmentation.rotation, "images have no fixed orientation"


def choose_brightness(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose the default change of brightness, which is reduced in proportion for images of low contrast."""
    default, std = recipe.augmentation.brightness, f"standard deviation {facts.data.std:.2g}"
    if facts.data.std >= _USUAL_MIN_STD:
        return default, f"{std} of the value range"
    return float(f"{default * facts.data.std / _USUAL_MIN_STD:.2g}"), f"low contrast: {std}"


def choose_time_budget(facts: Facts, recipe: Recipe) -> tuple[float, str]:
    """Choose a time budget of 30 minutes for all data sets."""
    del facts, recipe
    return DEFAULT_SECONDS, "default without --epochs and --time-budget"


RULES: Final[Mapping[str, Rule]] = {
    "training.time_budget": choose_time_budget,
    "data.normalisation": choose_normalisation,
    "network.backbone": choose_backbone,
    "network.decoder_filters": choose_decoder,
    "training.patch_size": choose_patch,
    "training.progressive_resize": choose_progressive_resize,
    "training.batch_size": choose_batch,
    "training.optimizer": choose_optimizer,
    "training.learning_rate": choose_learning_rate,
    "training.encoder_lr_multiplier": choose_encoder_lr_multiplier,
    "training.loss": choose_loss,
    "training.class_weights": choose_class_weights,
    "training.foreground_oversampling": choose_foreground_oversampling,
    "training.monitor": choose_monitor,
    "augmentation.flip": choose_flip,
    "augmentation.rotation": choose_rotation,
    "augmentation.brightness": choose_brightness,
}
"""Rule that chooses the value of each planned recipe field."""


def _percent(fraction: float) -> str:
    """Format a fraction as a percentage with two significant digits."""
    return f"{float(f'{100 * fraction:.2g}'):g} %"
