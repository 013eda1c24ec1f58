"""What int8 costs each layer by itself, measured for all of them in one pass over a few patches."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.engines.openvino_runtime import core, openvino

# What only moves numbers, so that NNCF rounds before it what is read after it.
_MOVERS: Final = {"Concat", "MaxPool", "Pad", "Reshape", "Relu", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze"}
_SMALLEST: Final = 1e-12  # an output that is zero everywhere divides nothing


def costs(model: Any, quantised: Any, patches: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """How far int8 moves the output of each layer, as a share of its power: 0 is exact, at 1 the output is lost.

    Each layer has a twin that reads the same inputs, exact as they are, but rounds them and its weights as NNCF chose.
    Errors of the layers before it are thus no part of what it costs.

    Args:
        model: An `openvino.Model` in float32.
        quantised: What NNCF made of it.
        patches: Images for it, (n, h, w, c).

    Returns:
        Costs by the name of the layer, of all that computes in int8.
    """
    ops, exact, twins = openvino.opset14, model.clone(), {op.get_friendly_name(): op for op in model.clone().get_ops()}
    rounded = {op.get_friendly_name(): op for op in quantised.get_ops()}
    shares = {}
    for op in exact.get_ordered_ops():
        name = op.get_friendly_name()
        if op.get_type_name() in _MOVERS or name not in rounded or not op.get_output_size():
            continue
        inputs = [_rounded(rounded[name].input_value(at), op.input_value(at)) for at in range(op.get_input_size())]
        if not any(inputs):
            continue
        for at, value in enumerate(inputs):
            twins[name].input(at).replace_source_output(value or op.input_value(at))
        shares[name] = ops.divide(
            _power(ops.subtract(twins[name].output(0), op.output(0))),
            ops.add(_power(op), ops.constant(np.float32(_SMALLEST))),
        )
    both = openvino.Model(list(shares.values()), exact.get_parameters())
    compiled = core().compile_model(both, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    means = np.mean([list(compiled(patch).to_tuple()) for patch in patches], axis=0)
    return {name: float(share) for name, share in zip(shares, means, strict=True)}


def _rounded(quantised: Any, exact: Any) -> Any:
    """``exact``, an input of a layer, rounded as NNCF rounds it to ``quantised``; None where it does not."""
    source = quantised.get_node()
    if exact.get_node().get_type_name() == "Constant":
        return quantised if source.get_type_name() == "Multiply" else None
    while source.get_type_name() in _MOVERS:
        source = source.input_value(0).get_node()
    if source.get_type_name() != "FakeQuantize":
        return None
    ranges = [source.input_value(at) for at in range(1, 5)]
    return openvino.opset14.fake_quantize(exact, *ranges, levels=source.get_attributes()["levels"]).output(0)


def _power(values: Any) -> Any:
    ops = openvino.opset14
    every = list(range(values.get_output_partial_shape(0).rank.get_length()))
    return ops.reduce_mean(ops.multiply(values, values), ops.constant(np.array(every, np.int64)), keep_dims=False)
