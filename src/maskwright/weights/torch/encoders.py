"""Load encoders of torchvision and timm from PyTorch files: post-activation ResNets and EfficientNet-Lite."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Final

import keras

from maskwright.weights.torch.file import TorchFile, checked_weights, read_tensors
from maskwright.weights.torch.names import EFFICIENTNET_LITE_RULES, RESNET_RULES, Rules, Source, Tensors, load_tensors
from maskwright.weights.torch.state_dict import read_state_dict


@dataclass(frozen=True)
class Family:
    """Encoders with the same tensor names; ``classifier`` lists the modules that an encoder without top lacks."""

    title: str
    rules: Rules
    classifier: tuple[str, ...]


RESNET: Final = Family("torchvision's ResNet", RESNET_RULES, ("fc",))
EFFICIENTNET_LITE: Final = Family(
    "timm's EfficientNet-Lite", EFFICIENTNET_LITE_RULES, ("conv_head", "bn2", "classifier")
)

# Names of modules in efficientnet_pytorch by Luke Melas-Kyriazi, and in timm.
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_MODULES: Final[Mapping[bool, Mapping[str, str]]] = {  # by whether the block has an expansion
    False: {"depthwise_conv": "conv_dw", "project_conv": "conv_pw"},
    True: {"expand_conv": "conv_pw", "depthwise_conv": "conv_dw", "project_conv": "conv_pwl"},
}
_BLOCK_TENSOR: Final = re.compile(r"_blocks\.(\d{1,3})\._(expand_conv|depthwise_conv|project_conv|bn(\d))\.(\w+)")


def load_torch_encoder(network: keras.Model, file: TorchFile, *, argument: str = "file") -> None:
    """Load a checkpoint of torchvision, timm or efficientnet_pytorch into an encoder of the same depth.

    All tensors and all weights must match; otherwise, nothing is loaded. Tensors of the classifier are skipped if
    ``network`` has no classifier. Images must be preprocessed as the weights expect, see `get_preprocessing`.

    Args:
        network: Post-activation ResNet, such as `ResNet18V1`, or EfficientNet-Lite.
        file: Path of the checkpoint; see `read_tensors`.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        TensorMismatch: The names or shapes of the tensors differ from those of the network.
        NoCounterpart: ``network`` is neither a post-activation ResNet nor an EfficientNet-Lite.
        InputError: The file cannot be read; see `read_tensors`.
    """
    source = {"argument": argument, "given": fspath(file)}
    _load(network, read_tensors(file, argument=argument), source)


def load_published_torch_encoder(network: keras.Model, file: Path, *, argument: str = "file") -> None:
    """Load a published file, whose digest has been verified, as in `load_torch_encoder`; torch is not needed.

    Raises:
        TensorMismatch: The names or shapes of the tensors differ from those of the network.
        NoCounterpart: ``network`` is neither a post-activation ResNet nor an EfficientNet-Lite.
        UnreadableStateDict: The file is not a state dict.
        NoStateDict: A tensor has another type than float32.
    """
    source = {"argument": argument, "given": fspath(file)}
    _load(network, checked_weights(read_state_dict(file), source), source)


def _load(network: keras.Model, tensors: Tensors, source: Source) -> None:
    names = {layer.name for layer in network.layers}
    family = EFFICIENTNET_LITE if "conv_stem" in names else RESNET
    if family is EFFICIENTNET_LITE:
        tensors = with_timm_names(tensors, network)
    if not names.issuperset(family.classifier):
        tensors = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] not in family.classifier}
    load_tensors(network, tensors, family.rules, source=source, family=family.title)


def with_timm_names(tensors: Tensors, network: keras.Model) -> Tensors:
    """Return the tensors of an EfficientNet-Lite under the names of timm.

    In efficientnet_pytorch, the blocks of all stages are numbered consecutively, and the normalisation layers of a
    block from 0 or, without an expansion, from 1. Tensors with the names of timm are returned unchanged. All
    tensors are also returned unchanged if two of them would get the same name.

    Args:
        tensors: Tensors by name, with the names of timm or efficientnet_pytorch.
        network: EfficientNet-Lite, which determines the number of blocks of each stage.
    """
    blocks = [
        match.group(1).replace("_", ".")
        for layer in network.layers
        if (match := re.fullmatch(r"(blocks_\d_\d+)_conv_dw", layer.name))
    ]
    renamed = {_timm_name(name, tensors, blocks): tensor for name, tensor in tensors.items()}
    return renamed if len(renamed) == len(tensors) else tensors


def _timm_name(name: str, tensors: Tensors, blocks: list[str]) -> str:
    first, _, rest = name.partition(".")
    if first in _OTHER_NAMES:
        return f"{_OTHER_NAMES[first]}.{rest}"
    match = _BLOCK_TENSOR.fullmatch(name)
    if match is None or int(match[1]) >= len(blocks):
        return name
    number, module, norm, part = match.groups()
    has_expansion = f"_blocks.{number}._expand_conv.weight" in tensors
    module = _MODULES[has_expansion].get(module, module) if norm is None else f"bn{int(norm) + has_expansion}"
    return f"{blocks[int(number)]}.{module}.{part}"
