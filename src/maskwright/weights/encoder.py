"""Weights for an encoder, by the name of a data set or from a file, whatever number of channels it reads."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Final

import keras

from maskwright.errors import InputError, one_of, unknown_choice, wrong_argument
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.keras_applications import APPLICATIONS, published
from maskwright.weights.catalogue import PUBLISHED
from maskwright.weights.download import fetch
from maskwright.weights.input_channels import RGB, copy_adapted, image_channels, rgb_twin
from maskwright.weights.keras_file import WeightsFile, load_weights
from maskwright.weights.segmentation_models.fill import load_legacy_weights
from maskwright.weights.torch.file import SUFFIXES, load_resnet_v1

Reader = Callable[..., None]  # (network, file, *, argument): the whole file into the whole network
Fill = Callable[[keras.Model], None]

# By the end of the file's name; the first that fits.
READERS: Final[Mapping[str, Reader]] = {
    ".weights.h5": load_weights,
    **dict.fromkeys((".h5", ".hdf5"), load_legacy_weights),
    **dict.fromkeys(SUFFIXES, load_resnet_v1),
}


class UnpublishedFirstUnit(InputError):
    """Published weights asked for a form of the network that nobody published any for."""

    text = (
        "{argument}={given!r}: the published weights of {name} fit first_unit='projection', and this network was "
        "built with first_unit='identity'."
    )


def load_encoder_weights(
    encoder: keras.Model, name: str | None, weights: WeightsFile, *, argument: str = "encoder_weights"
) -> None:
    """Fill ``encoder`` from published weights, which are downloaded once, or from a file.

    Where ``encoder`` reads another number of channels than the numbers were learnt on, which is three, the layers
    that read the image are adapted: summed for one channel, taken in turn and rescaled for more.

    Args:
        encoder: Without a classifier.
        name: Its row in the table of backbones; None for a network that has none.
        weights: A data set of that row, such as ``"imagenet"``, or the path of a file: ``.weights.h5`` from
            ``save_weights``, ``.h5`` or ``.hdf5`` from Keras 2, or a file of torch's, see `read_tensors`, with a ResNet
            of torchvision's names for the encoders that end in ``_v1``.
        argument: What the user calls ``weights``, for the errors.

    Raises:
        UnknownChoice: ``name`` is in no row.
        WrongArgument: ``weights`` is neither.
        InputError: the file cannot be had or read, or does not fit ``encoder``; see `load_published`, `load_weights`,
            `load_legacy_weights` and `load_resnet_v1`.
    """
    if name is not None and weights in one_of("name", name, BACKBONES).weights:
        load_published(encoder, name, str(weights), argument=argument)
        return
    fill = _reader(weights, name, argument=argument)
    try:
        fill(encoder)
    except InputError as misfit:
        if image_channels(encoder) == RGB:
            raise
        try:
            _fill_adapted(encoder, fill)
        except InputError:
            raise misfit from None  # which tells of the encoder the user has, not of its twin


def load_published(
    network: keras.Model, name: str, dataset: str, *, include_top: bool = False, argument: str = "weights"
) -> None:
    """Fill ``network``, the graph of the backbone called ``name``, from weights others published.

    The layers that read the image are adapted where ``network`` has another number of channels than three.

    Args:
        network: With the published number of classes if ``include_top``.
        name: A row in the table of backbones.
        dataset: What the weights were trained on.
        include_top: Whether ``network`` has its classifier.
        argument: What the user calls ``dataset``, for the errors.

    Raises:
        UnknownChoice: ``name`` is in no row, or nobody published weights of ``dataset`` for it; the message names those
            there are.
        UnpublishedFirstUnit: ``network`` was built with another first unit.
        InputError: the file cannot be had, see `fetch`, or read, or does not fit.
    """
    row = one_of("name", name, BACKBONES)
    datasets = _with_classifier(name) if include_top else row.weights
    if dataset not in datasets:
        raise unknown_choice(argument, dataset, datasets)
    if "first_unit" in row.options and not _projects_first_unit(network):
        raise UnpublishedFirstUnit(argument=argument, given=dataset, name=name)
    file = fetch(PUBLISHED[name, dataset, include_top])
    if name in APPLICATIONS:
        copy_adapted(published(name, file), network)
        return
    fill = _reader(file, name, argument=argument)
    if image_channels(network) == RGB:
        fill(network)
    else:
        _fill_adapted(network, fill)


def _fill_adapted(network: keras.Model, fill: Fill) -> None:
    twin = rgb_twin(network)
    fill(twin)
    copy_adapted(twin, network)


def _reader(file: WeightsFile, name: str | None, *, argument: str) -> Fill:
    if isinstance(file, str | PathLike) and Path(file).is_file():
        for ending, read in READERS.items():
            if fspath(file).endswith(ending):
                return partial(read, file=file, argument=argument)
    raise _no_weights(file, name, argument=argument)


def _no_weights(given: object, name: str | None, *, argument: str) -> InputError:
    datasets = BACKBONES[name].weights if name is not None else ()
    words = [*map(repr, datasets), f"the path of an existing file that ends in {', '.join(READERS)}"]
    near = get_close_matches(str(given), datasets, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    if name is None and any(given == dataset for _, dataset, _ in PUBLISHED):
        hint = "Published weights belong to encoders that have a name; fill a model of your own before giving it."
    given = fspath(given) if isinstance(given, PathLike) else given
    return wrong_argument(argument, given, expected=f"{', '.join(words)}, or None", hint=hint)


def _with_classifier(name: str) -> tuple[str, ...]:
    return tuple(dataset for model, dataset, top in PUBLISHED if model == name and top)


def _projects_first_unit(network: keras.Model) -> bool:
    return any(layer.name == "stage1_unit1_sc" for layer in network.layers)
