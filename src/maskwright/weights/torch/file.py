"""Tensors out of torch's files, and torchvision's and timm's ResNets into ours; nothing in a file is ever run.

A ``.safetensors`` file holds arrays only. A ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file is a pickle, which torch
reads with ``weights_only=True``: it then makes tensors and plain containers and refuses everything else.
"""

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import keras
import numpy as np

from maskwright.errors import InputError, MissingPackage, missing_package
from maskwright.weights.torch.names import RESNET_RULES, Source, Tensors, fill

TorchFile = str | PathLike[str]
Read = Callable[[Path, Source], Tensors]

PICKLED: Final = (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES: Final = (".safetensors", *PICKLED)
SUFFIXES_IN_WORDS: Final = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
LARGEST: Final = 4 * 2**30  # bytes; several times the largest network here
PREFIXES: Final = ("module.", "model.", "_orig_mod.")  # DataParallel, Lightning, torch.compile
PIXEL_STATISTICS: Final = frozenset({"mean", "std"})  # smp's own Lightning example keeps them beside the network
WRAPPERS: Final = ("state_dict", "model_state_dict", "model")  # where training loops put the state dict


class MissingTorchFile(InputError):
    """An argument that names no file of torch's."""

    text = "{argument}={given!r}: expected the path of an existing " + SUFFIXES_IN_WORDS + " file."


class UnreadableTorchFile(InputError):
    """A file that its format's library, bound to making tensors only, does not read."""

    text = "{argument}={given!r} cannot be read as tensors: {found}."


class NoStateDict(InputError):
    """A file that holds something besides named tensors."""

    text = "{argument}={given!r}: expected tensors by name, found {found}. Save model.state_dict() by itself."


class TorchFileTooLarge(InputError):
    """A file that is, or unpacks to, more than any network here."""

    text = "{argument}={given!r} holds {found} bytes; expected at most {expected}."


def load_resnet_v1(network: keras.Model, file: TorchFile, *, argument: str = "file") -> None:
    """Fill a post-activation ResNet of ours from torchvision's or timm's checkpoint of the same depth.

    Every tensor of the file is used and every weight of ``network`` filled, or nothing is; the classifier ``fc`` is
    left out where ``network`` has none. Checkpoints expect RGB in [0, 1], less the mean 0.485, 0.456, 0.406 and
    divided by the standard deviation 0.229, 0.224, 0.225.

    Args:
        network: What `ResNet18V1` and its kin build.
        file: See `read_tensors`.
        argument: What the user calls ``file``, for the errors.

    Raises:
        TensorMismatch: the file's tensors are not the network's; the message names them and their shapes.
        NoCounterpart: ``network`` is no post-activation ResNet.
        InputError: the file cannot be read, see `read_tensors`.
    """
    tensors = read_tensors(file, argument=argument)
    if not any(layer.name == "fc" for layer in network.layers):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    source = {"argument": argument, "given": fspath(file)}
    fill(network, tensors, RESNET_RULES, source=source, family="torchvision's ResNet")


def read_tensors(file: TorchFile, *, argument: str = "file") -> Tensors:
    """The tensors of a state dict by name, in torch's layout; floats of every precision come as float32.

    A dict under ``state_dict``, ``model_state_dict`` or ``model`` is taken out of what surrounds it. The prefixes
    ``module.``, ``model.`` and ``_orig_mod.``, which wrappers give all names, are removed, and with them the pixel
    statistics ``mean`` and ``std`` that may stand beside. Counters of batches, ``num_batches_tracked``, are left out.

    Args:
        file: A ``.safetensors`` file, read by safetensors, or a ``.pth``, ``.pt``, ``.bin`` or, as Lightning writes it,
            ``.ckpt`` file, read by torch; at most 4 GiB.
        argument: What the user calls ``file``, for the errors.

    Raises:
        MissingTorchFile: ``file`` is no existing file with one of these suffixes.
        MissingPackage: the package that reads it is not installed, or too old to be safe.
        UnreadableTorchFile: it is damaged, or its pickle asks for more than tensors and plain containers.
        NoStateDict: it holds something besides dense tensors of floats by name.
        TorchFileTooLarge: it is, or unpacks to, more than 4 GiB.

    >>> from tempfile import TemporaryDirectory
    >>> from safetensors.numpy import save_file
    >>> with TemporaryDirectory() as folder:
    ...     save_file({"module.a": np.ones(2, "float16")}, f"{folder}/a.safetensors")
    ...     read_tensors(f"{folder}/a.safetensors")
    {'a': array([1., 1.], dtype=float32)}
    """
    path = Path(file) if isinstance(file, str | PathLike) else None
    source = {"argument": argument, "given": fspath(path) if path else file}
    if path is None or path.suffix not in READERS or not path.is_file():
        raise MissingTorchFile(**source)
    _check_size(path.stat().st_size, source)
    tensors = _without_prefixes(READERS[path.suffix](path, source))
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for name, tensor in kept.items():
        if tensor.dtype != np.float32:
            raise NoStateDict(**source, found=f"{name!r}, of {tensor.dtype}")
    return kept


def _read_safetensors(path: Path, source: Source) -> Tensors:
    try:
        import ml_dtypes  # noqa: F401  with it NumPy knows bfloat16
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise _missing_reader("safetensors", source, error) from error
    try:
        with safe_open(path, framework="numpy") as stored:
            return {name: _as_array(stored.get_tensor(name)) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise UnreadableTorchFile(**source, found=_first_line(error)) from error


def _read_pickle(path: Path, source: Source) -> Tensors:
    try:
        import torch
    except ImportError as error:
        raise _missing_reader("torch>=2.6", source, error) from error
    if torch.__version__ < (2, 6):  # a file could then run code in spite of weights_only=True, see CVE-2025-32434
        raise _missing_reader("torch>=2.6", source, f"installed: {torch.__version__}")
    _check_archive(path, source)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails anywhere, with anything
        raise UnreadableTorchFile(**source, found=_first_line(error)) from error
    tensors = _unwrapped(held, source)
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise NoStateDict(**source, found=f"{name!r}, a {type(tensor).__name__} that is no dense tensor")
    # A view may claim more than its file holds, so what it would unpack to is asked before it is.
    _check_size(sum(4 * tensor.numel() for tensor in tensors.values()), source)
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy() for name, tensor in tensors.items()
    }


READERS: Final[Mapping[str, Read]] = {
    ".safetensors": _read_safetensors,
    **dict.fromkeys(PICKLED, _read_pickle),
}


def _missing_reader(package: str, source: Source, reason: object) -> MissingPackage:
    return missing_package("{argument}={given!r}".format(**source), package, install=package, reason=reason)


def _check_size(size: int, source: Source) -> None:
    if size > LARGEST:
        raise TorchFileTooLarge(**source, found=size, expected=LARGEST)


def _check_archive(path: Path, source: Source) -> None:
    """Refuse a pickle's archive that is packed, which torch never does, or whose entries, which may share bytes of the
    file, add up to too much: a small file could unpack to anything.
    """
    if is_zipfile(path):
        try:
            with ZipFile(path) as archive:
                members = archive.infolist()
        except (BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise UnreadableTorchFile(**source, found=_first_line(error)) from error
        if any(member.compress_type != ZIP_STORED for member in members):
            raise UnreadableTorchFile(**source, found="its archive is compressed")
        _check_size(sum(member.file_size for member in members), source)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _unwrapped(held: object, source: Source) -> Mapping[str, Any]:
    for wrapper in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
            break
    if not isinstance(held, Mapping) or not held or not all(isinstance(name, str) for name in held):
        raise NoStateDict(**source, found=f"a {type(held).__name__}" if held else "nothing")
    return held


def _without_prefixes(tensors: Tensors) -> Tensors:
    for prefix in PREFIXES:
        rest = {name: tensor for name, tensor in tensors.items() if name not in PIXEL_STATISTICS}
        if rest and all(name.startswith(prefix) for name in rest):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in rest.items()})
    return tensors


def _as_array(tensor: np.ndarray) -> np.ndarray:
    """``tensor`` in float32 where it holds floats; NumPy calls the kind of those that it only knows from others "V"."""
    return tensor.astype(np.float32) if tensor.dtype.kind in "fV" else tensor
