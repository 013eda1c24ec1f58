"""Measure the quantisation error of each layer, for all layers in one pass over a few patches."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.engines.openvino_runtime import core, openvino

# Operations that only move values; NNCF quantises their inputs instead of their outputs.
_MOVING_OPS: Final = {
    "Concat",
    "MaxPool",
    "Pad",
    "Reshape",
    "Relu",
    "Squeeze",
    "StridedSlice",
    "Transpose",
    "Unsqueeze",
}
_EPSILON: Final = 1e-12  # avoids a division by zero for an output that is zero everywhere


def quantisation_errors(model: Any, quantised: Any, patches: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Compute the error in the output of each int8 layer, relative to the power of the output.

    An error of 0 means that the output is exact; an error of 1 is as large as the output. Each layer is compared with
    a copy that receives the same exact inputs and whose inputs and weights are quantised as in ``quantised``. Errors of
    earlier layers are therefore not included.

    Args:
        model: Model in float32, as an `openvino.Model`.
        quantised: The model after quantisation by NNCF, as an `openvino.Model`.
        patches: Batches of preprocessed images, each (n, h, w, c).

    Returns:
        Relative error of each layer that is computed in int8, by the name of the layer.
    """
    ops, exact, copies = openvino.opset14, model.clone(), {op.get_friendly_name(): op for op in model.clone().get_ops()}
    quantised_ops = {op.get_friendly_name(): op for op in quantised.get_ops()}
    errors = {}
    for op in exact.get_ordered_ops():
        name = op.get_friendly_name()
        if op.get_type_name() in _MOVING_OPS or name not in quantised_ops or not op.get_output_size():
            continue
        inputs = [
            _quantised_input(quantised_ops[name].input_value(at), op.input_value(at))
            for at in range(op.get_input_size())
        ]
        if not any(inputs):
            continue
        for at, value in enumerate(inputs):
            copies[name].input(at).replace_source_output(value or op.input_value(at))
        errors[name] = ops.divide(
            _power(ops.subtract(copies[name].output(0), op.output(0))),
            ops.add(_power(op), ops.constant(np.float32(_EPSILON))),
        )
    combined = openvino.Model(list(errors.values()), exact.get_parameters())
    compiled = core().compile_model(combined, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    means = np.mean([list(compiled(patch).to_tuple()) for patch in patches], axis=0)
    return {name: float(mean) for name, mean in zip(errors, means, strict=True)}


def _quantised_input(quantised: Any, exact: Any) -> Any:
    """Quantise the layer input ``exact`` as in ``quantised``; return None if that input is not quantised."""
    source = quantised.get_node()
    if exact.get_node().get_type_name() == "Constant":
        return quantised if source.get_type_name() == "Multiply" else None
    while source.get_type_name() in _MOVING_OPS:
        source = source.input_value(0).get_node()
    if source.get_type_name() != "FakeQuantize":
        return None
    ranges = [source.input_value(at) for at in range(1, 5)]
    return openvino.opset14.fake_quantize(exact, *ranges, levels=source.get_attributes()["levels"]).output(0)


def _power(values: Any) -> Any:
    ops = openvino.opset14
    axes = list(range(values.get_output_partial_shape(0).rank.get_length()))
    return ops.reduce_mean(ops.multiply(values, values), ops.constant(np.array(axes, np.int64)), keep_dims=False)
