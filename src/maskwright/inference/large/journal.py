"""What a result is made of and how far it has come: a claim beside the parts, and a record beside the result."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskwright.errors import InputError
from maskwright.images.write import write_text
from maskwright.inference.large.block_grid import Layout
from maskwright.inference.large.block_store import PARTS
from maskwright.inference.large.encoding import Output
from maskwright.inference.large.window import Failure

_CLAIM: Final = "job.json"
_REPLACED: Final = "replaced"
_TEMPORARY: Final = "." + "[0-9a-f]" * 32 + "*"  # what `atomic_path` leaves behind when it is killed


class OtherJob(InputError):
    """Parts, or a result, of another network, image or setting than those asked for."""

    text = "{file}: was made with {found}, and {expected} is asked for; name another file, or add --overwrite."


class UnknownResult(InputError):
    """A file in the result's place that this command did not write."""

    text = "{file}: is there already, and not of this command; name another file, or add --overwrite to replace it."


class ForeignFolder(InputError):
    """A folder in a result's place that holds other than what this command wrote; it is never removed."""

    text = "{file}: is a folder, and not as this command wrote it, so it stays; name another file, or remove it."


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
    """The image's name, and the state of its file."""
    path: str
    """Of the image on this machine; other machines may have it elsewhere."""
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
    result: str
    """Digest of the result's bytes: a record of other bytes is not of this result."""
    outlines: str | None = None
    """Digest of the GeoJSON made of the result; None where none was made."""
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
        self._made = self.parts / f"result{out.suffix}"

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All that has a name of its own: the result, its record, its parts."""
        return self.out, self._finished, self.parts

    def standing(self) -> Finished | None:
        """The record of the result that is there; None where there is none, or none whose bytes are as recorded."""
        record = _read(self._finished, Finished) if self.out.exists() else None
        return record if record and record.result == digest_of(self.out) else None

    def finished(self, key: Key) -> Finished | None:
        """The record of the result that is there, if it is this job's."""
        record = self.standing()
        return record if record and record.key == key else None

    def claimed(self, key: Key, *, overwrite: bool) -> Claim | None:
        """How this job was laid out when it was interrupted; None where it begins, with nothing in its way.

        Raises:
            OtherJob: The parts, or the result, are another job's, and ``overwrite`` is false.
            UnknownResult: The result, its record or its parts are nobody's, and ``overwrite`` is false.
            ForeignFolder: The result is a folder that this command did not write.
        """
        for left in self.parts.glob(_TEMPORARY):
            _remove(left)
        claim = _read(self.parts / _CLAIM, Claim)
        if self.out.is_dir() and not self.standing():
            raise ForeignFolder(file=self.out)
        if not overwrite:
            self._refuse_others(claim, key)
        if claim and claim.key == key:
            return claim
        self.discard()
        return None

    def _refuse_others(self, claim: Claim | None, key: Key) -> None:
        if claim and claim.key != key:
            raise _other(self.parts, claim.key, key)
        if self.out.exists():
            record = self.standing()
            raise _other(self.out, record.key, key) if record else UnknownResult(file=self.out)
        if self._finished.exists() and not _read(self._finished, Finished):
            raise UnknownResult(file=self._finished)
        if not claim and self.parts.exists() and (not self.parts.is_dir() or any(self.parts.iterdir())):
            raise UnknownResult(file=self.parts)

    def claim(self, claim: Claim) -> None:
        """Begin a job."""
        _write(self.parts / _CLAIM, claim)

    def place(self) -> Path:
        """Where the result is made, with nothing there."""
        if self._made.exists():
            _remove(self._made)
        return self._made

    def finish(self, made: Path, finished: Finished) -> None:
        """Put a result, made inside the folder of parts, in its place.

        Its record comes first: whatever has the result's name until then has other bytes than it says.
        """
        replaced = self.parts / _REPLACED
        if replaced.exists():
            _remove(replaced)
        if made.is_dir() and self.out.exists():
            self.out.replace(replaced)
        self.record(finished)
        made.replace(self.out)
        _settle(self.out.parent)

    def record(self, finished: Finished) -> None:
        """Say how the result was made, and what was made of it."""
        _write(self._finished, finished)

    def discard(self) -> None:
        """Remove the parts; the claim last, so that no part is ever taken for another claim's."""
        for pattern in (_TEMPORARY, PARTS, self._made.name, _REPLACED, _CLAIM):
            for path in self.parts.glob(pattern):
                _remove(path)
        with suppress(OSError):  # whatever else somebody has put there stays, and the folder with it
            self.parts.rmdir()


def digest_of(result: Path) -> str:
    """Of the bytes of a file, or of the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    names = sorted(Path(place, name) for place, _, names in os.walk(result) for name in names)
    for file in names if result.is_dir() else [result]:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.relative_to(result).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()


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
    if path.is_dir() and not path.is_symlink():
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
