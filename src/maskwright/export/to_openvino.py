"""Export networks to OpenVINO for batches and images of any size."""

import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from maskwright.export import to_saved_model
from maskwright.inference.engines.openvino_runtime import core, openvino

MODEL_FILE: Final = "model.xml"
_MIN_FREE_BYTES: Final = 2**20  # with less free space, a failed write is attributed to a full disk
_PROBE_SIDE: Final = 512
"""Side, in pixels, of the image with which sizes are inferred; networks accept multiples of a power of two."""


def convert(network: keras.Model) -> Any:
    """Convert ``network`` to an `openvino.Model` in float32.

    The model maps images (n, h, w, c) to probabilities (n, h, w, outputs), where n, h and w are variable.
    Convolutions are named after the Keras layers that own their weights.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    with TemporaryDirectory() as folder:
        model = core().read_model(Path(folder) / to_saved_model.write(network, Path(folder)))
    _name_after_layers(model, network)
    _make_output_sizes_implicit(model)
    return model


def save(model: Any, folder: Path) -> str:
    """Write ``model.xml`` and ``model.bin``, replacing existing files, and return the name of the ``.xml`` file.

    An engine that was loaded from the same files is not affected, because its model is in memory.

    Raises:
        OSError: The disk is full.
    """
    # Weights remain in float32; the precision is chosen when the model is loaded.
    try:
        openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO raises RuntimeError for every disk error
        if shutil.disk_usage(folder).free > _MIN_FREE_BYTES:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / MODEL_FILE)) from error
    return MODEL_FILE


def write(network: keras.Model, folder: Path) -> str:
    """Write ``network`` to ``folder`` and return the name of the model file.

    Raises:
        NeedsTensorFlow: Keras runs on a backend other than TensorFlow.
    """
    return save(convert(network), folder)


def _name_after_layers(model: Any, network: keras.Model) -> None:
    """Name each convolution and matrix product after the Keras layer with the same weights, in any layout.

    A sum of two feature maps is named after the layer that precedes it.
    """
    names = {_digest(layer.get_weights()[0]): layer.name for layer in network._flatten_layers() if layer.weights}
    used: set[str] = set()
    for op in model.get_ordered_ops():
        weights = [
            source for source in _sources(op)[1:] if source.get_type_name() == "Constant" and len(source.shape) > 1
        ]
        name = names.pop(_digest(weights[0].data), None) if weights else None
        if op.get_type_name() == "Add" and not weights:
            previous = next(_upstream(op, used), None)
            name = f"{previous}_sum" if previous else None
        if name is not None and name not in used:
            op.set_friendly_name(name)
            used.add(name)


def _sources(op: Any) -> list[Any]:
    return [value.get_node() for value in op.input_values()]


def _upstream(op: Any, names: Collection[str]) -> Iterator[str]:
    """Yield the operations in ``names`` that precede ``op`` on the path of first inputs, nearest first."""
    while op.get_input_size():
        op = op.input_value(0).get_node()
        if op.get_friendly_name() in names:
            yield op.get_friendly_name()


def _digest(numbers: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.sort(np.ravel(numbers)).astype(np.float32).tobytes()).digest()


def _make_output_sizes_implicit(model: Any) -> None:
    """Replace the explicit output size of transposed convolutions with the size determined by their strides.

    With the ``same`` padding of Keras, both sizes are equal. For images of any size, OpenVINO computes the operation in
    int8 only if it has no explicit size.
    """
    sizes = _sizes(model)
    for op in model.get_ordered_ops():
        strides = op.get_attributes().get("strides") if op.get_type_name() == "ConvolutionBackpropData" else None
        small, large = sizes.get(op.get_friendly_name(), ((), ()))
        if op.get_input_size() < 3 or strides is None or not small:
            continue
        extra = [k.get_length() - s for k, s in zip(list(op.get_input_partial_shape(1))[2:], strides, strict=True)]
        if min(extra) < 0 or large != tuple(side * stride for side, stride in zip(small, strides, strict=True)):
            continue
        before = [total // 2 for total in extra]  # an odd pixel is added at the end, as in TensorFlow
        implied = openvino.opset14.convolution_backprop_data(
            op.input_value(0),
            op.input_value(1),
            strides=strides,
            pads_begin=before,
            pads_end=[total - begin for total, begin in zip(extra, before, strict=True)],
            dilations=op.get_attributes()["dilations"],
        )
        implied.set_friendly_name(op.get_friendly_name())
        op.output(0).replace(implied.output(0))
    model.validate_nodes_and_infer_types()


def _sizes(model: Any) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the input size and the output size (h, w) of each transposed convolution for one image size."""
    probe = model.clone()
    try:
        probe.reshape([1, _PROBE_SIDE, _PROBE_SIDE, probe.input(0).partial_shape[-1]])
        return {
            op.get_friendly_name(): (tuple(op.get_input_shape(0))[2:], tuple(op.get_output_shape(0))[2:])
            for op in probe.get_ops()
            if op.get_type_name() == "ConvolutionBackpropData"
        }
    except RuntimeError:  # the network does not accept this size and remains unchanged
        return {}
