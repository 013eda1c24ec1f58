"""Load encoder weights that are published or stored in a file, for any number of input channels."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Final

import keras

from maskwright.errors import InputError, one_of, unknown_choice, wrong_argument
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.keras_applications import APPLICATIONS, published_encoder
from maskwright.weights.catalogue import PUBLISHED
from maskwright.weights.input_channels import RGB, clone_for_rgb, copy_adapted, image_channels
from maskwright.weights.keras_file import WeightsFile, load_weights
from maskwright.weights.published import check_sha256, published_file
from maskwright.weights.segmentation_models.load import load_legacy_weights
from maskwright.weights.torch.encoders import load_published_torch_encoder, load_torch_encoder
from maskwright.weights.torch.file import PICKLED, SUFFIXES

Reader = Callable[..., None]  # called with (network, file, *, argument) to load a whole file into a whole network
Load = Callable[[keras.Model], None]

# Readers by file suffix; the first match is used.
READERS: Final[Mapping[str, Reader]] = {
    ".weights.h5": load_weights,
    **dict.fromkeys((".h5", ".hdf5"), load_legacy_weights),
    **dict.fromkeys(SUFFIXES, load_torch_encoder),
}


class UnpublishedFirstUnit(InputError):
    """A request for published weights of a network whose first unit has a form for which no weights are published."""

    text = (
        "{argument}={given!r}: the published weights of {name} need first_unit='projection'; "
        "this network has first_unit='identity'."
    )


def load_encoder_weights(
    encoder: keras.Model,
    name: str | None,
    weights: WeightsFile,
    *,
    sha256: str | None = None,
    argument: str = "encoder_weights",
) -> None:
    """Load published weights, which are downloaded once, or a weights file into ``encoder``.

    If the number of input channels of ``encoder`` is not three, the weights of its first layers are adapted as
    described in `adapt_kernel`.

    Args:
        encoder: Encoder network without a classifier, into which the weights are loaded.
        name: Name of the encoder, or None if the network is not in the table of encoders.
        weights: Name of a data set with published weights, such as ``"imagenet"``, or path of a file: ``.weights.h5``
            from ``save_weights``, ``.h5`` or ``.hdf5`` from Keras 2, or, for an encoder whose name ends in ``_v1`` and
            for EfficientNet-Lite, a PyTorch file with the tensor names of torchvision or timm; see `read_tensors`.
        sha256: SHA-256 that the file must have; by default, it is not checked.
        argument: Name of the argument ``weights`` in error messages.

    Raises:
        UnknownChoice: ``name`` is unknown.
        OtherWeights: The file has another SHA-256 than ``sha256``.
        WrongArgument: ``weights`` is neither the name of a data set with published weights nor a file.
        InputError: The file cannot be downloaded or read, or does not match the encoder; see `load_published`,
            `load_weights`, `load_legacy_weights` and `load_torch_encoder`.
    """
    if name is not None and weights in one_of("name", name, BACKBONES).weights:
        load_published(encoder, name, str(weights), sha256=sha256, argument=argument)
        return
    load = _reader(weights, name, argument=argument)
    if sha256 is not None:
        check_sha256(Path(weights), sha256)
    try:
        load(encoder)
    except InputError as misfit:
        if image_channels(encoder) == RGB:
            raise
        try:
            _load_adapted(encoder, load)
        except InputError:
            raise misfit from None  # the first error refers to the given encoder, not to its clone


def load_published(
    network: keras.Model,
    name: str,
    dataset: str,
    *,
    include_top: bool = False,
    sha256: str | None = None,
    argument: str = "weights",
) -> None:
    """Load published weights into ``network``, which has the graph of the encoder ``name``.

    If the number of input channels of ``network`` is not three, the weights of its first layers are adapted.

    Args:
        network: Network to load the weights into; with ``include_top``, it must have the published number of classes.
        name: Name of the encoder.
        dataset: Name of the data set on which the weights were trained.
        include_top: Whether ``network`` includes a classifier.
        sha256: SHA-256 that the file must have; see `published_file`.
        argument: Name of the argument ``dataset`` in error messages.

    Raises:
        UnknownChoice: ``name`` is unknown, or no weights for ``dataset`` are published.
        UnpublishedFirstUnit: ``network`` was built with a first unit for which no weights are published.
        OtherWeights: The file has another SHA-256 than ``sha256``.
        InputError: The file cannot be downloaded (see `fetch`) or read, or does not match the network.
    """
    row = one_of("name", name, BACKBONES)
    datasets = _with_classifier(name) if include_top else row.weights
    if dataset not in datasets:
        raise unknown_choice(argument, dataset, datasets)
    if "first_unit" in row.options and not _projects_first_unit(network):
        raise UnpublishedFirstUnit(argument=argument, given=dataset, name=name)
    file = published_file(name, dataset, include_top=include_top, sha256=sha256)
    if name in APPLICATIONS:
        copy_adapted(published_encoder(name, file), network)
        return
    if file.suffix in PICKLED:
        load: Load = partial(load_published_torch_encoder, file=file, argument=argument)
    else:
        load = _reader(file, name, argument=argument)
    if image_channels(network) == RGB:
        load(network)
    else:
        _load_adapted(network, load)


def _load_adapted(network: keras.Model, load: Load) -> None:
    rgb_network = clone_for_rgb(network)
    load(rgb_network)
    copy_adapted(rgb_network, network)


def _reader(file: WeightsFile, name: str | None, *, argument: str) -> Load:
    if isinstance(file, str | PathLike) and Path(file).is_file():
        for ending, read in READERS.items():
            if fspath(file).endswith(ending):
                return partial(read, file=file, argument=argument)
    raise _no_weights(file, name, argument=argument)


def _no_weights(given: object, name: str | None, *, argument: str) -> InputError:
    datasets = BACKBONES[name].weights if name is not None else ()
    expected = [*map(repr, datasets), f"the path of an existing file that ends in {', '.join(READERS)}"]
    near = get_close_matches(str(given), datasets, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    if name is None and any(given == dataset for _, dataset, _ in PUBLISHED):
        hint = "Published weights are for named backbones; load the weights of your own model before passing it."
    given = fspath(given) if isinstance(given, PathLike) else given
    return wrong_argument(argument, given, expected=f"{', '.join(expected)}, or None", hint=hint)


def _with_classifier(name: str) -> tuple[str, ...]:
    return tuple(dataset for model, dataset, top in PUBLISHED if model == name and top)


def _projects_first_unit(network: keras.Model) -> bool:
    return any(layer.name == "stage1_unit1_sc" for layer in network.layers)
