"""What can predict: one small protocol, and the door that opens a run as an engine."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.inference.bundle import BUNDLE_FILE, Bundle

NETWORK_FILE = "model.keras"


class Engine(Protocol):
    """A network that predicts, whatever computes it."""

    bundle: Bundle

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, (n, h, w, outputs), of prepared images, (n, h, w, c) of sides the bundle allows."""
        ...


class NotARun(InputError):
    """A folder that no training wrote."""

    text = "{folder}: not a run: {found}; expected a folder that `maskwright train --out` wrote, with {expected}."


class MissingFramework(InputError):
    """Keras, or its backend, is not installed."""

    text = "Opening {file} needs Keras and a backend ({found}); install one: pip install 'maskwright[tensorflow]'."


def open_engine(folder: str | Path) -> Engine:
    """The engine in a run's folder; only this loads Keras.

    Raises:
        NotARun: The folder is missing, or holds no bundle or network.
        UnreadableBundle: The bundle is damaged.
        MissingFramework: Keras is not installed.
    """
    folder = Path(folder)
    expected = f"{BUNDLE_FILE} and {NETWORK_FILE}"
    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "there is no such folder"
        raise NotARun(folder=folder, found=found, expected=expected)
    for name in (BUNDLE_FILE, NETWORK_FILE):
        if not (folder / name).is_file():
            raise NotARun(folder=folder, found=f"{name} is missing", expected=expected)
    bundle = Bundle.read(folder)
    try:
        from maskwright.inference.keras_engine import load_keras_engine
    except ImportError as error:
        raise MissingFramework(file=folder / NETWORK_FILE, found=error) from None
    return load_keras_engine(folder / NETWORK_FILE, bundle)
