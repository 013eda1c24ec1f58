"""Find the file of the trained network from which training starts, and its run. This module does not import Keras."""

from pathlib import Path
from typing import Final

from maskwright.errors import InputError
from maskwright.inference.bundle import BUNDLE_FILE
from maskwright.inference.engines.engine import NETWORK_FILE
from maskwright.training.recipe import NetworkRecipe, Recipe
from maskwright.training.run import Run
from maskwright.training.run_lock import check_not_in_use
from maskwright.weights.digests import sha256_of

FIELD: Final = "network.start_from"


class NoNetwork(InputError):
    """A path that contains no network from which training can start."""

    text = "{field}: {path}: {found}; expected {expected}."


class OtherNetwork(InputError):
    """A file that differs from the file from which training started before."""

    text = "{file}: its SHA-256 is {found}, but training started from a file with {expected}; restore that file."


class ReplacesStart(InputError):
    """A folder for a run that contains the network from which training starts."""

    text = "out={out}: contains the network from which training starts ({start}); give another folder."


def file_of_start(network: NetworkRecipe) -> Path:
    """Return the path of the file of the network from which training starts, which may not exist.

    Args:
        network: Network section in which ``start_from`` is set.
    """
    return network.start_file or (network.start_from or Path()) / NETWORK_FILE


def digest_of_start(network: NetworkRecipe) -> str:
    """Check the file of the network from which training starts, and return its SHA-256.

    Args:
        network: Network section in which ``start_from`` is set.

    Raises:
        NoNetwork: There is no such file.
        RunInUse: The network is that of a run that another process is training.
        OtherNetwork: The SHA-256 differs from the recorded one.
    """
    file, recorded = file_of_start(network), network.start_from_sha256
    if not file.is_file():
        raise _no_network(network.start_from or Path())
    check_not_in_use(file.parent)
    digest = sha256_of(file)
    if recorded not in (None, digest):
        raise OtherNetwork(file=file, found=digest, expected=recorded)
    return digest


def has_bundle(file: Path) -> bool:
    """Return whether ``file`` is the network of a run or of a snapshot, so that its bundle is in the same folder."""
    return file.name == NETWORK_FILE and (file.parent / BUNDLE_FILE).is_file()


def with_channels_of_start(recipe: Recipe) -> Recipe:
    """Return the recipe with ``data.channels`` of the run from which training starts, unless it is set in ``recipe``.

    If the field is unset in the recipe of that run, or if training starts otherwise, the recipe is not changed.

    Raises:
        WrongRecipe: The recipe of the run cannot be read.
    """
    network = recipe.network
    if network.start_from is None or "channels" in recipe.data.model_fields_set:
        return recipe
    file = file_of_start(network)
    run = Run.holding(file.parent) if has_bundle(file) else None
    channels = None if run is None else run.read_recipe().data.channels
    return recipe if channels is None else recipe.changed("data", channels=channels)


def check_start_is_kept(recipe: Recipe, out: Path) -> None:
    """Check that a run does not replace the network from which it starts.

    Raises:
        ReplacesStart: The network is in the folder ``out``.
    """
    path = recipe.network.start_from
    if path is not None and out.absolute() in (path, *path.parents):
        raise ReplacesStart(out=out, start=path)


def _no_network(path: Path) -> NoNetwork:
    if path.is_dir():
        found, expected = f"{NETWORK_FILE} is missing", "a run that has saved a network"
    else:
        found = "not a supported file" if path.is_file() else "no such file or folder"
        expected = "a run, a .keras file, a .h5 file of segmentation_models or a .safetensors file of smp"
    return NoNetwork(field=FIELD, path=path, found=found, expected=expected)
