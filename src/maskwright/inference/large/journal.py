"""Records of a large result: a claim in the folder of its blocks, and a file next to the finished result."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field

from maskwright.errors import InputError
from maskwright.inference.bundle import OutputKind
from maskwright.inference.json_record import JsonRecord
from maskwright.inference.large.block_store import BLOCK_FILES
from maskwright.inference.tiling.layout import Layout
from maskwright.inference.tiling.window import WindowFailure

_CLAIM: Final = "job.json"
_REPLACED: Final = "replaced"
_TEMPORARY: Final = "." + "[0-9a-f]" * 32 + "*"  # temporary files that `atomic_path` leaves if the process is killed


class OtherJob(InputError):
    """Existing blocks or an existing result of another network, another image or other settings."""

    text = "{file}: was made with {found}, but {expected} is requested; name another file, or add --overwrite."


class UnknownResult(InputError):
    """An existing file with the name of the result that this command did not write."""

    text = "{file}: exists and was not written by this command; name another file, or add --overwrite to replace it."


class ForeignFolder(InputError):
    """A folder with the name of a result that this command did not write and therefore never removes."""

    text = "{file}: is a folder that this command did not write and therefore keeps; name another file, or remove it."


class ResultKey(JsonRecord):
    """Values that together determine a result."""

    format: Literal[2] = 2
    engine: str
    """Digest of the network weights."""
    bundle: str
    """Digest of the bundle."""
    image: str
    """Name of the image and state of its file."""
    path: str
    """Path of the image on this machine; other machines may use another path."""
    output: OutputKind
    margin: int | None
    """Margin given by the user, in pixels; None if it is measured."""

    def differences(self, other: "ResultKey") -> tuple[str, str]:
        """Return descriptions of the differing fields in this key and in the other key."""
        ours, theirs = self.model_dump(), other.model_dump()
        differing = [name for name in ours if ours[name] != theirs[name]]
        here, there = (", ".join(f"{name} {key[name]}" for name in differing) for key in (ours, theirs))
        return here, there


class JobClaim(JsonRecord):
    """The contents of the ``job.json`` file in a folder of blocks."""

    key: ResultKey
    layout: Layout


class CompletionRecord(JsonRecord):
    """The contents of the JSON file next to a result."""

    key: ResultKey
    result: str
    """Digest of the bytes of the result, which identifies the result to which the record belongs."""
    outlines: str | None = None
    """Digest of the GeoJSON file made from the result; None if no such file was made."""
    layout: Layout
    nodata: float | None
    """Value of invalid pixels; None for NaN."""
    seam_fraction: float | None
    """Fraction of the pixels along inner borders whose class changed with a wider margin; None for a single block."""
    seam_pixels: int
    """Number of compared pixels along inner borders."""
    failures: tuple[WindowFailure, ...] = Field(description="Parts of the image that could not be read.")


RecordType = TypeVar("RecordType", bound=JsonRecord)


class Journal:
    """The files next to a result: ``OUT.parts/`` until the result is finished, then ``OUT.json``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.blocks = out.with_name(out.name + ".parts")
        self._record = out.with_name(out.name + ".json")
        self._unfinished = self.blocks / f"result{out.suffix}"

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Paths of the result, its record and the folder of its blocks."""
        return self.out, self._record, self.blocks

    def existing(self) -> CompletionRecord | None:
        """Return the record of the existing result; None if the result is missing or does not match its record."""
        record = _read(self._record, CompletionRecord) if self.out.exists() else None
        return record if record and record.result == content_digest(self.out) else None

    def completed(self, key: ResultKey) -> CompletionRecord | None:
        """Return the record of the existing result; None if the result is missing or has another key."""
        record = self.existing()
        return record if record and record.key == key else None

    def resume(self, key: ResultKey, *, overwrite: bool) -> JobClaim | None:
        """Return the claim of the interrupted job with this key; for a new job, remove existing files and return None.

        Raises:
            OtherJob: The blocks or the result have another key, and ``overwrite`` is false.
            UnknownResult: The result, its record or its blocks were not written by this command, and ``overwrite`` is
                false.
            ForeignFolder: The result is a folder that this command did not write.
        """
        for temporary in self.blocks.glob(_TEMPORARY):
            _remove(temporary)
        claim = _read(self.blocks / _CLAIM, JobClaim)
        if self.out.is_dir() and not self.existing():
            raise ForeignFolder(file=self.out)
        if not overwrite:
            self._check_unused(claim, key)
        if claim and claim.key == key:
            return claim
        self.discard()
        return None

    def _check_unused(self, claim: JobClaim | None, key: ResultKey) -> None:
        if claim and claim.key != key:
            raise _other_job(self.blocks, claim.key, key)
        if self.out.exists():
            record = self.existing()
            raise _other_job(self.out, record.key, key) if record else UnknownResult(file=self.out)
        if self._record.exists() and not _read(self._record, CompletionRecord):
            raise UnknownResult(file=self._record)
        if not claim and self.blocks.exists() and (not self.blocks.is_dir() or any(self.blocks.iterdir())):
            raise UnknownResult(file=self.blocks)

    def claim(self, claim: JobClaim) -> None:
        """Create the folder of blocks and write the claim of a new job to it."""
        claim.write_file(self.blocks / _CLAIM)

    def unfinished_path(self) -> Path:
        """Return the path at which to write the result, after removing the file of an earlier attempt."""
        if self._unfinished.exists():
            _remove(self._unfinished)
        return self._unfinished

    def finish(self, written: Path, record: CompletionRecord) -> None:
        """Move a finished result from `unfinished_path` to its final path.

        The record is written first: until the move, a file with the result's name does not match the recorded digest.
        """
        replaced = self.blocks / _REPLACED
        if replaced.exists():
            _remove(replaced)
        if written.is_dir() and self.out.exists():
            self.out.replace(replaced)
        self.record(record)
        written.replace(self.out)
        _flush_names(self.out.parent)

    def record(self, record: CompletionRecord) -> None:
        """Write the record of the result."""
        record.write_file(self._record)

    def discard(self) -> None:
        """Remove the blocks and then the claim, so that no block is ever attributed to another claim."""
        for pattern in (_TEMPORARY, BLOCK_FILES, self._unfinished.name, _REPLACED, _CLAIM):
            for path in self.blocks.glob(pattern):
                _remove(path)
        with suppress(OSError):  # fails if the folder contains files of the user, which are kept
            self.blocks.rmdir()


def content_digest(result: Path) -> str:
    """Return the SHA-256 digest of a file, or of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    names = sorted(Path(folder, name) for folder, _, names in os.walk(result) for name in names)
    for file in names if result.is_dir() else [result]:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.relative_to(result).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()


def _other_job(file: Path, found: ResultKey, expected: ResultKey) -> OtherJob:
    here, there = found.differences(expected)
    return OtherJob(file=file, found=here, expected=there)


def _read(file: Path, kind: type[RecordType]) -> RecordType | None:
    try:
        return kind.read_file(file)
    except InputError:
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _flush_names(folder: Path) -> None:
    """Flush the entries of a folder to disk, so that a power failure cannot destroy both the blocks and the result."""
    with suppress(OSError):  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
