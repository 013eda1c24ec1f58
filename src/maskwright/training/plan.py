"""Plan training by rules, each of which chooses the value of one recipe field and states the reason.

Fingerprinting the data and deriving the settings from it by rules follows nnU-Net: Isensee et al., "nnU-Net: a
self-configuring method for deep learning-based biomedical image segmentation", Nature Methods (2021).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from maskwright.data.fingerprint import Fingerprint
from maskwright.data.grouping import Groups
from maskwright.training.duration import format_duration
from maskwright.training.progressive_resize import MULTIPLE
from maskwright.training.recipe import ARCHITECTURE_OPTIONS, ProgressiveResize, Recipe

GIVEN: Final = "given"
DEFAULT_SECONDS: Final = 30 * 60.0

_MAX_SHORT_SECONDS: Final = 60 * 60.0  # with longer training, the larger network scores higher
PRETRAINED_BACKBONE: Final = "efficientnetlite0"
"""Encoder that is chosen if pretrained weights are available."""
_SHORT_LR_FACTOR: Final = 2.0  # learning rate of short training from scratch, relative to the default
_SHORT_PRETRAINED_LR_FACTOR: Final = 3.0
CONTINUED_LEARNING_RATE: Final = 3e-4
"""Learning rate of training that starts from a trained network."""
_SMALL_BACKBONE: Final = "resnet18"
_SMALL_DECODER: Final = (128, 96, 64, 32, 16)

_MIN_PATCH_SIDE: Final = 64  # pixels
_PATCH_PIXELS: Final = 256 * 320
_LARGE_PATCH_PIXELS: Final = 384 * 384
_SMALL_PATCH_PIXELS: Final = 192 * 192
_MAX_THIN_WIDTH: Final = 20  # pixels; narrower objects are lost when images are downscaled
_MIN_WIDE_WIDTH: Final = 128  # pixels; for wider objects, a patch of the usual size shows too little context
_MIN_BATCH: Final = 2
_MAX_BATCH: Final = 16
_RARE_FRACTION: Final = 0.001  # fraction of the pixels; about 65 pixels in a patch of 256 x 256
_FOREGROUND_FRACTION: Final = 0.33  # fraction of the patches; the value is that of nnU-Net
_MIN_WEIGHTED_CLASSES: Final = 3
_USUAL_MIN_STD: Final = 0.1  # fraction of the value range


@dataclass(frozen=True, slots=True)
class Decision:
    """Value of the recipe field ``section.name``, and the reason for this value."""

    field: str
    value: object
    reason: str


Rule = Callable[[Fingerprint, Recipe], tuple[object, str]]


def plan_recipe(recipe: Recipe, data: Fingerprint) -> tuple[Recipe, tuple[Decision, ...]]:
    """Choose values for the unset fields of ``recipe`` by rules; return the complete recipe and all decisions.

    Values that were given are not changed. Rules are applied in the order of `RULES`; each rule receives the recipe
    with the values that were chosen by earlier rules.
    """
    decisions: dict[str, Decision] = {}
    for field, rule in RULES.items():
        if given := next((name for name in (field, *_REPLACED_BY.get(field, ())) if _is_given(recipe, name)), None):
            decisions[given] = Decision(given, _value(recipe, given), GIVEN)
            continue
        value, reason = rule(data, recipe)
        section, _, name = field.partition(".")
        recipe = recipe.changed(section, **{name: value})
        decisions[field] = Decision(field, value, reason)
    return recipe, tuple(decisions.values())


def decisions_of_run(recipe: Recipe) -> tuple[Decision, ...]:
    """Return the decisions for a resumed run, whose recipe already contains all values."""
    fields = [next((name for name in _REPLACED_BY.get(field, ()) if _is_given(recipe, name)), field) for field in RULES]
    return tuple(
        Decision(field, _value(recipe, field), "as at the start of the run") for field in dict.fromkeys(fields)
    )


def split_decision(recipe: Recipe, groups: Groups, held_out: Collection[str]) -> Decision:
    """Return the decision about the split into groups; ``held_out`` are the names of the validation images."""
    total, validation = len(set(groups.of.values())), len({groups.of[name] for name in held_out})
    images = f"{len(held_out)} of {len(groups.of)} images"
    value = images if total == len(groups.of) else f"{validation} of {total} groups, {images}"
    field = "data.validation_fraction" if recipe.data.fold is None else "data.fold"
    given = f"{GIVEN}; " if _is_given(recipe, field) else ""
    return Decision(field, value, f"{given}grouped {groups.evidence}")


def choose_normalisation(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Choose the normalisation used in pretraining if there are pretrained weights, otherwise that of the training
    images."""
    if recipe.network.pretrained is not None:
        return "encoder", f"normalisation of the {recipe.network.pretrained} weights"
    return "dataset", f"mean {data.mean:.3g}, std {data.std:.3g} of {len(data.sizes)} training images"


def choose_patch(data: Fingerprint, recipe: Recipe) -> tuple[tuple[int, int], str]:
    """Choose a patch size with the aspect ratio of the median image, as in nnU-Net, and an area that depends on the
    width of objects."""
    area = _PATCH_PIXELS
    if data.object_width is not None and data.object_width > _MIN_WIDE_WIDTH:
        area = _LARGE_PATCH_PIXELS
    elif _is_thin(data) and _short_training(recipe):
        area = _SMALL_PATCH_PIXELS
    patch = patch_for(data.sizes, area=area)
    height, width = data.median_size
    if patch[0] >= height and patch[1] >= width:
        return patch, f"covers the median image {height} x {width}"
    objects = "" if data.object_width is None else f"; object width {data.object_width:.0f}"
    return patch, f"median image {height} x {width}{objects}"


def patch_for(sizes: Sequence[tuple[int, int]], *, area: int = _PATCH_PIXELS) -> tuple[int, int]:
    """Return the (height, width) of a patch of about ``area`` pixels with the aspect ratio of the median size.

    If an image of the median size has a smaller area, the patch has the median size.

    Both sides are rounded to multiples of 32 and are at least 64 pixels long.

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


def choose_progressive_resize(data: Fingerprint, recipe: Recipe) -> tuple[ProgressiveResize | None, str]:
    """Choose the default progressive resizing, or None if thin objects would be lost in smaller patches.

    This rule is not applied if progressive resizing was given, either as null or with a value of ``until``.
    """
    if _is_thin(data):
        return None, f"objects {data.object_width:.0f} pixels wide would be lost"
    return recipe.training.progressive_resize, "more and faster steps with smaller patches"


def _is_thin(data: Fingerprint) -> bool:
    return data.object_width is not None and data.object_width < _MAX_THIN_WIDTH


def choose_batch(data: Fingerprint, recipe: Recipe) -> tuple[int, str]:
    """Choose the default batch size, or half of it for short training, for patches of the usual area.

    A batch of other patches has about the same area, and 2 to 16 patches. As in nnU-Net, a large patch takes precedence
    over a large batch. The batch size is a multiple of the number of devices.
    """
    batch, reason = _choose_batch_of_one_device(data, recipe)
    devices = recipe.training.devices
    if batch % devices:
        return max(devices, batch - batch % devices), f"{reason}; a multiple of {devices} devices"
    return batch, reason


def _choose_batch_of_one_device(data: Fingerprint, recipe: Recipe) -> tuple[int, str]:
    short = _short_training(recipe)
    usual = recipe.training.batch_size // 2 if short else recipe.training.batch_size
    area = math.prod(recipe.training.patch_size or patch_for(data.sizes))
    by_area = max(_MIN_BATCH, min(_MAX_BATCH, round(usual * _PATCH_PIXELS / area)))
    patches = math.ceil(data.pixels / area)
    if patches < by_area:
        return max(_MIN_BATCH, patches), f"all training images have the area of {patches} patches"
    if by_area != usual:
        return by_area, f"area of {usual} patches of 256 x 320, {_MIN_BATCH} to {_MAX_BATCH} patches"
    if short:
        return usual, f"{short}: favours small batches"
    return usual, f"training images: area of about {patches} patches"


def choose_loss(data: Fingerprint, recipe: Recipe) -> tuple[dict[str, float], str]:
    """Choose the sum of the cross-entropy and Dice losses, as in nnU-Net. Dice weights small and large classes
    equally."""
    name, fraction = data.rarest_class
    return recipe.training.loss, f"rarest class {name}: {_percent(fraction)} of the pixels"


def choose_class_weights(data: Fingerprint, recipe: Recipe) -> tuple[dict[str, float] | None, str]:
    """Choose class weights: the square root of the median class frequency divided by the frequency of the class.

    Without the square root, as in Eigen and Fergus (ICCV 2015), predicted regions of thin classes are too wide.
    """
    del recipe
    fractions = {name: fraction for name, fraction in data.class_fractions.items() if fraction}
    if len(fractions) < _MIN_WEIGHTED_CLASSES:
        return None, f"only {len(fractions)} classes, which are balanced by the loss"
    median = np.median(list(fractions.values()))
    weights = {name: round(float(np.sqrt(median / fraction)), 2) for name, fraction in fractions.items()}
    return weights, "sqrt(median frequency / class frequency)"


def choose_backbone(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Choose a small backbone for pretrained weights, and for short training from scratch, so that more steps are
    completed."""
    del data
    if recipe.network.pretrained is not None:
        return PRETRAINED_BACKBONE, "smallest encoder with pretrained weights"
    if short := _short_training(recipe):
        return _SMALL_BACKBONE, f"{short}: favours small networks"
    return recipe.network.backbone, "default for a long run from scratch"


def choose_decoder(data: Fingerprint, recipe: Recipe) -> tuple[tuple[int, ...], str]:
    """Choose a reduced number of decoder filters for a small encoder and short training."""
    del data
    if (
        (short := _short_training(recipe))
        and recipe.network.backbone == _SMALL_BACKBONE
        and "decoder_filters" in ARCHITECTURE_OPTIONS[recipe.network.architecture]
    ):
        return _SMALL_DECODER, f"{short}: favours small networks"
    return recipe.network.decoder_filters, "default of the architecture"


def choose_optimizer(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Choose Muon for training from scratch; with pretrained weights, AdamW reaches a higher score in the same time."""
    del data
    network = recipe.network
    if network.pretrained is None and network.custom is None and network.start_from is None:
        return "muon", "learns more per step from scratch"
    return recipe.training.optimizer, "default unless training is from scratch"


def choose_learning_rate(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Choose a multiple of the default learning rate for short training."""
    del data
    default = recipe.training.learning_rate
    if recipe.network.start_from is not None:
        return CONTINUED_LEARNING_RATE, "lower, because the network is already trained"
    if short := _short_training(recipe):
        factor = _SHORT_LR_FACTOR if recipe.network.pretrained is None else _SHORT_PRETRAINED_LR_FACTOR
        return factor * default, f"{short}: {factor:g} times the default"
    return default, "default"


def _short_training(recipe: Recipe) -> str | None:
    """Return a description of a training run with a short time budget, or None for any other training run."""
    seconds = recipe.training.time_budget
    if seconds is None or seconds > _MAX_SHORT_SECONDS:
        return None
    is_from_scratch = recipe.network.pretrained is None and recipe.network.start_from is None
    origin = "from scratch" if is_from_scratch else "pretrained"
    return f"{format_duration(seconds)} {origin}"


def choose_foreground_oversampling(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Choose to oversample one third of the patches, as in nnU-Net, if random patches seldom contain the rarest
    class."""
    name, fraction = data.rarest_class
    patch = recipe.training.patch_size or patch_for(data.sizes)
    height, width = data.median_size
    if patch[0] >= height and patch[1] >= width:
        return 0.0, "a patch covers a whole image"
    if fraction < _RARE_FRACTION:
        return _FOREGROUND_FRACTION, f"{name} is rare, {_percent(fraction)} of the pixels"
    return 0.0, f"rarest class {name}: {_percent(fraction)} of the pixels"


def choose_flip(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Choose horizontal flips, and also vertical flips if the upper and lower halves of the masks are alike."""
    del recipe
    if data.vertically_asymmetric is None:
        return "horizontal", "too few masks to compare their halves"
    if data.vertically_asymmetric:
        return "horizontal", "upper and lower halves of the masks differ"
    return "horizontal_and_vertical", "upper and lower halves of the masks are alike"


def choose_rotation(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Choose no rotation for images with a fixed orientation, because rotation is slower than all other
    augmentations."""
    if data.vertically_asymmetric:
        return 0.0, "images have a fixed orientation"
    return recipe.augmentation.rotation, "images have no fixed orientation"


def choose_brightness(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Choose the default change of brightness, which is reduced in proportion for images of low contrast."""
    default, std = recipe.augmentation.brightness, f"standard deviation {data.std:.2g}"
    if data.std >= _USUAL_MIN_STD:
        return default, f"{std} of the value range"
    return float(f"{default * data.std / _USUAL_MIN_STD:.2g}"), f"low contrast: {std}"


def choose_time_budget(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Choose a time budget of 30 minutes for all data sets."""
    del data, recipe
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
    "training.loss": choose_loss,
    "training.class_weights": choose_class_weights,
    "training.foreground_oversampling": choose_foreground_oversampling,
    "augmentation.flip": choose_flip,
    "augmentation.rotation": choose_rotation,
    "augmentation.brightness": choose_brightness,
}
"""Rule that chooses the value of each planned recipe field."""

_REPLACED_BY: Final[Mapping[str, tuple[str, ...]]] = {  # given fields that replace a rule
    "augmentation.flip": ("augmentation.custom",),
    "augmentation.rotation": ("augmentation.custom",),
    "augmentation.brightness": ("augmentation.custom",),
    "training.time_budget": ("training.epochs",),
    "training.loss": ("training.custom_loss",),
    "training.class_weights": ("training.custom_loss",),
    "network.backbone": ("network.custom", "network.start_from"),
    "network.decoder_filters": ("network.custom", "network.start_from"),
}


def _is_given(recipe: Recipe, field: str) -> bool:
    section, _, name = field.partition(".")
    fields, value = getattr(recipe, section), _value(recipe, field)
    if name not in fields.model_fields_set:
        return False
    if isinstance(value, ProgressiveResize):  # `scale` alone does not turn the resizing on for thin objects
        return "until" in value.model_fields_set
    is_null_a_value = type(fields).model_fields[name].default is not None
    return is_null_a_value or value is not None


def _value(recipe: Recipe, field: str) -> Any:
    section, _, name = field.partition(".")
    return getattr(getattr(recipe, section), name)


def _percent(fraction: float) -> str:
    """Format a fraction as a percentage with two significant digits."""
    return f"{float(f'{100 * fraction:.2g}'):g} %"
