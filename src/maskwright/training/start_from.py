"""Complete the recipe and the prepared data of a training run that starts from a trained network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.engines.engine import NETWORK_FILE
from maskwright.inference.engines.keras import load_network
from maskwright.training.adapt_network import adapted_normalisation
from maskwright.training.custom import check_encoder_options
from maskwright.training.match_classes import (
    check_new_names,
    describe_head,
    describe_head_without_names,
    with_renamed_classes,
)
from maskwright.training.plan import Decision
from maskwright.training.prepare import Prepared
from maskwright.training.recipe import AUTO_WEIGHTS, NO_WEIGHTS, NetworkRecipe, Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run
from maskwright.training.start_file import (
    FIELD,
    NoNetwork,
    digest_of_start,
    file_of_start,
    has_bundle,
    with_channels_of_start,
)
from maskwright.training.start_network import Start, load_start

_GRAPH_FIELDS: Final = (
    *("architecture", "backbone", "first_unit", "decoder_block", "decoder_filters", "attention", "hypercolumn"),
)
"""Fields of the network section that determine the shapes of the weights in the saved network of a run."""
_OWN_FIELDS: Final = frozenset(
    {
        *("start_from", "start_from_sha256", "renamed_classes"),
        *("encoder_weights", "encoder_weights_sha256", "custom"),
    }
)
"""Fields of the network section that are not taken from a run."""
_PIXEL_FIELDS: Final = ("scale", "coord_channels")


class ContradictsStart(InputError):
    """A setting that contradicts the network from which training starts."""

    text = "{field}: found {found}, but {start} has {expected}; leave out one of them."


def read_start(recipe: Recipe) -> tuple[Recipe, Start | None]:
    """Load the network that ``network.start_from`` names, and complete the recipe with the settings of its run.

    Args:
        recipe: Recipe as given by the user, or the complete recipe of a run.

    Returns:
        The recipe, with the SHA-256 of the network and with the network section, the scale and the channels of the run,
        and the network, whose classes have their new names; None if the recipe names no network.

    Raises:
        NoNetwork: The path contains no network.
        RunInUse: The network is that of a run that another process is training.
        OtherNetwork: The file differs from the file with the recorded SHA-256.
        ContradictsStart, NoEncoder: A setting contradicts the network.
        UnsupportedNetwork: The head of the network cannot be replaced.
        WrongRenaming: The renamed classes do not fit those of the network.
        InputError: The network cannot be read.
    """
    network = recipe.network
    path = network.start_from
    if path is None:
        if recipe.data.normalisation == "start_from":
            raise WrongRecipe(source="recipe", problems="data.normalisation: start_from requires network.start_from")
        return recipe, None
    _check_own_fields(network, path)
    digest = digest_of_start(network)
    if network.start_file is None:
        recipe = _with_network_of_run(recipe, path)
    else:
        _check_no_network_fields(recipe, path)
    start = _with_new_names(load_start(file_of_start(network)), network)
    recipe = with_channels_of_start(recipe.changed("network", start_from_sha256=digest))
    if start.bundle is not None:
        recipe = _with_unset(recipe, "data", {name: getattr(start.bundle, name) for name in _PIXEL_FIELDS})
    if start.normalisation is not None:
        recipe = _with_unset(recipe, "data", {"normalisation": "start_from"})
    elif recipe.data.normalisation == "start_from":
        problem = f"data.normalisation: {start.file} does not store the normalisation; leave it out or give a run"
        raise WrongRecipe(source="recipe", problems=problem)
    return recipe, start


def with_start(prepared: Prepared, start: Start) -> Prepared:
    """Return prepared data for training that starts from ``start``, with its normalisation and with the reasons.

    Raises:
        WrongRenaming: A class is renamed to a name that the data does not have.
    """
    bundle, recipe, path = prepared.bundle, prepared.recipe, prepared.recipe.network.start_from
    renamed = recipe.network.renamed_classes or {}
    check_new_names(renamed, bundle, source=recipe.data.masks)
    taken: tuple[str, ...] = ()
    if recipe.data.normalisation == "start_from":
        bundle = bundle.model_copy(update={"normalisation": adapted_normalisation(start, bundle)})
        taken = ("data.normalisation",)
    if recipe.network.start_file is None:
        taken += ("network.backbone", "network.decoder_filters")
    origin = f"from {path.name if path else ''}"
    decisions = [
        replace(decision, reason=origin) if decision.field in taken else decision
        for decision in prepared.decisions
        if decision.field != FIELD
    ]
    if start.bundle is None:
        reason = describe_head_without_names(start.network.output_shape[-1], bundle.outputs)
    else:
        reason = describe_head(start.bundle, bundle, renamed)
    return replace(prepared, bundle=bundle, decisions=(Decision(FIELD, str(path), reason), *decisions), start=start)


def start_of_resumed(run: Run, prepared: Prepared) -> Prepared:
    """Return the prepared data of a resumed run with the network from which it started, if it is still needed.

    A run stores the graph of a network from a file. The weights of a run are needed until the first checkpoint.

    Raises:
        InputError: The network cannot be read, or differs from the one that was recorded.
    """
    start = None
    if prepared.recipe.network.start_file is not None:
        network = load_network(run.start_network)
        start = Start(run.start_network, network, prepared.bundle, prepared.bundle.normalisation)
    elif not run.has_checkpoint:
        start = read_start(prepared.recipe)[1]
    return replace(prepared, start=start)


def _check_own_fields(network: NetworkRecipe, path: Path) -> None:
    if network.custom is not None:
        raise ContradictsStart(field="network", found=network.custom, start=path, expected="a network of its own")
    if network.encoder_weights not in (AUTO_WEIGHTS, NO_WEIGHTS):
        raise ContradictsStart(
            field="network.encoder_weights", found=network.encoder_weights, start=path, expected="trained weights"
        )


def _check_no_network_fields(recipe: Recipe, path: Path) -> None:
    """Check that no setting describes the network, whose graph is that of a file."""
    for name, field in NetworkRecipe.model_fields.items():
        found = getattr(recipe.network, name)
        if name not in _OWN_FIELDS and found != field.default:
            raise ContradictsStart(field=f"network.{name}", found=found, start=path, expected="a network of its own")
    check_encoder_options(recipe)


def _with_network_of_run(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with the network section of the run in ``folder``."""
    run, file = Run.holding(folder), folder / NETWORK_FILE
    if run is None:
        raise NoNetwork(field=FIELD, path=folder, found="recipe.yaml is missing", expected=f"a run; or give {file}")
    network = run.read_recipe().network
    if network.custom is not None or network.start_file is not None:
        found = "its recipe does not describe the network"
        raise NoNetwork(field=FIELD, path=folder, found=found, expected=f"the file {file}")
    if not has_bundle(file):
        found = f"{BUNDLE_FILE} is missing"
        raise NoNetwork(field=FIELD, path=folder, found=found, expected=f"a complete run; or give {file}")
    taken = {name: value for name, value in network if name not in _OWN_FIELDS}
    for name in _GRAPH_FIELDS:
        found = getattr(recipe.network, name)
        if name in recipe.network.model_fields_set and found != taken[name]:
            raise ContradictsStart(field=f"network.{name}", found=found, start=folder, expected=taken[name])
    recipe = _with_unset(recipe, "network", taken)
    return Recipe.from_dict(recipe.model_dump(exclude_unset=True), source=f"recipe with the network of {folder}")


def _with_unset(recipe: Recipe, section: str, values: Mapping[str, object]) -> Recipe:
    """Return the recipe with ``values`` for the fields of a section that are not set."""
    given = getattr(recipe, section).model_fields_set
    return recipe.changed(section, **{name: value for name, value in values.items() if name not in given})


def _with_new_names(start: Start, network: NetworkRecipe) -> Start:
    """Return the network with the new names of its classes.

    Raises:
        WrongRecipe: Classes are renamed, but the file does not store their names.
        WrongRenaming: The renamed classes do not fit those of the network.
    """
    renamed, path = network.renamed_classes, network.start_from or start.file
    if not renamed:
        return start
    if start.bundle is None:
        problem = f"network.renamed_classes: {path} does not store the names of its classes; leave it out or give a run"
        raise WrongRecipe(source="recipe", problems=problem)
    return replace(start, bundle=with_renamed_classes(start.bundle, renamed, source=path))
