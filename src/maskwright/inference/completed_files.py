"""Which results are there and still valid: a line for each in a file beside them, added once the result is written."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, final

from maskwright.images.write import write_text

FINISHED_FILE: Final = ".maskwright.finished.jsonl"

FileState = tuple[int, int]


def file_state(file: Path) -> FileState | None:
    """Size in bytes and time of last change in nanoseconds: other after any change. None where there is no file."""
    try:
        status = file.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return status.st_size, status.st_mtime_ns


@final
class Finished:
    """The results below a folder that one job has finished, by what their images and they themselves looked like then.

    A process killed at any moment leaves at worst a result without its line, or the last line torn: that result counts
    as unfinished. Threads, and processes with the same job, may add at the same time.
    """

    def __init__(self, out: Path, lines: Sequence[bytes] = ()) -> None:
        self._out = out
        self._records: dict[str, dict[str, Any]] = {}
        for record in map(_parsed, lines):
            if isinstance(record, dict) and isinstance(record.get("result"), str):
                self._records[record["result"]] = record

    @classmethod
    def start(cls, out: Path, job: str) -> Self:
        """Nothing finished; whatever the file said is gone."""
        write_text(out / FINISHED_FILE, _line({"job": job}))
        return cls(out)

    @classmethod
    def read(cls, out: Path, job: str) -> Self | None:
        """What ``job`` has finished so far, nothing if the file is another job's; None where there is no file."""
        file = out / FINISHED_FILE
        if not file.exists():
            return None
        content = file.read_bytes()
        head, *lines = content.split(b"\n")
        if _parsed(head) != {"job": job}:
            return cls.start(out, job)
        finished = cls(out, lines)
        if lines[-1:] != [b""]:
            finished._append("\n")  # what a kill tore off must not spoil the next line
        return finished

    def holds(self, source: Path, results: Sequence[Path]) -> bool:
        """Whether ``results`` were made from ``source``, and neither it nor they have changed since."""
        record = self._record(source, file_state(source), results)
        return None not in record["states"] and self._records.get(record["result"]) == record

    def add(self, source: Path, state: FileState, results: Sequence[Path]) -> None:
        """Remember that ``results`` are written, from ``source`` as it was in ``state``."""
        record = self._record(source, state, results)
        self._append(_line(record))
        self._records[record["result"]] = record

    def _record(self, source: Path, state: FileState | None, results: Sequence[Path]) -> dict[str, Any]:
        states = [state, *map(file_state, results)]
        return {
            "result": results[-1].relative_to(self._out).as_posix(),
            # Two images may be of one size and, unpacked from archives, of one time.
            "source": str(_resolved(source.parent.absolute()) / source.name),
            "states": [known and list(known) for known in states],
        }

    def _append(self, text: str) -> None:
        with (self._out / FINISHED_FILE).open("ab", buffering=0) as file:  # one write, so that lines never mix
            file.write(text.encode("ascii"))


@lru_cache(maxsize=64)
def _resolved(folder: Path) -> Path:
    """Looked up once for the many images in it, at every part of its path."""
    return folder.resolve()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
