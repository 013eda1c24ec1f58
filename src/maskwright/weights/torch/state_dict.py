"""Read the state dict in a file of `torch.save` without torch, and without importing or calling anything it names.

A file of `torch.save` contains pickles, which are programs: `pickle.load` runs the functions that they name. Here, the
instructions are decoded by `pickletools`, and only those are interpreted that a dict of tensors consists of. The names
of the few allowed functions and storage types are compared as text; any other name or instruction is an error.

Both formats of torch are read: a zip archive (since torch 1.6), and the older sequence of pickles followed by the
values of the storages.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, Final, final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

MAX_BYTES: Final = 2**30  # no published file is larger
MAX_INSTRUCTIONS: Final = 2**20  # a network with 300 tensors has about 10 000
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C  # first number in a file of the older format
LEGACY_VERSION: Final = 1001

_DTYPES: Final[Mapping[str, str]] = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
}


class UnreadableStateDict(InputError):
    """A file that is not a state dict written by torch, or that contains more than named tensors."""

    text = "{file}: found {found}; expected a state dict, as written by torch.save(model.state_dict(), file)."


class _Unsupported(Exception):
    """Raised if a pickle contains something that a state dict does not contain."""


@dataclass(frozen=True)
class _Name:
    """Name of a function or type in a pickle, which is never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """Reference to a one-dimensional array of ``count`` values."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    """Tensor that consists of the values of a storage from ``offset`` on."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(file: Path) -> dict[str, NDArray[np.generic]]:
    """Return the tensors of a state dict by name, in the layout of torch, with their own dtypes.

    Raises:
        UnreadableStateDict: The file is damaged, is larger than 1 GiB, or contains something other than a dict of
            dense tensors of 16, 32 or 64 bits.
        OSError: The file cannot be read.
    """
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise _Unsupported(f"{size} bytes")
        content, storage_bytes = _read_archive(file) if is_zipfile(file) else _read_legacy(file)
        if not isinstance(content, dict) or not content:
            raise _Unsupported(f"a {type(content).__name__}" if content else "nothing")
        if sum(8 * prod(view.shape) for view in content.values() if isinstance(view, _View)) > 2 * MAX_BYTES:
            raise _Unsupported("tensors that are larger than the file")
        return {name: _tensor(name, view, storage_bytes) for name, view in content.items()}
    except (_Unsupported, ValueError, LookupError, BadZipFile, NotImplementedError) as error:
        found = f"{error}" if isinstance(error, _Unsupported) else f"a damaged file ({error or type(error).__name__})"
        raise UnreadableStateDict(file=file, found=found) from error


def _read_archive(file: Path) -> tuple[Any, Callable[[str], bytes]]:
    """Return the content of ``data.pkl`` in a zip archive, and a function that returns the bytes of a storage."""
    with ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(member.compress_type != ZIP_STORED for member in members.values()):
            raise _Unsupported("a compressed archive")
        if sum(member.file_size for member in members.values()) > MAX_BYTES:
            raise _Unsupported("an archive whose members are larger than the file")
        roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _Unsupported(f"{len(roots)} members data.pkl")
        values = {name: archive.read(name) for name in members if name.startswith(f"{roots[0]}data/")}
        return _interpret(BytesIO(archive.read(f"{roots[0]}data.pkl"))), lambda key: values[f"{roots[0]}data/{key}"]


def _read_legacy(file: Path) -> tuple[Any, Callable[[str], bytes]]:
    """Return the content of a file of the older format, and a function that returns the bytes of a storage."""
    stream = BytesIO(file.read_bytes())
    if _interpret(stream) != LEGACY_MAGIC or _interpret(stream) != LEGACY_VERSION:
        raise _Unsupported("another format")
    _interpret(stream)  # byte order and sizes of C types on the machine that wrote the file
    content, keys = _interpret(stream), _interpret(stream)
    storages = {view.storage.key: view.storage for view in content.values()} if isinstance(content, dict) else {}
    values = {}
    for key in keys:
        size = np.dtype(storages[key].dtype).itemsize * storages[key].count
        if int.from_bytes(stream.read(8), "little") != storages[key].count:
            raise _Unsupported(f"a storage {key} of another length")
        values[key] = stream.read(size)
    return content, values.__getitem__


def _tensor(name: object, view: object, storage_bytes: Callable[[str], bytes]) -> NDArray[np.generic]:
    if not isinstance(name, str) or not isinstance(view, _View):
        raise _Unsupported(f"the entry {name!r}, which is not a tensor")
    values = np.frombuffer(storage_bytes(view.storage.key), view.storage.dtype)
    last = view.offset + sum((side - 1) * stride for side, stride in zip(view.shape, view.strides, strict=True))
    are_valid = all(side >= 0 and stride >= 0 for side, stride in zip(view.shape, view.strides, strict=True))
    if len(values) != view.storage.count or view.offset < 0 or not are_valid or last >= max(1, len(values)):
        raise _Unsupported(f"the tensor {name!r}, which is not within its storage")
    if not prod(view.shape):
        return np.zeros(view.shape, values.dtype)
    byte_strides = tuple(values.itemsize * stride for stride in view.strides)
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, byte_strides, writeable=False).copy()


def _interpret(stream: BytesIO) -> Any:
    """Interpret one pickle, up to its end, and return its value."""
    machine = _Machine()
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if count > MAX_INSTRUCTIONS:
            raise _Unsupported("too many instructions")
        machine.execute(instruction.name, argument)
    return machine.stack[-1]


_CONSTANTS: Final[Mapping[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS: Final = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"})
_TUPLE_LENGTHS: Final[Mapping[str, int]] = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED: Final = frozenset({"PROTO", "FRAME", "STOP"})


@final
class _Machine:
    """Stack machine of the pickle instructions that a state dict consists of."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Execute the instruction ``name``; instructions that a state dict does not contain raise `_Unsupported`."""
        stack = self.stack
        match name:
            case _ if name in _IGNORED:
                pass
            case _ if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case _ if name in _LITERALS:
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "MARK":
                self._marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case _ if name in _TUPLE_LENGTHS:
                stack.append(tuple(self._pop(_TUPLE_LENGTHS[name])))
            case "APPEND":
                (item,) = self._pop(1)
                self._top(list).append(item)
            case "APPENDS":
                items = self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM":
                key, value = self._pop(2)
                self._top(dict)[key] = value
            case "SETITEMS":
                items = self._pop_to_mark()
                self._top(dict).update(zip(items[::2], items[1::2], strict=True))
            case "BUILD":  # the attribute `_metadata` of a state dict, which is not needed
                self._pop(1)
                self._top(dict)
            case "GLOBAL":
                stack.append(_Name(argument))
            case "BINPERSID":
                stack.append(_storage(*self._pop(1)))
            case "REDUCE":
                function, arguments = self._pop(2)
                stack.append(_result(function, arguments))
            case _:
                raise _Unsupported(f"the pickle instruction {name}")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise _Unsupported("a damaged pickle")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self._marks.pop()) if self.stack[self._marks[-1] :] else self._drop_mark()

    def _drop_mark(self) -> list[Any]:
        self._marks.pop()
        return []

    def _top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise _Unsupported("a damaged pickle")
        return self.stack[-1]


def _storage(reference: object) -> _Storage:
    match reference:
        case ("storage", _Name(text=name), str(key), str(), int(count), *_) if name in _DTYPES and count >= 0:
            return _Storage(key, _DTYPES[name], count)
    raise _Unsupported(f"the reference {reference!r}, which is not a storage of floats or integers")


def _result(function: object, arguments: object) -> Any:
    """Return what torch's function would return for a tensor, a parameter or an empty dict."""
    match function, arguments:
        case _Name(text="collections OrderedDict"), ():
            return {}
        case _Name(text="torch._utils _rebuild_tensor_v2"), (_Storage() as storage, int(offset), shape, strides, *_):
            return _View(storage, offset, _integers(shape), _integers(strides))
        case _Name(text="torch._utils _rebuild_parameter"), (_View() as view, *_):
            return view
    raise _Unsupported(f"a call of {function.text!r}" if isinstance(function, _Name) else "a damaged pickle")


def _integers(values: object) -> tuple[int, ...]:
    if isinstance(values, tuple) and all(type(value) is int for value in values):
        return values
    raise _Unsupported("a tensor with a damaged shape")
