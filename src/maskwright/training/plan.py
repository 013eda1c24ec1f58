"""The plan: what the data decides of a recipe, one small rule for each field, each with its reason.

The idea, a fingerprint of the data and rules that turn it into a plan, is that of nnU-Net: Isensee et al., "nnU-Net: a
self-configuring method for deep learning-based biomedical image segmentation", Nature Methods (2021).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.data.fingerprint import Fingerprint
from maskwright.data.grouping import Groups
from maskwright.training.recipe import DOOR_NAMES, Recipe
from maskwright.training.schedule import MULTIPLE

GIVEN = "given"
DEFAULT_SECONDS = 30 * 60.0
_LONG = 60 * 60.0  # seconds: so long that a large network learns more than a small one
_SMALL_BACKBONE, _SMALL_DECODER = "resnet18", (128, 96, 64, 32, 16)

_LEAST_PATCH = 64  # pixels, a side
_PATCH, _WIDEST_PATCH = 256 * 320, 384 * 384  # pixels in all
_NARROW_PATCH = 192 * 192  # pixels in all
_NARROW_OBJECTS = 20  # pixels
_WIDE_OBJECTS = 128  # pixels; wider, and a patch shows little of what surrounds them
_LEAST_BATCH = 2
_RARE = 0.001  # of the pixels; some 65 of a patch of 256 x 256, had every patch its share
_FOREGROUND = 0.33
_FEWEST_CLASSES = 3
_USUAL_SPREAD = 0.1  # of the value range, at least


@dataclass(frozen=True, slots=True)
class Decision:
    """A field of the recipe, as ``section.name``, what it is set to, and why."""

    field: str
    value: object
    reason: str


Rule = Callable[[Fingerprint, Recipe], tuple[object, str]]


def decide(recipe: Recipe, data: Fingerprint) -> tuple[Recipe, tuple[Decision, ...]]:
    """``recipe`` with all that it leaves open decided by the data, and every decision; what was given stands.

    Rules come in the order of `RULES`, each with what was decided before it.
    """
    decisions: dict[str, Decision] = {}
    for field, rule in RULES.items():
        if said := next((name for name in (field, *_INSTEAD.get(field, ())) if _is_given(recipe, name)), None):
            decisions[said] = Decision(said, _value(recipe, said), GIVEN)
            continue
        value, reason = rule(data, recipe)
        section, _, name = field.partition(".")
        recipe = recipe.changed(section, **{name: value})
        decisions[field] = Decision(field, value, reason)
    return recipe, tuple(decisions.values())


def as_begun(recipe: Recipe) -> tuple[Decision, ...]:
    """The decisions of a run that goes on: all were made when it began."""
    fields = [next((name for name in _INSTEAD.get(field, ()) if _is_given(recipe, name)), field) for field in RULES]
    return tuple(Decision(field, _value(recipe, field), "as the run began") for field in dict.fromkeys(fields))


def split_decision(recipe: Recipe, groups: Groups, held_out: Collection[str]) -> Decision:
    """What was held out, in groups and in images; ``held_out`` are the names of the latter."""
    every, some = len(set(groups.of.values())), len({groups.of[name] for name in held_out})
    images = f"{len(held_out)} of {len(groups.of)} images"
    value = images if every == len(groups.of) else f"{some} of {every} groups, {images}"
    field = "data.validation_share" if recipe.data.fold is None else "data.fold"
    given = f"{GIVEN}; " if _is_given(recipe, field) else ""
    return Decision(field, value, f"{given}images are kept together {groups.told_by}")


def choose_normalisation(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """The encoder's own pixels where its weights were learnt elsewhere, the training images' otherwise."""
    if recipe.network.encoder_weights is not None:
        return "encoder", f"the weights {recipe.network.encoder_weights} were learnt with it"
    return "measured", f"{len(data.sizes)} training images: mean {data.mean:.3g}, spread {data.spread:.3g}"


def choose_patch(data: Fingerprint, recipe: Recipe) -> tuple[tuple[int, int], str]:
    """As much of the median image as a patch may hold, so that context is not cut off; nnU-Net begins there too."""
    area = _PATCH
    if data.object_pixels is not None and data.object_pixels > _WIDE_OBJECTS:
        area = _WIDEST_PATCH
    elif _are_narrow(data) and _is_short(recipe):
        area = _NARROW_PATCH
    patch = patch_for(data.sizes, area=area)
    height, width = data.median_size
    if patch[0] >= height and patch[1] >= width:
        return patch, f"holds the median image, {height} x {width}"
    objects = "" if data.object_pixels is None else f", whose parts are about {data.object_pixels:.0f} pixels wide"
    return patch, f"in the shape of the median image, {height} x {width}{objects}"


def patch_for(sizes: Sequence[tuple[int, int]], *, area: int = _PATCH) -> tuple[int, int]:
    """About ``area`` pixels in the shape of the median of ``sizes``, (height, width), or that size if it is smaller.

    Sides are multiples of 32 and at least 64.

    >>> patch_for([(360, 480)] * 3), patch_for([(101, 101)])
    ((256, 320), (128, 128))
    """
    median = np.median(sizes, axis=0)
    scale = math.sqrt(area / math.prod(median))
    whole = scale >= 1
    rows, columns = (
        max(_LEAST_PATCH, (math.ceil(side / MULTIPLE) if whole else round(side * scale / MULTIPLE)) * MULTIPLE)
        for side in median
    )
    return rows, columns


def choose_early(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """The recipe's own, but none where what is looked for is so narrow that it would be lost in smaller images."""
    if _are_narrow(data):
        return 0.0, f"parts are about {data.object_pixels:.0f} pixels wide: smaller images would lose them"
    return recipe.training.early_share, "most is learnt of small images, and in less time"


def _are_narrow(data: Fingerprint) -> bool:
    return data.object_pixels is not None and data.object_pixels < _NARROW_OBJECTS


def choose_batch(data: Fingerprint, recipe: Recipe) -> tuple[int, str]:
    """The recipe's own number, half of it for a short training, fewer where patches are larger, or hardly as many.

    Large patches come before large batches, and two are the least, as in nnU-Net. Devices share it out evenly.
    """
    batch, reason = _batch(data, recipe)
    devices = recipe.training.devices
    if batch % devices:
        return max(devices, batch - batch % devices), f"{reason}; a multiple of {devices} devices"
    return batch, reason


def _batch(data: Fingerprint, recipe: Recipe) -> tuple[int, str]:
    short = _is_short(recipe)
    most = recipe.training.batch_size // 2 if short else recipe.training.batch_size
    area = math.prod(recipe.training.patch or patch_for(data.sizes))
    by_area = max(_LEAST_BATCH, min(most, round(most * _PATCH / area)))
    patches = math.ceil(data.pixels / area)
    if patches < by_area:
        return max(_LEAST_BATCH, patches), f"the training images hold no more than {patches}"
    if by_area < most:
        return by_area, f"as many pixels a step as {most} patches of 256 x 320, or two patches"
    if short:
        return most, f"{short}: more and smaller steps"
    return most, f"the training images hold about {patches} patches"


def choose_loss(data: Fingerprint, recipe: Recipe) -> tuple[dict[str, float], str]:
    """Cross-entropy plus Dice, as in nnU-Net: every pixel has a say, and so has every class, however small."""
    name, share = data.rarest
    return recipe.training.loss, f"each pixel counts, and each class: {name} has {_percent(share)} of the pixels"


def choose_class_weights(data: Fingerprint, recipe: Recipe) -> tuple[dict[str, float] | None, str]:
    """The root of how much rarer a class is than the median one: rare ones are heard, and none drowns the others.

    Eigen and Fergus (ICCV 2015) take the ratio itself, which draws thin classes too wide.
    """
    del recipe
    shares = {name: share for name, share in data.shares.items() if share}
    if len(shares) < _FEWEST_CLASSES:
        return None, f"{len(shares)} classes, which the loss of regions balances"
    median = np.median(list(shares.values()))
    weights = {name: round(float(np.sqrt(median / share)), 2) for name, share in shares.items()}
    return weights, "the root of how much rarer each class is than the median one"


def choose_backbone(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """A small encoder where it is learnt from nothing in a short time: it sees more images in it."""
    del data
    if short := _is_short(recipe):
        return _SMALL_BACKBONE, f"{short}: a small network learns more"
    return recipe.network.backbone, "weights learnt elsewhere, or a long time, fill a large network"


def choose_decoder(data: Fingerprint, recipe: Recipe) -> tuple[tuple[int, ...], str]:
    """As many filters as a small encoder has to give."""
    del data
    if (
        (short := _is_short(recipe))
        and recipe.network.backbone == _SMALL_BACKBONE
        and "decoder_filters" in DOOR_NAMES[recipe.network.architecture]
    ):
        return _SMALL_DECODER, f"{short}: a small network learns more"
    return recipe.network.decoder_filters, "those of the architecture"


def choose_optimizer(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Muon where all is learnt from nothing; it was not tried on what was learnt elsewhere."""
    del data
    if recipe.network.encoder_weights is None and recipe.network.custom is None:
        return "muon", "from nothing: more is learnt of each step"
    return recipe.training.optimizer, "usual where weights may have been learnt elsewhere"


def choose_rate(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Twice the recipe's own for a short training from nothing."""
    del data
    usual = recipe.training.learning_rate
    return (2 * usual, f"{short}: larger strides") if (short := _is_short(recipe)) else (usual, "usual")


def _is_short(recipe: Recipe) -> str | None:
    """That so much is to be learnt from nothing in so little time, if it is."""
    seconds = recipe.training.time_budget
    if recipe.network.encoder_weights is not None or seconds is None or seconds > _LONG:
        return None
    return f"{seconds / 60:.3g} minutes from nothing"


def choose_foreground(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """A third of the patches on a class, as in nnU-Net, where a class is so rare that random patches miss it."""
    name, share = data.rarest
    patch = recipe.training.patch or patch_for(data.sizes)
    height, width = data.median_size
    if patch[0] >= height and patch[1] >= width:
        return 0.0, "a patch holds a whole image"
    if share < _RARE:
        return _FOREGROUND, f"{name} has {_percent(share)} of the pixels: random patches seldom show it"
    return 0.0, f"random patches show every class: {name} has {_percent(share)} of the pixels"


def choose_flip(data: Fingerprint, recipe: Recipe) -> tuple[str, str]:
    """Upside down as well, where upper and lower halves of the masks are alike."""
    del recipe
    if data.upright is None:
        return "horizontal", "the masks do not tell whether up and down are alike"
    if data.upright:
        return "horizontal", "classes lie higher or lower in the images: up is up"
    return "horizontal_and_vertical", "classes lie as often above as below the middle"


def choose_rotation(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """None where up is up: turning takes longer than all other changes together."""
    if data.upright:
        return 0.0, "up is up"
    return recipe.augmentation.rotation, "nothing tells up from down"


def choose_brightness(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """The recipe's own share of the value range, less where the pixels use so little of it that they would drown."""
    usual, spread = recipe.augmentation.brightness, f"{data.spread:.2g} of the value range"
    if data.spread >= _USUAL_SPREAD:
        return usual, f"the pixels spread over {spread}"
    return float(f"{usual * data.spread / _USUAL_SPREAD:.2g}"), f"the pixels spread over no more than {spread}"


def choose_time(data: Fingerprint, recipe: Recipe) -> tuple[float, str]:
    """Half an hour, whatever the data: the best network on the way is kept."""
    del data, recipe
    return DEFAULT_SECONDS, "half an hour if nothing is said"


RULES: Mapping[str, Rule] = {
    "training.time_budget": choose_time,
    "data.normalisation": choose_normalisation,
    "network.backbone": choose_backbone,
    "network.decoder_filters": choose_decoder,
    "training.patch": choose_patch,
    "training.early_share": choose_early,
    "training.batch_size": choose_batch,
    "training.optimizer": choose_optimizer,
    "training.learning_rate": choose_rate,
    "training.loss": choose_loss,
    "training.class_weights": choose_class_weights,
    "training.foreground": choose_foreground,
    "augmentation.flip": choose_flip,
    "augmentation.rotation": choose_rotation,
    "augmentation.brightness": choose_brightness,
}
"""What the data decides, field by field."""

_INSTEAD: Mapping[str, tuple[str, ...]] = {  # given, these take a field's place
    "augmentation.flip": ("augmentation.custom",),
    "augmentation.rotation": ("augmentation.custom",),
    "augmentation.brightness": ("augmentation.custom",),
    "training.time_budget": ("training.epochs",),
    "training.loss": ("training.custom_loss",),
    "training.class_weights": ("training.custom_loss",),
    "network.backbone": ("network.custom",),
    "network.decoder_filters": ("network.custom",),
}


def _is_given(recipe: Recipe, field: str) -> bool:
    section, _, name = field.partition(".")
    return name in getattr(recipe, section).model_fields_set and _value(recipe, field) is not None


def _value(recipe: Recipe, field: str) -> Any:
    section, _, name = field.partition(".")
    return getattr(getattr(recipe, section), name)


def _percent(share: float) -> str:
    """A share in percent, with two digits that count."""
    return f"{float(f'{100 * share:.2g}'):g} %"
