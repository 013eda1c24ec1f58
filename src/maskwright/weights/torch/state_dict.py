"""Read the state dict in a file of `torch.save` without torch, and without importing or calling anything it names.

A file of `torch.save` contains pickles, which are programs: `pickle.load` runs the functions that they name. Here, the
instructions are decoded by `pickletools`, and only those are interpreted that a dict of tensors consists of. The names
of the few allowed functions and storage types are compared as text; any other name or instruction is an error. A
damaged or hostile file is an error, too, and never takes more memory than a small multiple of its size.

Both formats of torch are read: a zip archive (since torch 1.6), and the older sequence of pickles followed by the
values of the storages. The pickles must have protocol 2, the default of `torch.save`.
"""

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, Final, TypeGuard, final
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError

MAX_BYTES: Final = 2**30  # no published file is larger
MAX_INSTRUCTIONS: Final = 2**18  # a network with 300 tensors has about 10 000
MAX_MEMBERS: Final = 2**16  # of an archive; a network with 300 tensors has about 300
MAX_AXES: Final = 8
MAX_EXPANSION: Final = 4  # tensors may share values, and therefore be larger than the file
MAX_SHOWN: Final = 80  # length of a text from the file in an error message
ARCHIVE_MAGIC: Final = b"PK\x03\x04"
MEMBER_MAGIC: Final = b"PK\x01\x02"  # start of each entry in the list of members at the end of an archive
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
    """Raised if a file contains something that a state dict does not contain."""


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

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class _View:
    """Tensor that consists of the values of a storage from ``offset`` on."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bytes of a copy."""
        return prod(self.shape) * np.dtype(self.storage.dtype).itemsize

    @property
    def is_within_storage(self) -> bool:
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        return self.size == 0 or last < self.storage.count


Views = Mapping[str, _View]
Storages = Mapping[str, bytes]


def read_state_dict(file: Path) -> dict[str, NDArray[np.generic]]:
    """Return the tensors of a state dict by name, in the layout of torch, with their own dtypes.

    Raises:
        UnreadableStateDict: The file is damaged, is larger than 1 GiB, or contains something other than a dict of
            dense tensors: floats of 16, 32 or 64 bits, or integers of 32 or 64 bits.
        OSError: The file cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        content = stream.read(min(size, MAX_BYTES) + 1)  # `read` reserves as many bytes as it is given
    try:
        return _tensors(content)
    except _Unsupported as error:
        raise UnreadableStateDict(file=file, found=str(error)) from error
    except Exception as error:  # a damaged file can raise any exception
        raise UnreadableStateDict(file=file, found="a damaged file") from error


def _tensors(content: bytes) -> dict[str, NDArray[np.generic]]:
    if len(content) > MAX_BYTES:
        raise _Unsupported(f"more than {MAX_BYTES} bytes")
    is_archive = content.startswith(ARCHIVE_MAGIC)
    views, storages = (_read_archive if is_archive else _read_legacy)(BytesIO(content))
    if sum(view.size for view in views.values()) > MAX_EXPANSION * len(content):
        raise _Unsupported("tensors that are larger than the file")
    return {name: _tensor(name, view, storages[view.storage.key]) for name, view in views.items()}


def _read_archive(stream: BytesIO) -> tuple[Views, Storages]:
    """Return the tensors described in ``data.pkl`` in a zip archive, and the bytes of their storages by key."""
    if stream.getvalue().count(MEMBER_MAGIC) > MAX_MEMBERS:  # `ZipFile` takes ten times the size of a list of members
        raise _Unsupported("an archive with too many members")
    with ZipFile(stream) as archive:
        members = archive.infolist()
        if any(member.compress_type != ZIP_STORED for member in members):
            raise _Unsupported("a compressed archive")
        if sum(member.file_size for member in members) > len(stream.getvalue()):
            raise _Unsupported("an archive whose members are larger than the file")
        names = [member.filename for member in members]
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _Unsupported(f"{len(roots)} members data.pkl")
        (root,) = roots
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise _Unsupported("another byte order")
        views = _views(_interpret(BytesIO(archive.read(f"{root}data.pkl"))))
        keys = {view.storage.key for view in views.values()}
        return views, {key: archive.read(f"{root}data/{key}") for key in keys}


def _read_legacy(stream: BytesIO) -> tuple[Views, Storages]:
    """Return the tensors described in a file of the older format, and the bytes of their storages by key."""
    if _interpret(stream) != LEGACY_MAGIC or _interpret(stream) != LEGACY_VERSION:
        raise _Unsupported("another format")
    machine = _interpret(stream)
    if machine["little_endian"] is not True:
        raise _Unsupported("another byte order")
    views, keys = _views(_interpret(stream)), _interpret(stream)
    storages = {view.storage.key: view.storage for view in views.values()}
    values = {}
    for key in keys:
        if not isinstance(key, str):  # hashing a tuple may take very long
            raise _Unsupported("a storage whose key is not a text")
        if int.from_bytes(stream.read(8), "little") != storages[key].count:
            raise _Unsupported("a storage of another length")
        values[key] = stream.read(storages[key].size)
    return views, values


def _views(content: object) -> Views:
    if not isinstance(content, dict):
        raise _Unsupported("something other than a dict")
    if not content:
        raise _Unsupported("nothing")
    for name, view in content.items():
        if not isinstance(view, _View):
            raise _Unsupported(f"the entry {_shown(name)}, which is not a tensor")
        if not view.is_within_storage:
            raise _Unsupported(f"the tensor {_shown(name)}, which is not within its storage")
    return content


def _tensor(name: str, view: _View, content: bytes) -> NDArray[np.generic]:
    if len(content) != view.storage.size:
        raise _Unsupported(f"the tensor {_shown(name)}, whose storage has another length")
    if view.size == 0:
        return np.zeros(view.shape, view.storage.dtype)
    values = np.frombuffer(content, view.storage.dtype)[view.offset :]
    strides = tuple(values.itemsize * stride for stride in view.strides)
    return np.lib.stride_tricks.as_strided(values, view.shape, strides, writeable=False).copy()


def _interpret(stream: BytesIO) -> Any:
    """Interpret one pickle, up to its end, and return its value."""
    machine = _Machine()
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if count > MAX_INSTRUCTIONS:
            raise _Unsupported("too many instructions")
        machine.execute(instruction.name, argument)
    return machine.stack.pop()


_CONSTANTS: Final[Mapping[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS: Final = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"})
_IGNORED: Final = frozenset({"PROTO", "STOP"})


@final
class _Machine:
    """Stack machine of the pickle instructions that a state dict consists of.

    Any other instruction raises `_Unsupported`, and a damaged sequence of instructions any exception.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Execute the instruction ``name``."""
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
                self._outer.append(stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE":
                items = self._pop_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed(items)))
            case "APPEND":
                item = stack.pop()
                _top(list, stack).append(item)
            case "APPENDS":
                items = self._pop_mark()
                _top(list, self.stack).extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(_top(dict, stack), [key, value])
            case "SETITEMS":
                items = self._pop_mark()
                _set_items(_top(dict, self.stack), items)
            case "BUILD":  # the attribute `_metadata` of a state dict, which is not needed
                stack.pop()
                _top(dict, stack)
            case "GLOBAL":
                stack.append(_Name(argument))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_result(function, arguments))
            case _:
                raise _Unsupported(f"the pickle instruction {name}")

    def _pop_mark(self) -> list[Any]:
        """Remove the topmost mark, and return the objects above it."""
        items, self.stack = self.stack, self._outer.pop()
        return items


def _top(kind: type, stack: list[Any]) -> Any:
    if type(stack[-1]) is not kind:
        raise _Unsupported("a damaged pickle")
    return stack[-1]


def _set_items(target: dict[str, Any], items: list[Any]) -> None:
    """Set items, given as a sequence of keys and values; a key must be a text, since hashing a tuple may take long."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise _Unsupported("a dict with keys other than texts")
        target[key] = value


def _storage(reference: object) -> _Storage:
    match reference:
        # The last element exists in the older format only; it describes a view of another storage.
        case ("storage", _Name(text=name), str(key), str(), count, *rest) if (
            name in _DTYPES and _is_size(count) and rest in ([], [None])
        ):
            return _Storage(key, _DTYPES[name], count)
    raise _Unsupported("a reference to something other than a storage of floats or integers")


def _result(function: object, arguments: object) -> Any:
    """Return the value of torch's function for a tensor, a parameter or an empty dict."""
    match function, arguments:
        case _Name(text="collections OrderedDict"), ():
            return {}
        case _Name(text="torch._utils _rebuild_tensor_v2"), (_Storage() as storage, offset, shape, strides, *_) if (
            _is_size(offset) and _are_sizes(shape) and _are_sizes(strides) and len(shape) == len(strides)
        ):
            return _View(storage, offset, shape, strides)
        case _Name(text="torch._utils _rebuild_parameter"), (_View() as view, *_):
            return view
    raise _Unsupported(f"a call of {_shown(function.text)}" if isinstance(function, _Name) else "a damaged pickle")


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_BYTES


def _are_sizes(values: object) -> TypeGuard[tuple[int, ...]]:
    return type(values) is tuple and len(values) <= MAX_AXES and all(map(_is_size, values))


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")
