"""Map the weights of Keras layers to the tensors of a PyTorch state dict.

Rules map the name of a layer to the name of a PyTorch module. The type of the layer determines the names of the
module's tensors and the order of their axes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
from keras import layers

from maskwright.errors import InputError

Rules = Mapping[str, str]  # pattern of a layer's full name -> name of its PyTorch module
Tensors = Mapping[str, np.ndarray]
Source = Mapping[str, object]  # values of the fields ``argument`` and ``given`` of an error message

TORCH_EPSILON: Final = 1e-5  # epsilon of batch normalisation in these PyTorch networks
MAX_LISTED_PROBLEMS: Final = 6  # maximum number of problems listed in one error message

RESNET_RULES: Final[Rules] = {
    r"(conv1|bn1|fc)": r"\1",
    r"(layer\d)_(\d+)_((?:conv|bn)\d)": r"\1.\2.\3",
    r"(layer\d)_(\d+)_downsample_(\d)": r"\1.\2.downsample.\3",
}

EFFICIENTNET_LITE_RULES: Final[Rules] = {
    r"(conv_stem|bn1|conv_head|bn2|classifier)": r"\1",
    r"blocks_(\d)_(\d+)_(conv_pw|conv_dw|conv_pwl|bn\d)": r"blocks.\1.\2.\3",
}

# Name of the tensor of each weight, and its axes in the order of Keras. A PyTorch kernel is (out, in, height, width).
_BIAS: Final = {"bias": ("bias", (0,))}
_AFFINE: Final = {"gamma": ("weight", (0,)), "beta": ("bias", (0,))}
_LAYOUTS: Final[Mapping[type, Mapping[str, tuple[str, tuple[int, ...]]]]] = {
    layers.Conv2D: {"kernel": ("weight", (2, 3, 1, 0)), **_BIAS},
    layers.DepthwiseConv2D: {"kernel": ("weight", (2, 3, 0, 1)), **_BIAS},
    layers.Conv2DTranspose: {"kernel": ("weight", (2, 3, 1, 0)), **_BIAS},  # (in, out, height, width) in PyTorch
    layers.Dense: {"kernel": ("weight", (1, 0)), **_BIAS},
    layers.GroupNormalization: _AFFINE,
    layers.BatchNormalization: {
        **_AFFINE,
        "moving_mean": ("running_mean", (0,)),
        "moving_variance": ("running_var", (0,)),
    },
}


class NoCounterpart(InputError):
    """A layer with weights that has no counterpart in the PyTorch network."""

    text = "network {network}: the layer {layer} ({kind}) has no counterpart in {family}."


class TensorMismatch(InputError):
    """A file whose tensors differ in name or shape from those of the network."""

    text = "{argument}={given!r}: does not fit the network {network}: {found}. Nothing was loaded."


class EpsilonTooSmall(InputError):
    """Batch normalisation with an epsilon that is too small to be replaced by that of PyTorch."""

    text = (
        "network {network}: the layer {layer} has the epsilon {found:g}; expected {expected:g} as in PyTorch. "
        "The smallest variance, {variance:g}, cannot compensate for the difference."
    )


@dataclass(frozen=True)
class TensorMapping:
    """A Keras weight and its PyTorch tensor; ``axes`` are the axes of the tensor in the order of Keras."""

    tensor: str
    layer: keras.Layer
    variable: keras.Variable
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in the axis order of PyTorch."""
        return tuple(self.variable.shape[axis] for axis in np.argsort(self.axes))

    def from_torch(self, tensor: np.ndarray) -> np.ndarray:
        """Return the values of ``tensor`` in the layout of the Keras weight."""
        return tensor.transpose(self.axes)

    def to_torch(self) -> np.ndarray:
        """Return the values of the Keras weight in the layout of the PyTorch tensor."""
        value = np.asarray(keras.ops.convert_to_numpy(self.variable), dtype=np.float32)
        return np.ascontiguousarray(value.transpose(np.argsort(self.axes)))


def tensor_mappings(network: keras.Model, rules: Rules, *, family: str) -> Iterator[TensorMapping]:
    """Yield the mapping of every weight of ``network``.

    Raises:
        NoCounterpart: No rule matches a layer with weights, or layers of this type do not exist in ``family``.
    """
    for layer in filter(lambda layer: layer.weights, network.layers):
        module, layout = module_of(layer.name, rules), _LAYOUTS.get(type(layer))
        if module is None or layout is None:
            kind = type(layer).__name__
            raise NoCounterpart(layer=layer.name, kind=kind, network=network.name, family=family)
        for variable in layer.weights:
            suffix, axes = layout[variable.name]
            yield TensorMapping(f"{module}.{suffix}", layer, variable, axes)


def module_of(layer: str, rules: Rules) -> str | None:
    """Return the name of the PyTorch module of a layer, or None if no rule matches.

    >>> module_of("layer1_0_downsample_1", RESNET_RULES)
    'layer1.0.downsample.1'
    """
    for pattern, replacement in rules.items():
        if match := re.fullmatch(pattern, layer):
            return match.expand(replacement)
    return None


def load_tensors(network: keras.Model, tensors: Tensors, rules: Rules, *, source: Source, family: str) -> None:
    """Load ``tensors`` into ``network`` if all tensors and all weights match; otherwise, nothing is changed.

    Args:
        network: Network to load the tensors into.
        tensors: Tensors by name, in PyTorch's layout, without batch counters.
        rules: Rules that map layer names to module names.
        source: Values of the fields ``argument`` and ``given`` in error messages.
        family: Name of the PyTorch network in error messages.

    Raises:
        NoCounterpart: No rule matches a layer of ``network``.
        TensorMismatch: A tensor is missing, is unexpected or has another shape.
    """
    expected = {mapping.tensor: mapping for mapping in tensor_mappings(network, rules, family=family)}
    problems = [
        *(f"{name} is missing" for name in expected.keys() - tensors.keys()),
        *(f"{name} is unexpected" for name in tensors.keys() - expected.keys()),
        *(
            f"{name} is {tensors[name].shape}, expected {mapping.shape}"
            for name, mapping in expected.items()
            if name in tensors and tensors[name].shape != mapping.shape
        ),
    ]
    if problems:
        more = f"; and {len(problems) - MAX_LISTED_PROBLEMS} more" if len(problems) > MAX_LISTED_PROBLEMS else ""
        raise TensorMismatch(
            **source, network=network.name, found="; ".join(sorted(problems)[:MAX_LISTED_PROBLEMS]) + more
        )
    for name, mapping in expected.items():
        mapping.variable.assign(mapping.from_torch(tensors[name]))


def tensors_of(network: keras.Model, rules: Rules, *, family: str) -> Tensors:
    """Return the weights of ``network`` as PyTorch tensors by name, with variances adapted to the epsilon of PyTorch.

    Raises:
        NoCounterpart: No rule matches a layer of ``network``.
        EpsilonTooSmall: An adapted variance would be negative.
    """
    mappings = tensor_mappings(network, rules, family=family)
    return {mapping.tensor: _to_torch(mapping, network=network.name) for mapping in mappings}


def _to_torch(mapping: TensorMapping, *, network: str) -> np.ndarray:
    """Return the PyTorch tensor of a weight; a variance is adapted to the epsilon of PyTorch."""
    tensor = mapping.to_torch()
    if mapping.variable.name != "moving_variance" or mapping.layer.epsilon == TORCH_EPSILON:
        return tensor
    difference = mapping.layer.epsilon - TORCH_EPSILON
    if (smallest := float(tensor.min())) + difference < 0:
        found = {"layer": mapping.layer.name, "found": mapping.layer.epsilon, "variance": smallest}
        raise EpsilonTooSmall(network=network, expected=TORCH_EPSILON, **found)
    return tensor + np.float32(difference)
