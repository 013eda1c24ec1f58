"""Which tensor of a torch network holds the numbers of which layer here, by name and by layout.

Rules turn the name of a layer with weights into its torch module's; the kind of layer then says which tensors the
module has, and in which order torch keeps their axes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
from keras import layers

from maskwright.errors import InputError

Rules = Mapping[str, str]  # pattern of a layer's whole name -> its torch module's name
Tensors = Mapping[str, np.ndarray]
Source = Mapping[str, object]  # the fields ``argument`` and ``given`` of an error: what the user said, and where

TORCH_EPSILON: Final = 1e-5  # of every batch normalisation there
MOST_NAMED: Final = 6  # tensors an error lists

RESNET_RULES: Final[Rules] = {
    r"(conv1|bn1|fc)": r"\1",
    r"(layer\d)_(\d+)_((?:conv|bn)\d)": r"\1.\2.\3",
    r"(layer\d)_(\d+)_downsample_(\d)": r"\1.\2.downsample.\3",
}

# Each weight's tensor, and the axes of that tensor in our order: a torch kernel is (out, in, height, width).
_BIAS: Final = {"bias": ("bias", (0,))}
_AFFINE: Final = {"gamma": ("weight", (0,)), "beta": ("bias", (0,))}
_LAYOUTS: Final[Mapping[type, Mapping[str, tuple[str, tuple[int, ...]]]]] = {
    layers.Conv2D: {"kernel": ("weight", (2, 3, 1, 0)), **_BIAS},
    layers.DepthwiseConv2D: {"kernel": ("weight", (2, 3, 0, 1)), **_BIAS},
    layers.Conv2DTranspose: {"kernel": ("weight", (2, 3, 1, 0)), **_BIAS},  # torch's is (in, out, height, width)
    layers.Dense: {"kernel": ("weight", (1, 0)), **_BIAS},
    layers.GroupNormalization: _AFFINE,
    layers.BatchNormalization: {
        **_AFFINE,
        "moving_mean": ("running_mean", (0,)),
        "moving_variance": ("running_var", (0,)),
    },
}


class NoCounterpart(InputError):
    """A layer with weights that the torch network does not have."""

    text = "the layer {layer} ({kind}) of the network {network} has no counterpart in {family}."


class TensorMismatch(InputError):
    """A file whose tensors are not those of the network."""

    text = "{argument}={given!r} does not fit the network {network}: {found}. Nothing was loaded."


class EpsilonTooSmall(InputError):
    """A batch normalisation whose epsilon is too far below torch's for its variances to make up for it."""

    text = (
        "the layer {layer} of the network {network} normalises with epsilon {found:g}, torch with {expected:g}: "
        "its least variance, {variance:g}, is smaller than the difference."
    )


@dataclass(frozen=True)
class Slot:
    """A weight here and the torch tensor of the same numbers; ``axes`` are the tensor's axes in our order."""

    tensor: str
    layer: keras.Layer
    variable: keras.Variable
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, in torch's order."""
        return tuple(self.variable.shape[axis] for axis in np.argsort(self.axes))

    def from_torch(self, tensor: np.ndarray) -> np.ndarray:
        """The weight's values."""
        return tensor.transpose(self.axes)

    def to_torch(self) -> np.ndarray:
        """The tensor's values."""
        value = np.asarray(keras.ops.convert_to_numpy(self.variable), dtype=np.float32)
        return np.ascontiguousarray(value.transpose(np.argsort(self.axes)))


def slots(network: keras.Model, rules: Rules, *, family: str) -> Iterator[Slot]:
    """Every weight of ``network`` with its tensor.

    Raises:
        NoCounterpart: ``rules`` leave out a layer with weights, or ``family`` has no such kind of layer.
    """
    for layer in filter(lambda layer: layer.weights, network.layers):
        module, layout = module_of(layer.name, rules), _LAYOUTS.get(type(layer))
        if module is None or layout is None:
            kind = type(layer).__name__
            raise NoCounterpart(layer=layer.name, kind=kind, network=network.name, family=family)
        for variable in layer.weights:
            suffix, axes = layout[variable.name]
            yield Slot(f"{module}.{suffix}", layer, variable, axes)


def module_of(layer: str, rules: Rules) -> str | None:
    """The torch module of the layer called ``layer``, or None where no rule knows it.

    >>> module_of("layer1_0_downsample_1", RESNET_RULES)
    'layer1.0.downsample.1'
    """
    for pattern, replacement in rules.items():
        if found := re.fullmatch(pattern, layer):
            return found.expand(replacement)
    return None


def fill(network: keras.Model, tensors: Tensors, rules: Rules, *, source: Source, family: str) -> None:
    """Give ``network`` the numbers of ``tensors``, each used once and every weight filled, or change nothing.

    Args:
        network: What to fill.
        tensors: In torch's layout, by name, without counters of batches.
        rules: From names of layers to names of modules.
        source: The fields ``argument`` and ``given`` of an error: where the tensors are from.
        family: What has these modules, for an error.

    Raises:
        NoCounterpart: a layer of ``network`` is none that ``rules`` know.
        TensorMismatch: a tensor is missing, left over, or of another shape.
    """
    wanted = {slot.tensor: slot for slot in slots(network, rules, family=family)}
    problems = [
        *(f"it lacks {name}" for name in wanted.keys() - tensors.keys()),
        *(f"{name} has no place" for name in tensors.keys() - wanted.keys()),
        *(
            f"{name} is {tensors[name].shape}, expected {slot.shape}"
            for name, slot in wanted.items()
            if name in tensors and tensors[name].shape != slot.shape
        ),
    ]
    if problems:
        more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise TensorMismatch(**source, network=network.name, found="; ".join(sorted(problems)[:MOST_NAMED]) + more)
    for name, slot in wanted.items():
        slot.variable.assign(slot.from_torch(tensors[name]))


def tensors_of(network: keras.Model, rules: Rules, *, family: str) -> Tensors:
    """The weights of ``network`` as torch tensors, by name; variances are those that go with torch's epsilon.

    Raises:
        NoCounterpart: a layer of ``network`` is none that ``rules`` know.
        EpsilonTooSmall: a variance would be negative.
    """
    return {slot.tensor: _stored(slot, network=network.name) for slot in slots(network, rules, family=family)}


def _stored(slot: Slot, *, network: str) -> np.ndarray:
    """The tensor of ``slot``; a variance makes up for the difference between its layer's epsilon and torch's."""
    tensor = slot.to_torch()
    if slot.variable.name != "moving_variance" or slot.layer.epsilon == TORCH_EPSILON:
        return tensor
    difference = slot.layer.epsilon - TORCH_EPSILON
    if (least := float(tensor.min())) + difference < 0:
        found = {"layer": slot.layer.name, "found": slot.layer.epsilon, "variance": least}
        raise EpsilonTooSmall(network=network, expected=TORCH_EPSILON, **found)
    return tensor + np.float32(difference)
