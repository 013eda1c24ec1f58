"""Print lines, tables and progress at the chosen verbosity, and exit with the correct exit code."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from maskwright.errors import InputError

if TYPE_CHECKING:  # Rich is imported only when a command prints, so that --help is fast
    from rich.console import Console, RenderableType
    from rich.progress import Progress

PROGRESS_LINE_SECONDS: Final = 30.0
"""Shortest time between two progress lines in a log, in seconds."""
_LOG_WIDTH: Final = 100
"""Width, in characters, of a table that is printed to a file or a pipe."""


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    SUCCESS = 0
    FAILURE = 1
    """An error occurred, or some of the files could not be processed."""
    USAGE = 2
    """An option is unknown, missing or cannot be combined with another."""
    INTERRUPTED = 130
    """The command was interrupted with Ctrl-C."""


class Verbosity(IntEnum):
    """Amount of output of a command."""

    QUIET = 0
    """Only errors are printed."""
    NORMAL = 1
    VERBOSE = 2
    """Warnings list all files they concern."""


_verbosity = Verbosity.NORMAL


def set_verbosity(level: Verbosity) -> None:
    """Set the verbosity of all subsequent output."""
    global _verbosity
    _verbosity = level


def is_quiet() -> bool:
    """Return whether only errors are printed."""
    return _verbosity == Verbosity.QUIET


def is_verbose() -> bool:
    """Return whether warnings list all files they concern."""
    return _verbosity == Verbosity.VERBOSE


@cache
def console() -> "Console":
    """Return the shared console of standard output, which prints lines above the progress bar."""
    from rich.console import Console

    shared = Console()
    return shared if shared.is_terminal else Console(width=max(shared.width, _LOG_WIDTH))


def reset() -> None:
    """Restore the initial verbosity and console of a command."""
    set_verbosity(Verbosity.NORMAL)
    console.cache_clear()


def print_line(text: str, *, even_if_quiet: bool = False) -> None:
    """Print a line without wrapping or highlighting."""
    if even_if_quiet or _verbosity > Verbosity.QUIET:
        console().print(text, highlight=False, markup=False, soft_wrap=True)


def print_table(table: "RenderableType") -> None:
    """Print a Rich table followed by an empty line."""
    if _verbosity > Verbosity.QUIET:
        console().print(table, highlight=False)
        console().print()


def print_warning(text: str) -> None:
    """Print a warning."""
    print_line(f"warning: {text}")


def print_note(text: str) -> None:
    """Print a note for the user."""
    print_line(f"note: {text}")


def print_error(text: str) -> None:
    """Print an error on standard error at any verbosity."""
    sys.stderr.write(f"error: {text}\n")


class ProgressDisplay:
    """Progress display: one progress bar on a terminal, or one line every 30 seconds in a log."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._last_line = time.monotonic()

    def update(self, description: str, done: float, total: float, note: str) -> None:
        """Show that ``done`` of ``total`` items are complete, with a note such as the remaining time."""
        if _verbosity == Verbosity.QUIET:
            return
        if console().is_terminal:
            self._update_bar(description, done, total, note)
        elif time.monotonic() - self._last_line >= PROGRESS_LINE_SECONDS:
            self.print_line(f"{description}: {done / total:.0%}, {note}")

    def print_line(self, text: str) -> None:
        """Print a line above the progress bar."""
        print_line(text)
        self._last_line = time.monotonic()

    def stop(self) -> None:
        """Remove the progress bar and restore the cursor."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _update_bar(self, description: str, done: float, total: float, note: str) -> None:
        if self._bar is not None:
            task = self._bar.tasks[0]
            is_new = description != task.description
            self._bar.update(task.id, description=description, completed=done, total=total, note=note, refresh=is_new)
            return
        from rich.progress import BarColumn, Progress, TextColumn

        columns = TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[note]}")
        self._bar = Progress(*columns, console=console(), transient=True)
        self._bar.add_task(description, completed=int(done), total=total, note=note)
        self._bar.start()


@contextmanager
def counter(description: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that displays the number of completed items, the total and the remaining time."""
    from maskwright.training.duration import format_duration

    display, started = ProgressDisplay(), time.monotonic()

    def update(done: int, total: int) -> None:
        left = (time.monotonic() - started) / done * (total - done) if done else None
        note = f"{done} of {total}" + ("" if left is None else f", {format_duration(left)} left")
        display.update(description, done, total, note)

    try:
        yield update
    finally:
        display.stop()


@contextmanager
def interruptible(remedy: str = "Finished files are kept. Run the same command again to continue.") -> Iterator[None]:
    """Exit with code 130 on Ctrl-C, and print how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        exit_interrupted(remedy)


def exit_interrupted(remedy: str) -> NoReturn:
    """Print that the command was interrupted, print how to continue, and exit with code 130."""
    sys.stderr.write(f"Interrupted. {remedy}\n")
    raise typer.Exit(ExitCode.INTERRUPTED) from None


def exit_if_failed(failures: Sequence[InputError], *, total: int) -> None:
    """If any files could not be processed, print an error for each of these files and exit with code 1."""
    if failures:
        for failure in failures:
            print_error(str(failure))
        print_error(f"{len(failures)} of {total} files failed; all others were processed")
        raise typer.Exit(ExitCode.FAILURE)


def load_framework_for(folder: Path) -> None:
    """Import Keras unless ``folder`` contains an engine that does not need Keras."""
    from maskwright.inference.load_predictor import loads_framework

    if loads_framework(folder):
        from maskwright.framework import load_keras

        load_keras()
