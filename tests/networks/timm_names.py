"""Weights of EfficientNet-Lite under the names of timm and of efficientnet_pytorch."""

import re
from collections.abc import Mapping

import keras
import numpy as np

PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
MODULES = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}


def timm_state(network: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights under the names of timm and in the layout of torch."""
    state = {}
    for layer in network.layers:
        for weight in layer.weights:
            values = keras.ops.convert_to_numpy(weight)
            if values.ndim == 4:
                axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (3, 2, 0, 1)
                values = values.transpose(axes)
            elif values.ndim == 2:
                values = values.T
            module = re.sub(r"^blocks_(\d)_(\d+)_", r"blocks.\1.\2.", layer.name)
            state[f"{module}.{PARTS[weight.name]}"] = np.ascontiguousarray(values)
    return state


def efficientnet_pytorch_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tensors under the names of efficientnet_pytorch, given those under the names of timm."""
    blocks = sorted({tuple(map(int, name.split(".")[1:3])) for name in state if name.startswith("blocks.")})
    renamed = {}
    for name, values in state.items():
        if not name.startswith("blocks."):
            module, part = name.split(".")
            renamed[f"{MODULES[module]}.{part}"] = values
            continue
        _, stage, block, module, part = name.split(".")
        if stage == "0":  # without an expansion
            module = {"conv_dw": "depthwise_conv", "bn1": "bn1", "conv_pw": "project_conv", "bn2": "bn2"}[module]
        else:
            convs = {"conv_pw": "expand_conv", "conv_dw": "depthwise_conv", "conv_pwl": "project_conv"}
            module = {**convs, "bn1": "bn0", "bn2": "bn1", "bn3": "bn2"}[module]
        renamed[f"_blocks.{blocks.index((int(stage), int(block)))}._{module}.{part}"] = values
    return renamed
