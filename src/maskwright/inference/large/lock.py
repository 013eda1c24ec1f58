"""One process at a time for one result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from maskwright.errors import InputError
from maskwright.images.file_lock import locked


class BeingPredicted(InputError):
    """A result that another process is making at this moment."""

    text = "{out}: another process is predicting into it; wait for that one to end, or name another file."


@contextmanager
def held(out: Path, *, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold the right to make ``out`` while the block runs; where the file system has no locks, say so and go on.

    Raises:
        BeingPredicted: Another process holds it.
    """

    def unsupported(reason: str) -> None:
        say(f"{out}: cannot be locked here ({reason}); see that no other process predicts into it.")

    with locked(out.with_name(f".{out.name}.lock"), busy=BeingPredicted(out=out), unsupported=unsupported):
        yield
