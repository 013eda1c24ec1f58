"""Quantise trained networks to int8 with NNCF, with the most sensitive layers in higher precision if needed."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.export import to_openvino
from maskwright.export.int8_sensitivity import quantisation_errors
from maskwright.framework import hidden_module

KEPT_FRACTIONS: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Fractions of the int8 layers that are kept in higher precision in successive attempts."""
_TELEMETRY: Final = "openvino_telemetry"
_RANKING_PATCHES: Final = 8
"""Number of patches with which the quantisation errors of the layers are measured."""


def _import_nncf() -> Any:
    """Import NNCF with its telemetry disabled."""
    with hidden_module(_TELEMETRY):
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf


nncf = _import_nncf()


def attempts(
    network: keras.Model, folder: Path, patches: Sequence[NDArray[np.float32]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Write ``network`` in int8, and rewrite it with fewer layers in int8 for each further item of the iterator.

    Args:
        network: Network to convert.
        folder: Output folder, in which each model replaces the previous one.
        patches: Preprocessed patches for calibration, each (1, h, w, c).

    Yields:
        Name of the model file, and names of the layers that remain in higher precision, most sensitive first.
    """
    model = to_openvino.convert(network)
    quantised = quantise(model, patches)
    yield to_openvino.save(quantised, folder), ()
    errors = quantisation_errors(model, quantised, patches[:_RANKING_PATCHES])
    ranking = sorted(errors, key=lambda name: -errors[name])
    for count in sorted({ceil(fraction * len(ranking)) for fraction in KEPT_FRACTIONS}):
        kept = tuple(ranking[:count])
        yield to_openvino.save(quantise(model, patches, keep=kept), folder), kept


def quantise(model: Any, patches: Sequence[NDArray[np.float32]], *, keep: Sequence[str] = ()) -> Any:
    """Quantise a copy of ``model`` to int8, except for the layers in ``keep``, with ``patches`` for calibration."""
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF prints progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(patches),
            subset_size=len(patches),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=list(keep)),
        )
