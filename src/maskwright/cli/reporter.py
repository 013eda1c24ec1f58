"""Print the plan, the progress and the scores of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.cli.console import ProgressDisplay, is_verbose, print_line, print_table, print_warning
from maskwright.cli.tables import decisions_table, plan_table, score_table
from maskwright.data.problems import MAX_NAMED_FILES, with_file_names
from maskwright.training.duration import format_duration

if TYPE_CHECKING:
    from maskwright.data.check import CheckReport
    from maskwright.metrics.scores import Scores
    from maskwright.training.reporter import Plan, Progress


class ConsoleReporter:
    """Reporter that shows one progress bar on a terminal, and prints one line for each event in a log."""

    def __init__(self) -> None:
        self._display = ProgressDisplay()
        self._last_score = ""

    def __enter__(self) -> "ConsoleReporter":
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the progress bar and restore the cursor, even after an error."""
        self._display.stop()

    def reading(self, done: int, total: int) -> None:
        """Update the progress display while data is read."""
        self._display.update("Reading pairs", done, total, f"{done} of {total}")

    def plan(self, plan: "Plan") -> None:
        """Print the problems found in the data and the plan."""
        self._display.stop()
        print_plan(plan)
        self._display.update("Training", 0, 1, "first step, which compiles the network")

    def step(self, progress: "Progress") -> None:
        """Update the progress display of training."""
        left = "" if progress.seconds_left is None else f", {format_duration(progress.seconds_left)} left"
        note = f"step {progress.step}, loss {progress.loss:.3f}{self._last_score}{left}"
        self._display.update("Training", progress.fraction, 1, note)

    def validating(self, done: int, total: int) -> None:
        """Update the progress display of a validation."""
        self._display.update("Validating", done, total, f"{done} of {total}{self._last_score}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the row of an epoch, and store its score for the progress display."""
        loss = "-" if row["loss"] is None else f"{row['loss']:.4f}"
        line = f"epoch {row['epoch']:>3}  step {row['step']:>5}  {format_duration(row['seconds']):>12}  loss {loss}"
        if (mean_iou := row["val_mean_iou"]) is not None:
            self._last_score = f", mean IoU {mean_iou:.3f}"
            line += f"  validation mean IoU {mean_iou:.4f}"
        if (dice := row.get("val_dice")) is not None:
            line += f", mean Dice {dice:.4f}"
        if (precision := row.get("val_mean_precision")) is not None:
            line += f", mean precision {precision:.4f}"
        self._display.print_line(line)

    def report(self, line: str) -> None:
        """Print a message."""
        self._display.print_line(line)

    def verified(self, scores: "Scores") -> None:
        """Print the scores of the saved network."""
        self._display.stop()
        print_table(score_table(scores, title="Validation scores of the saved network"))


def print_plan(plan: "Plan") -> None:
    """Print the problems and properties of the data, and the chosen recipe fields with their reasons."""
    if plan.report is not None:
        print_problems(plan.report, listed_in=plan.warnings_file)
    print_table(plan_table(plan))
    print_table(decisions_table(plan.prepared.decisions))


def print_problems(report: "CheckReport", *, listed_in: Path | None = None) -> None:
    """Print all problems found in the data, errors first; with ``--quiet``, print errors only.

    Args:
        report: Result of the data check.
        listed_in: Path of the file that lists all files of each warning, if there is one.
    """
    for problem in report.problems:
        is_error = problem.severity == "fatal"
        text = _with_files(problem.message, problem.files, listed_in)
        print_line(f"{'error' if is_error else 'warning'}: {text}", even_if_quiet=is_error)
        _print_all(problem.files, even_if_quiet=is_error)


def print_file_warning(message: str, files: Sequence[Path]) -> None:
    """Print a warning that names at most three of its files; with ``--verbose``, list all files below it."""
    print_warning(_with_files(message, files, None))
    _print_all(files)


def _with_files(message: str, files: Sequence[Path], listed_in: Path | None) -> str:
    """Add the names of up to three files to a message; if there are more files, state where all files are listed."""
    message = with_file_names(message, files)
    if len(files) <= MAX_NAMED_FILES or is_verbose():
        return message
    return f"{message} {f'{listed_in} lists' if listed_in else '--verbose prints'} all {len(files)} files."


def _print_all(files: Sequence[Path], *, even_if_quiet: bool = False) -> None:
    if is_verbose() and len(files) > MAX_NAMED_FILES:
        for file in files:
            print_line(f"  {file}", even_if_quiet=even_if_quiet)
