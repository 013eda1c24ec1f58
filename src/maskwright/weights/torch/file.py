"""Read tensors from PyTorch files without running code.

A ``.safetensors`` file contains only arrays. A ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file is a pickle; it is read by
torch with ``weights_only=True``, which allows only tensors and plain containers.
"""

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import numpy as np

from maskwright.errors import InputError, MissingPackage, missing_package
from maskwright.weights.torch.names import Source, Tensors

TorchFile = str | PathLike[str]
Read = Callable[[Path, Source], Tensors]

PICKLED: Final = (".pth", ".pt", ".bin", ".ckpt")
SUFFIXES: Final = (".safetensors", *PICKLED)
SUFFIXES_IN_WORDS: Final = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
MAX_BYTES: Final = 4 * 2**30  # several times the size of the largest supported network
PREFIXES: Final = ("module.", "model.", "_orig_mod.")  # prefixes added by DataParallel, Lightning and torch.compile
PIXEL_STATISTICS: Final = frozenset({"mean", "std"})  # stored with the network in the Lightning example of smp
WRAPPERS: Final = ("state_dict", "model_state_dict", "model")  # keys under which state dicts are often stored


class MissingTorchFile(InputError):
    """An argument that is not the path of a PyTorch file."""

    text = "{argument}={given!r}: expected the path of an existing " + SUFFIXES_IN_WORDS + " file."


class UnreadableTorchFile(InputError):
    """A file that cannot be read as tensors."""

    text = "{argument}={given!r}: cannot be read as tensors: {found}."


class NoStateDict(InputError):
    """A file with content other than named tensors."""

    text = "{argument}={given!r}: found {found}; expected named tensors. Save model.state_dict() alone."


class TorchFileTooLarge(InputError):
    """A file that is larger, or has larger unpacked content, than any supported network."""

    text = "{argument}={given!r}: found {found} bytes; expected at most {expected}."


def read_tensors(file: TorchFile, *, argument: str = "file") -> Tensors:
    """Read the tensors of a state dict as float32 arrays by name, in the layout of PyTorch.

    A state dict may be stored under ``state_dict``, ``model_state_dict`` or ``model``. The prefixes ``module.``,
    ``model.`` and ``_orig_mod.`` of wrappers are removed, as are the pixel statistics ``mean`` and ``std`` stored next
    to them. The batch counters ``num_batches_tracked`` are omitted.

    Args:
        file: Path of a file of at most 4 GiB: a ``.safetensors`` file, which is read by safetensors, or a ``.pth``,
            ``.pt``, ``.bin`` or (from Lightning) ``.ckpt`` file, which is read by torch.
        argument: Name of the argument ``file`` in error messages.

    Raises:
        MissingTorchFile: ``file`` is not an existing file with one of these suffixes.
        MissingPackage: The package that reads the file is not installed, or its version is too old to be safe.
        UnreadableTorchFile: The file is damaged, or its pickle contains more than tensors and plain containers.
        NoStateDict: The file contains something other than named dense float tensors.
        TorchFileTooLarge: The file or its unpacked content is larger than 4 GiB.

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
    return checked_weights(tensors, source)


def checked_weights(tensors: Tensors, source: Source) -> Tensors:
    """Return ``tensors`` without the batch counters ``num_batches_tracked``; all others must be of type float32.

    Raises:
        NoStateDict: A tensor has another type.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for name, tensor in weights.items():
        if tensor.dtype != np.float32:
            raise NoStateDict(**source, found=f"{name!r}, of {tensor.dtype}")
    return weights


def _read_safetensors(path: Path, source: Source) -> Tensors:
    try:
        import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise _missing_reader("safetensors", source, error) from error
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _as_float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise UnreadableTorchFile(**source, found=_first_line(error)) from error


def _read_pickle(path: Path, source: Source) -> Tensors:
    try:
        import torch
    except ImportError as error:
        raise _missing_reader("torch>=2.6", source, error) from error
    if torch.__version__ < (2, 6):  # weights_only=True could run code, see CVE-2025-32434
        raise _missing_reader("torch>=2.6", source, f"installed: {torch.__version__}")
    _check_archive(path, source)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise any exception
        raise UnreadableTorchFile(**source, found=_first_line(error)) from error
    tensors = _state_dict(content, source)
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise NoStateDict(**source, found=f"{name!r}, a {type(tensor).__name__} that is not a dense tensor")
    # A view may be larger than its storage, so the unpacked size is checked before the conversion.
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
    if size > MAX_BYTES:
        raise TorchFileTooLarge(**source, found=size, expected=MAX_BYTES)


def _check_archive(path: Path, source: Source) -> None:
    """Check that the archive of a pickle is uncompressed and that its entries are not too large in total.

    Archives written by torch are never compressed, and entries may share bytes of the file, so a small file could
    unpack to any size.
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


def _state_dict(content: object, source: Source) -> Mapping[str, Any]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(name, str) for name in content):
        raise NoStateDict(**source, found=f"a {type(content).__name__}" if content else "nothing")
    return content


def _without_prefixes(tensors: Tensors) -> Tensors:
    for prefix in PREFIXES:
        others = {name: tensor for name, tensor in tensors.items() if name not in PIXEL_STATISTICS}
        if others and all(name.startswith(prefix) for name in others):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in others.items()})
    return tensors


def _as_float32(tensor: np.ndarray) -> np.ndarray:
    """Convert float tensors to float32; registered float types such as bfloat16 have the NumPy kind "V"."""
    return tensor.astype(np.float32) if tensor.dtype.kind in "fV" else tensor
