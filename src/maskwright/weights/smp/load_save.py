"""Networks of segmentation_models_pytorch into this package and back, their outputs equal.

They expect RGB in [0, 1], less the mean 0.485, 0.456, 0.406 and divided by the standard deviation 0.229, 0.224, 0.225,
and sides that are multiples of 32 pixels.
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
from maskwright.weights.torch.names import Source, Tensors, fill, module_of, tensors_of

FAMILY: Final = "segmentation_models_pytorch's {}"
ACTIVATIONS: Final = {"linear": None, "sigmoid": "sigmoid", "softmax": "softmax2d"}  # by Keras' names -> smp's
HUB_WEIGHTS, HUB_CONFIG = "model.safetensors", "config.json"
MOST_CONFIG: Final = 2**20  # characters


class NotForSmp(InputError):
    """A network that would compute something else in smp."""

    text = "the network {network} does not fit {family}: its layer {layer} has {found}, there it has {expected}."


def load_smp(
    file: TorchFile, *, architecture: str | None = None, activation: str | None = None, argument: str = "file"
) -> keras.Model:
    """The network of an smp checkpoint, built and filled: Unet, UnetPlusPlus, FPN, Linknet or DeepLabV3Plus.

    Its encoder is a ResNet of 18, 34, 50, 101 or 152 layers; encoder, classes, input channels and widths are told by
    the tensors. It takes images (n, height, width, channels) normalised as above and returns
    (n, height, width, classes) in float32.

    What no tensor tells (interpolation, atrous rates, output stride) is taken to be smp's default. Where smp's
    ``config.json`` stands beside ``model.safetensors``, it is read, and other values in it are refused.

    Args:
        file: A state dict, see `read_tensors`; or a folder that smp's ``save_pretrained`` wrote.
        architecture: Name of smp's class; None finds it.
        activation: ``"sigmoid"``, ``"softmax"``, or ``"linear"`` for logits. None takes that of ``config.json``, and
            where there is none ``"sigmoid"`` for one class and ``"softmax"`` for several.
        argument: What the user calls ``file``, for the errors.

    Raises:
        UnknownChoice: ``architecture`` or ``activation`` is none of these.
        UnknownSmpNetwork: the file holds no network that can be built here.
        TensorMismatch: tensors are missing, left over, or of another shape; the message names them.
        InputError: the file cannot be read, see `read_tensors`.
    """
    if activation is not None:
        one_of("activation", activation, ACTIVATIONS)
    path = Path(file, HUB_WEIGHTS) if isinstance(file, str | PathLike) and Path(file).is_dir() else file
    tensors = read_tensors(path, argument=argument)
    source = {"argument": argument, "given": fspath(path)}
    told = identify({name: tensor.shape for name, tensor in tensors.items()}, architecture=architecture, source=source)
    config = _config_beside(Path(path), told, source=source)
    network = told.build(activation or _activation_of(config) or ("sigmoid" if told.classes == 1 else "softmax"))
    used = {name: tensor for name, tensor in tensors.items() if told.idle.get(name) != tensor.shape}
    fill(network, used, RULES[told.architecture], source=source, family=FAMILY.format(told.architecture))
    return network


def save_smp(network: keras.Model, file: str | PathLike[str]) -> None:
    """Write ``network`` as a state dict that smp's class of the same name loads strictly and answers equally with.

    The class is to be built with ``activation=None`` for logits, or with the activation of ``network``. Dropout is not
    kept. A batch normalisation's epsilon that is not torch's is made up for in the stored variance.

    Args:
        network: A network `load_smp` can build: of one of its architectures on a ``resnet*_v1`` encoder.
        file: The ``.safetensors`` file to write; an existing one is replaced.

    Raises:
        NoCounterpart: a layer with weights that smp does not have.
        NotForSmp: a layer that smp has in another form.
        UnknownSmpNetwork: its encoder or one of its sizes is none of smp's.
        EpsilonTooSmall: a variance leaves no room for the difference between two epsilons.
        WrongArgument: ``network`` is no functional model, or ``file`` does not end in ``.safetensors``.
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
    """Write ``network`` as a folder that ``smp.from_pretrained`` loads, its activation included.

    Arguments and errors are those of `save_smp`; ``folder`` is made where it is missing.
    """
    tensors, config = _to_smp(network)
    _write(tensors, Path(folder, HUB_WEIGHTS))
    with atomic_path(Path(folder, HUB_CONFIG)) as temporary:
        temporary.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _to_smp(network: keras.Model) -> tuple[Tensors, Mapping[str, Any]]:
    """The tensors of ``network`` by smp's names, and the arguments of smp's class that make it."""
    if not hasattr(network, "operations"):
        raise wrong_argument("network", network, expected="a functional Keras model")
    architecture = _nearest(network)
    family = FAMILY.format(architecture)
    tensors = tensors_of(network, RULES[architecture], family=family)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    told = identify(shapes, architecture=architecture, source={"argument": "network", "given": network.name})
    last = network.operations[-1]
    activation = next(
        (name for name in ACTIVATIONS if keras.activations.get(name) is getattr(last, "activation", None)), None
    )
    if activation is None:
        ends = {"found": "another activation", "expected": " or ".join(ACTIVATIONS)}
        raise NotForSmp(network=network.name, family=family, layer=last.name, **ends)
    if (difference := first_difference(network, told.build(activation))) is not None:
        raise NotForSmp(network=network.name, family=family, **vars(difference))
    normalised = (name.removesuffix("running_var") for name in tensors if name.endswith("running_var"))
    counters = {f"{module}num_batches_tracked": np.zeros((), np.int64) for module in normalised}
    idle = {name: np.zeros(shape, np.float32) for name, shape in told.idle.items()}
    return {**tensors, **idle, **counters}, {**told.config, "activation": ACTIVATIONS[activation]}


def _nearest(network: keras.Model) -> str:
    """The architecture of smp's whose rules know most of the layers with weights."""
    names = [layer.name for layer in network.layers if layer.weights]
    return max(RULES, key=lambda architecture: sum(module_of(name, RULES[architecture]) is not None for name in names))


def _write(tensors: Tensors, path: Path) -> None:
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise missing_package(f"file={fspath(path)!r}", "safetensors", install="safetensors", reason=error) from error
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})


def _config_beside(path: Path, told: SmpNetwork, *, source: Source) -> Mapping[str, Any]:
    """What ``config.json`` says of the network ``told`` by the tensors at ``path``; nothing where there is none."""
    beside = path.with_name(HUB_CONFIG)
    if path.name != HUB_WEIGHTS or not beside.is_file():
        return {}
    with beside.open(encoding="utf-8", errors="replace") as file:
        text = file.read(MOST_CONFIG)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, Mapping) or config.get("_model_class") != told.architecture:
        raise UnknownSmpNetwork(**source, found=f"{HUB_CONFIG} beside it describes no {told.architecture}")
    check_options(told.architecture, config, source=source)
    return config


def _activation_of(config: Mapping[str, Any]) -> str | None:
    """Keras' name of the activation that smp's ``config`` sets, None where it sets none."""
    by_smp_name = {"softmax": "softmax", **{theirs: ours for ours, theirs in ACTIVATIONS.items() if theirs}}
    return by_smp_name.get(config.get("activation") or "")
