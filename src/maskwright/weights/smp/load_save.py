"""Load and save networks of segmentation_models_pytorch (smp) whose outputs are equal in both packages.

The networks expect RGB images in [0, 1] from which the mean (0.485, 0.456, 0.406) is subtracted and which are then
divided by the standard deviation (0.229, 0.224, 0.225). Their sides must be multiples of 32 pixels.
"""

import json
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from maskwright.errors import InputError, missing_package, one_of, wrong_argument
from maskwright.images.write import atomic_path
from maskwright.weights.smp.identify import SmpNetwork, UnknownSmpNetwork, check_options, identify
from maskwright.weights.smp.names import RULES
from maskwright.weights.smp.same_graph import first_difference
from maskwright.weights.torch.file import TorchFile, read_tensors
from maskwright.weights.torch.names import Source, Tensors, load_tensors, module_of, tensors_of

FAMILY: Final = "segmentation_models_pytorch's {}"
ACTIVATIONS: Final = {"linear": None, "sigmoid": "sigmoid", "softmax": "softmax2d"}  # name in Keras -> name in smp
HUB_WEIGHTS, HUB_CONFIG = "model.safetensors", "config.json"
MAX_CONFIG_CHARACTERS: Final = 2**20


class NotForSmp(InputError):
    """A network whose counterpart in smp computes a different function."""

    text = "network {network}: the layer {layer} has {found}; expected {expected} as in {family}."


def load_smp(
    file: TorchFile, *, architecture: str | None = None, activation: str | None = None, argument: str = "file"
) -> keras.Model:
    """Load an smp checkpoint of a Unet, UnetPlusPlus, FPN, Linknet or DeepLabV3Plus on a ResNet encoder.

    The depth of the encoder (18, 34, 50, 101 or 152 layers) and the numbers of classes, input channels and filters are
    inferred from the tensors. The input of the network consists of images (n, height, width, channels), normalised as
    described in this module, and its output is (n, height, width, classes) in float32.

    The interpolation, the atrous rates and the output stride are not stored in tensors, so smp's defaults are assumed.
    If smp's ``config.json`` is next to ``model.safetensors``, it is read, and unsupported values raise an error.

    Args:
        file: Path of a state dict, see `read_tensors`, or of a folder written by smp's ``save_pretrained``.
        architecture: Name of the network class in smp; if None, it is inferred.
        activation: Activation of the output: ``"sigmoid"``, ``"softmax"``, or ``"linear"`` for logits. By default, the
            activation in ``config.json`` is used, or else ``"sigmoid"`` for one class and ``"softmax"`` for several.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        UnknownChoice: ``architecture`` or ``activation`` is unknown.
        UnknownSmpNetwork: The file does not contain a supported network.
        TensorMismatch: A tensor is missing, is unexpected or has another shape.
        InputError: The file cannot be read; see `read_tensors`.
    """
    if activation is not None:
        one_of("activation", activation, ACTIVATIONS)
    path = Path(file, HUB_WEIGHTS) if isinstance(file, str | PathLike) and Path(file).is_dir() else file
    tensors = read_tensors(path, argument=argument)
    source = {"argument": argument, "given": fspath(path)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    description = identify(shapes, architecture=architecture, source=source)
    config = _read_config(Path(path), description, source=source)
    default = "sigmoid" if description.classes == 1 else "softmax"
    network = description.build(activation or _activation_of(config) or default)
    unused = description.unused_tensors
    used = {name: tensor for name, tensor in tensors.items() if unused.get(name) != tensor.shape}
    name = description.architecture
    load_tensors(network, used, RULES[name], source=source, family=FAMILY.format(name))
    return network


def save_smp(network: keras.Model, file: str | PathLike[str]) -> None:
    """Save ``network`` as a state dict that smp's class of the same name loads with ``strict=True``.

    In smp, build the class with ``activation=None`` for logits, or with the activation of ``network``. Dropout is not
    stored. If the epsilon of batch normalisation differs, the difference is compensated in the stored variance.

    Args:
        network: Network with an architecture that `load_smp` supports, on a ``resnet*_v1`` encoder.
        file: Path of the ``.safetensors`` file to write; an existing file is replaced.

    Raises:
        NoCounterpart: A layer of the network has no counterpart in smp.
        NotForSmp: A layer computes a different function than its counterpart in smp.
        UnknownSmpNetwork: The encoder, or a layer size of the encoder, does not exist in smp.
        EpsilonTooSmall: The epsilon of a batch normalisation is so small that the variance cannot be adapted to the
            epsilon of smp.
        WrongArgument: ``network`` is not a functional model, or ``file`` does not end in ``.safetensors``.
        MissingPackage: safetensors is not installed.

    >>> from tempfile import TemporaryDirectory
    >>> from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
    >>> from maskwright.networks.unet import build_unet
    >>> network = build_unet(ResNet18V1(), 2, RESNET_V1_SKIPS, activation="softmax")
    >>> with TemporaryDirectory() as folder:
    ...     save_smp(network, f"{folder}/unet.safetensors")
    ...     load_smp(f"{folder}/unet.safetensors").output_shape
    (None, None, None, 2)
    """
    path = Path(file)
    if path.suffix != ".safetensors":
        raise wrong_argument("file", fspath(file), expected="a path that ends in .safetensors")
    tensors, _ = _to_smp(network)
    _write(tensors, path)


def save_smp_folder(network: keras.Model, folder: str | PathLike[str]) -> None:
    """Save ``network`` and its activation as a folder for ``smp.from_pretrained``.

    For the arguments and errors, see `save_smp`. ``folder`` is created if it is missing.
    """
    tensors, config = _to_smp(network)
    _write(tensors, Path(folder, HUB_WEIGHTS))
    with atomic_path(Path(folder, HUB_CONFIG)) as temporary:
        temporary.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _to_smp(network: keras.Model) -> tuple[Tensors, Mapping[str, Any]]:
    """Return the tensors of ``network``, by their names in smp, and the arguments of smp's class."""
    if not hasattr(network, "operations"):
        raise wrong_argument("network", network, expected="a functional Keras model")
    architecture = _best_match(network)
    family = FAMILY.format(architecture)
    tensors = tensors_of(network, RULES[architecture], family=family)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    description = identify(shapes, architecture=architecture, source={"argument": "network", "given": network.name})
    last = network.operations[-1]
    activation = next(
        (name for name in ACTIVATIONS if keras.activations.get(name) is getattr(last, "activation", None)), None
    )
    if activation is None:
        expected = f"the activation {' or '.join(ACTIVATIONS)}"
        raise NotForSmp(
            network=network.name, family=family, layer=last.name, found="another activation", expected=expected
        )
    if (difference := first_difference(network, description.build(activation))) is not None:
        raise NotForSmp(network=network.name, family=family, **vars(difference))
    normalisations = (name.removesuffix("running_var") for name in tensors if name.endswith("running_var"))
    counters = {f"{module}num_batches_tracked": np.zeros((), np.int64) for module in normalisations}
    unused = {name: np.zeros(shape, np.float32) for name, shape in description.unused_tensors.items()}
    return {**tensors, **unused, **counters}, {**description.config, "activation": ACTIVATIONS[activation]}


def _best_match(network: keras.Model) -> str:
    """Return the architecture of smp whose rules match the largest number of layers with weights."""
    names = [layer.name for layer in network.layers if layer.weights]
    return max(RULES, key=lambda architecture: sum(module_of(name, RULES[architecture]) is not None for name in names))


def _write(tensors: Tensors, path: Path) -> None:
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise missing_package(f"file={fspath(path)!r}", "safetensors", install="safetensors", reason=error) from error
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})


def _read_config(path: Path, description: SmpNetwork, *, source: Source) -> Mapping[str, Any]:
    """Read and check the ``config.json`` next to the weights at ``path``; return an empty mapping if there is none."""
    config_file = path.with_name(HUB_CONFIG)
    if path.name != HUB_WEIGHTS or not config_file.is_file():
        return {}
    with config_file.open(encoding="utf-8", errors="replace") as file:
        text = file.read(MAX_CONFIG_CHARACTERS)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, Mapping) or config.get("_model_class") != description.architecture:
        raise UnknownSmpNetwork(**source, found=f"{HUB_CONFIG} does not describe a {description.architecture}")
    check_options(description.architecture, config, source=source)
    return config


def _activation_of(config: Mapping[str, Any]) -> str | None:
    """Return the Keras name of the activation in smp's ``config``, or None if there is none."""
    by_smp_name = {"softmax": "softmax", **{theirs: ours for ours, theirs in ACTIVATIONS.items() if theirs}}
    return by_smp_name.get(config.get("activation") or "")
