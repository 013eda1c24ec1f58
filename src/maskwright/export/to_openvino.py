"""A network written as an OpenVINO model, for batches of any size."""

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
_ROOM: Final = 2**20  # bytes; where fewer are free, a file that could not be written found no room
_PROBE: Final = 512
"""Side of the image that sizes are tried on: networks take multiples of some power of two."""


def convert(network: keras.Model) -> Any:
    """``network`` as an `openvino.Model` in float32, (n, h, w, c) to (n, h, w, outputs), n, h and w free.

    What convolves has the name of the Keras layer that its weights are of.

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    with TemporaryDirectory() as folder:
        model = core().read_model(Path(folder) / to_saved_model.write(network, Path(folder)))
    _name_after_layers(model, network)
    _imply_sizes(model)
    return model


def save(model: Any, folder: Path) -> str:
    """Write ``model.xml`` and ``model.bin`` into ``folder``, over what is there; the name of the first, to be opened.

    An engine that was opened from there has them in memory, and stays what it was.

    Raises:
        OSError: The disk is full.
    """
    # Weights keep all their digits: what is computed in is chosen when the model is opened.
    try:
        openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    except RuntimeError as error:  # what OpenVINO makes of all that a disk says
        if shutil.disk_usage(folder).free > _ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / MODEL_FILE)) from error
    return MODEL_FILE


def write(network: keras.Model, folder: Path) -> str:
    """Write ``network`` into ``folder``; the name of the file to open.

    Raises:
        NeedsTensorFlow: Keras runs on another backend.
    """
    return save(convert(network), folder)


def _name_after_layers(model: Any, network: keras.Model) -> None:
    """Name what convolves or multiplies after Keras' layers, known by their numbers in whatever order these stand.

    A sum of two maps is named after the one before it.
    """
    names = {_digest(layer.get_weights()[0]): layer.name for layer in network._flatten_layers() if layer.weights}
    taken: set[str] = set()
    for op in model.get_ordered_ops():
        weights = [
            source for source in _sources(op)[1:] if source.get_type_name() == "Constant" and len(source.shape) > 1
        ]
        name = names.pop(_digest(weights[0].data), None) if weights else None
        if op.get_type_name() == "Add" and not weights:
            before = next(_upstream(op, taken), None)
            name = f"{before}_sum" if before else None
        if name is not None and name not in taken:
            op.set_friendly_name(name)
            taken.add(name)


def _sources(op: Any) -> list[Any]:
    return [value.get_node() for value in op.input_values()]


def _upstream(op: Any, names: Collection[str]) -> Iterator[str]:
    """Those of ``names`` that come before ``op``, nearest first, along first inputs."""
    while op.get_input_size():
        op = op.input_value(0).get_node()
        if op.get_friendly_name() in names:
            yield op.get_friendly_name()


def _digest(numbers: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.sort(np.ravel(numbers)).astype(np.float32).tobytes()).digest()


def _imply_sizes(model: Any) -> None:
    """Let each transposed convolution enlarge by its strides in place of being told a size.

    That is the same where Keras pads them as ``same``, and OpenVINO computes it in int8 only like this, as long as the
    image may be of any size.
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
        before = [total // 2 for total in extra]  # the other side has the odd one, as in TensorFlow
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
    """Height and width before and after each transposed convolution, tried on one image."""
    tried = model.clone()
    try:
        tried.reshape([1, _PROBE, _PROBE, tried.input(0).partial_shape[-1]])
        return {
            op.get_friendly_name(): (tuple(op.get_input_shape(0))[2:], tuple(op.get_output_shape(0))[2:])
            for op in tried.get_ops()
            if op.get_type_name() == "ConvolutionBackpropData"
        }
    except RuntimeError:  # no size of this network: it stays as it is
        return {}
