"""Load a Keras weights file into a network."""

from os import PathLike, fspath
from pathlib import Path

import keras

from maskwright.errors import InputError

WeightsFile = str | PathLike[str]


class MissingWeights(InputError):
    """An argument that is not the path of a Keras weights file."""

    text = "{argument}={given!r}: expected the path of an existing .weights.h5 file, or None.{hint}"


class UnusableWeights(InputError):
    """A weights file that cannot be read or was saved for another network."""

    text = "{argument}={given!r}: expected weights written by save_weights for the network {network}."


def load_weights(network: keras.Model, file: WeightsFile, *, argument: str) -> None:
    """Load a file written by ``save_weights`` into ``network``; ``argument`` names the file argument in error messages.

    The format stores only arrays, so an untrusted file cannot run code.

    Raises:
        MissingWeights: ``file`` is not an existing ``.weights.h5`` file.
        UnusableWeights: Keras cannot read the file, or its arrays do not match the network.
    """
    given = fspath(file) if isinstance(file, PathLike) else file
    if not isinstance(given, str) or not given.endswith(".weights.h5") or not Path(given).is_file():
        hint = " Published weights are for the encoder: encoder_weights='imagenet'." if given == "imagenet" else ""
        raise MissingWeights(argument=argument, given=given, hint=hint)
    try:
        network.load_weights(given)
    except (OSError, ValueError) as error:
        raise UnusableWeights(argument=argument, given=given, network=network.name) from error
