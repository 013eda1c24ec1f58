"""A network in int8 by NNCF; where that loses too much, its costliest layers stay in higher precision."""

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
from maskwright.export.int8_sensitivity import costs
from maskwright.framework import hidden_module

SHARES: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of the layers that compute in int8, how many go back to higher precision, one try after the other."""
_TELEMETRY: Final = "openvino_telemetry"
_RANKED_ON: Final = 8
"""Patches that layers are ranked on."""


def _import_nncf() -> Any:
    """Import NNCF without its telemetry."""
    with hidden_module(_TELEMETRY):
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf


nncf = _import_nncf()


def attempts(
    network: keras.Model, folder: Path, patches: Sequence[NDArray[np.float32]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Write ``network`` in int8 into ``folder``, and again with fewer and fewer layers in int8 as long as asked to.

    Args:
        network: What to convert.
        folder: Where the model is written, each over the one before.
        patches: What the ranges of all values are measured on, each (1, h, w, c).

    Yields:
        The name of the file to open, and the layers that are not in int8, costliest first.
    """
    model = to_openvino.convert(network)
    quantised = quantise(model, patches)
    yield to_openvino.save(quantised, folder), ()
    cost = costs(model, quantised, patches[:_RANKED_ON])
    ranking = sorted(cost, key=lambda name: -cost[name])
    for most in sorted({ceil(share * len(ranking)) for share in SHARES}):
        kept = tuple(ranking[:most])
        yield to_openvino.save(quantise(model, patches, keep=kept), folder), kept


def quantise(model: Any, patches: Sequence[NDArray[np.float32]], *, keep: Sequence[str] = ()) -> Any:
    """A copy of ``model`` in int8, calibrated on ``patches``; the layers ``keep``, and what int8 is no use to, stay."""
    with contextlib.redirect_stdout(io.StringIO()):  # bars for each of its steps
        return nncf.quantize(
            model,
            nncf.Dataset(patches),
            subset_size=len(patches),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=list(keep)),
        )
