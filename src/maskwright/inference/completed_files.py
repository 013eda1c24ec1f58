"""Record the complete results of a folder in a hidden file, to which one line is appended after each result."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, final

from maskwright.images.write import write_text

COMPLETED_FILE: Final = ".maskwright.completed.jsonl"

FileState = tuple[int, int]


def file_state(file: Path) -> FileState | None:
    """Return the size of a file in bytes and its modification time in nanoseconds; None if the file does not exist."""
    try:
        status = file.stat()
    except (OSError, ValueError):  # ValueError: the name contains a NUL
        return None
    return status.st_size, status.st_mtime_ns


@final
class CompletedFiles:
    """The results that one job has completed in a folder, with the states of the images and results at that time.

    At worst, a killed process leaves a result without a line or with a truncated line; that result counts as
    incomplete. Several threads, and several processes of the same job, may add results at the same time.
    """

    def __init__(self, out: Path, lines: Sequence[bytes] = ()) -> None:
        self._out = out
        self._records: dict[str, dict[str, Any]] = {}
        for record in map(_parsed, lines):
            if isinstance(record, dict) and isinstance(record.get("result"), str):
                self._records[record["result"]] = record

    @classmethod
    def start(cls, out: Path, job: str) -> Self:
        """Start a record without completed results, replacing the file."""
        write_text(out / COMPLETED_FILE, _line({"job": job}))
        return cls(out)

    @classmethod
    def read_or_start(cls, out: Path, job: str) -> Self:
        """Read the completed results of ``job``; start an empty record if the file is missing or of another job."""
        file = out / COMPLETED_FILE
        if not file.exists():
            return cls.start(out, job)
        content = file.read_bytes()
        head, *lines = content.split(b"\n")
        if _parsed(head) != {"job": job}:
            return cls.start(out, job)
        completed = cls(out, lines)
        if lines[-1:] != [b""]:
            completed._append("\n")  # terminates a truncated line, which would otherwise damage the next one
        return completed

    def holds(self, source: Path, results: Sequence[Path]) -> bool:
        """Return whether ``results`` were made from ``source`` and no file has changed since."""
        record = self._record(source, file_state(source), results)
        return None not in record["states"] and self._records.get(record["result"]) == record

    def add(self, source: Path, state: FileState, results: Sequence[Path]) -> None:
        """Record that ``results`` were made from ``source`` while the file had the given ``state``."""
        record = self._record(source, state, results)
        self._append(_line(record))
        self._records[record["result"]] = record

    def _record(self, source: Path, state: FileState | None, results: Sequence[Path]) -> dict[str, Any]:
        states = [state, *map(file_state, results)]
        return {
            "result": results[-1].relative_to(self._out).as_posix(),
            # Two images may have equal sizes and, if unpacked from an archive, equal modification times.
            "source": str(_resolved(source.parent.absolute()) / source.name),
            "states": [known and list(known) for known in states],
        }

    def _append(self, text: str) -> None:
        with (self._out / COMPLETED_FILE).open("ab", buffering=0) as file:  # one write, so lines never interleave
            file.write(text.encode("ascii"))


@lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    """Resolve the path of a folder, cached because resolving reads every part of the path."""
    return folder.resolve()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
