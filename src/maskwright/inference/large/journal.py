"""What a result is made of and how far it has come: a claim beside the parts, and a record beside the result."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskwright.errors import InputError
from maskwright.images.write import write_text
from maskwright.inference.large.blocks import Layout
from maskwright.inference.large.encoding import Output
from maskwright.inference.large.parts import SUFFIX
from maskwright.inference.large.window import Failure

_CLAIM: Final = "job.json"
_TEMPORARY: Final = "." + "[0-9a-f]" * 32 + "*"  # what `atomic_path` leaves behind when it is killed


class OtherJob(InputError):
    """Parts, or a result, of another network, image or setting than those asked for."""

    text = "{file}: was made with {found}, and {expected} is asked for; name another file, or add --overwrite."


class UnknownResult(InputError):
    """A file in the result's place that this command did not write."""

    text = "{file}: is there already, and not of this command; name another file, or add --overwrite to replace it."


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Key(_Record):
    """All that decides a result."""

    format: Literal[1] = 1
    engine: str
    """Digest of the network's weights."""
    bundle: str
    """Digest of the bundle."""
    image: str
    """The image's path, and the state of its file."""
    output: Output
    margin: int | None
    """As asked for; None where it is measured."""

    def differences(self, other: "Key") -> tuple[str, str]:
        """What differs, here and there, in words."""
        ours, theirs = self.model_dump(), other.model_dump()
        differing = [name for name in ours if ours[name] != theirs[name]]
        here, there = (", ".join(f"{name} {of[name]}" for name in differing) for of in (ours, theirs))
        return here, there


class Claim(_Record):
    """The ``job.json`` of a folder of parts."""

    key: Key
    layout: Layout


class Finished(_Record):
    """The JSON file beside a result."""

    key: Key
    layout: Layout
    nodata: float | None
    """The value of pixels that are not known; None for NaN."""
    seam_share: float | None
    """Of the pixels along blocks' inner borders, the share whose class a wider margin changed; None for one block."""
    seam_pixels: int
    """How many were predicted again."""
    failures: tuple[Failure, ...] = Field(description="Parts of the image that could not be read.")


Kind = TypeVar("Kind", bound=_Record)


class Journal:
    """The files beside a result: ``OUT.parts/`` while it is made, ``OUT.json`` from then on."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.parts = out.with_name(out.name + ".parts")
        self._finished = out.with_name(out.name + ".json")

    def finished(self, key: Key) -> Finished | None:
        """The record of a result that is there, if it is this job's."""
        record = _read(self._finished, Finished) if self.out.exists() else None
        return record if record and record.key == key else None

    def claimed(self, key: Key, *, overwrite: bool) -> Claim | None:
        """How this job was laid out when it was interrupted; None where it begins, with nothing in its way.

        Raises:
            OtherJob: The parts, or the result, are another job's, and ``overwrite`` is false.
            UnknownResult: The result is nobody's, and ``overwrite`` is false.
        """
        for left in self.parts.glob(_TEMPORARY):
            _remove(left)
        claim = _read(self.parts / _CLAIM, Claim)
        if claim and claim.key == key:
            return claim
        if not overwrite:
            if claim:
                raise _other(self.parts, claim.key, key)
            if self.out.exists():
                record = _read(self._finished, Finished)
                raise _other(self.out, record.key, key) if record else UnknownResult(file=self.out)
        self.discard()
        return None

    def claim(self, claim: Claim) -> None:
        """Begin a job."""
        _write(self.parts / _CLAIM, claim)

    def finish(self, made: Path, finished: Finished) -> None:
        """Put a result, made inside the folder of parts, in its place."""
        if made.is_dir() and self.out.exists():
            _remove(self.out)
        made.replace(self.out)
        _write(self._finished, finished)
        _settle(self.out.parent)

    def discard(self) -> None:
        """Remove the parts; the claim last, so that no part is ever taken for another claim's."""
        for pattern in (_TEMPORARY, f"*{SUFFIX}", _CLAIM):
            for path in self.parts.glob(pattern):
                _remove(path)
        with suppress(OSError):  # whatever else somebody has put there stays, and the folder with it
            self.parts.rmdir()


def _other(file: Path, found: Key, expected: Key) -> OtherJob:
    here, there = found.differences(expected)
    return OtherJob(file=file, found=here, expected=there)


def _read(file: Path, kind: type[Kind]) -> Kind | None:
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(file: Path, record: _Record) -> None:
    write_text(file, record.model_dump_json(indent=2) + "\n")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _settle(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a power cut does not bring the parts' removal alone."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
