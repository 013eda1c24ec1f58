"""How commands talk: lines on standard output, a bar while they work, and failures last."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import typer

from maskwright.errors import InputError

if TYPE_CHECKING:  # rich is imported when something is said
    from rich.console import Console


@cache
def console() -> "Console":
    """Where all is said: one for all, so that lines come above a bar that is shown."""
    from rich.console import Console

    return Console()


def say(text: str) -> None:
    """Print a line as it is."""
    console().print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def counting(what: str = "Predicting") -> Iterator[Callable[[int, int], None]]:
    """A bar that counts files."""
    from maskwright.cli.tables import counting_bar

    with counting_bar(console()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def interruptible(left: str = "what is finished is kept, and the same command goes on") -> Iterator[None]:
    """Say what Ctrl-C has left, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted; {left}.\n")
        raise typer.Exit(130) from None


def end_with(failures: Sequence[InputError], *, of: int) -> None:
    """Name the files that failed, last, where they are seen; any at all makes the command fail."""
    if failures:
        for failure in failures:
            sys.stderr.write(f"failed: {failure}\n")
        sys.stderr.write(f"error: {len(failures)} of {of} files failed; the others are done\n")
        raise typer.Exit(1)
