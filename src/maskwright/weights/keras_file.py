"""A Keras weights file the user names, into a network."""

from os import PathLike, fspath
from pathlib import Path

import keras

from maskwright.errors import InputError

WeightsFile = str | PathLike[str]


class MissingWeights(InputError):
    """A weights argument that names no Keras weights file."""

    text = "{argument}={given!r}: expected the path of an existing .weights.h5 file, or None.{hint}"


class UnusableWeights(InputError):
    """A weights file that cannot be read, or that belongs to another network."""

    text = "{argument}={given!r}: expected weights that save_weights wrote for the network {network} built here."


def load_weights(network: keras.Model, file: WeightsFile, *, argument: str) -> None:
    """Fill ``network`` from a file its ``save_weights`` wrote; ``argument`` is what the user calls ``file``.

    The format holds arrays only, so a file from a stranger can give wrong numbers but run no code.

    Raises:
        MissingWeights: ``file`` is not an existing ``.weights.h5`` file.
        UnusableWeights: Keras cannot read it, or its arrays do not fit the network.
    """
    given = fspath(file) if isinstance(file, PathLike) else file
    if not isinstance(given, str) or not given.endswith(".weights.h5") or not Path(given).is_file():
        hint = " Published weights are for the encoder: encoder_weights='imagenet'." if given == "imagenet" else ""
        raise MissingWeights(argument=argument, given=given, hint=hint)
    try:
        network.load_weights(given)
    except (OSError, ValueError) as error:
        raise UnusableWeights(argument=argument, given=given, network=network.name) from error
