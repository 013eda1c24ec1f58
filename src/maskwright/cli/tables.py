"""What people read in a terminal: plans, progress, scores and problems, drawn with Rich."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:  # what is shown was made elsewhere; a bar alone needs none of it
    from maskwright.data.check import Report
    from maskwright.data.mask_values import MaskValues
    from maskwright.inference.engines.record import Exported
    from maskwright.metrics.scores import Scores
    from maskwright.training.folds_and_seeds import Summary
    from maskwright.training.plan import Decision
    from maskwright.training.reporter import Plan
    from maskwright.training.trainer import Progress as TrainingProgress
    from maskwright.tune.tune import Decision as Decided

_MOST_FILES = 20
_SAY_EVERY = 30.0  # seconds between lines of progress in a log, where there is no bar


class ConsoleNarrator:
    """A training's narrator that writes to a terminal, or plain lines where there is none."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = progress_bar(console, "{task.fields[note]}")
        self._task = self._bar.add_task("Reading", total=1, note="")
        self._said_at = time.monotonic()

    def __enter__(self) -> ConsoleNarrator:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away, and give the cursor back, however the training ended."""
        self._bar.stop()

    def reading(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.start()
        self._bar.update(self._task, description="Reading pairs", completed=done, total=total)

    def plan(self, plan: Plan) -> None:
        """Print the table of what was found and chosen."""
        self._bar.stop()
        print_plan(self.console, plan)
        self._bar = progress_bar(self.console, "{task.fields[note]}")
        self._task = self._bar.add_task("Training", total=1.0, note="first step, the slowest")
        self._bar.start()

    def step(self, progress: TrainingProgress) -> None:
        """Move the bar."""
        left = "" if progress.seconds_left is None else f", {clock(progress.seconds_left)} left"
        note = f"step {progress.step}, loss {progress.loss:.3f}{left}"
        self._bar.update(self._task, completed=progress.share, note=note)
        if not self.console.is_terminal and time.monotonic() - self._said_at > _SAY_EVERY:
            self._say(f"{progress.share:.0%}  {note}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the epoch's line."""
        loss = "-" if row["loss"] is None else f"{row['loss']:.4f}"
        reached = row["val_mean_iou"]
        validated = "" if reached is None else f"  validation mean IoU [bold]{reached:.4f}[/]"
        if (precision := row.get("val_mean_precision")) is not None:
            validated += f", mean precision {precision:.4f}"
        self._say(f"epoch {row['epoch']:>3}  step {row['step']:>5}  {clock(row['seconds'])}  loss {loss}{validated}")

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False)
        self._said_at = time.monotonic()

    def say(self, line: str) -> None:
        """Print the line as it is."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._said_at = time.monotonic()

    def verified(self, scores: Scores) -> None:
        """Print the scores."""
        self._bar.stop()
        self.console.print(score_table(scores, title="Validation, by the saved run opened afresh"))


def summary_of_series(summary: Summary, *, folds: bool) -> Table:
    """What each of several trainings reached, their mean and spread, and the score of all their images together."""
    table = Table(box=SIMPLE_HEAD, title="Validation, by each run's saved network", title_justify="left")
    table.add_column("")
    table.add_column("mean IoU", justify="right")
    for name, value in summary.members.items():
        table.add_row(name, _number(value))
    table.add_section()
    spread = "" if summary.spread is None else f" ± {summary.spread:.4f}"
    table.add_row("mean ± standard deviation", f"{_number(summary.mean)}{spread}")
    table.add_row("out of fold, all images" if folds else "all of them pooled", _number(summary.pooled))
    for name, value in summary.classes.items():
        table.add_row(f"  {name}", _number(value))
    return table


def decision_table(decision: Decided) -> Table:
    """What was tried after training, its score and gain, and whether it is on."""
    kind = "mean IoU" if decision.select == "mean_iou" else "mean precision"
    some = f" of {decision.of}" if decision.images < decision.of else ""
    title = f"Decided on {decision.images}{some} held-out images"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("tried")
    table.add_column(kind, justify="right")
    table.add_column("gain", justify="right")
    table.add_column("")
    for line in decision.lines:
        gain = "" if line.gain is None else f"{line.gain:+.4f}"
        table.add_row(escape(line.name), _number(line.score), gain, "on" if line.on else "off")
    table.add_section()
    table.add_row("with all that is on", _number(decision.score), "", "")
    return table


def progress_bar(console: Console, note: str) -> Progress:
    """A bar that leaves no trace when it is done; nothing at all where there is no terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn(note)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def counting_bar(console: Console) -> Progress:
    """A bar that counts files, and tells the time left."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def print_plan(console: Console, plan: Plan) -> None:
    """What was found in the data, what it decides and why, and what the training will take here."""
    if plan.report is not None:
        print_problems(console, plan.report)
    console.print(plan_table(plan))
    console.print(decisions_table(plan.prepared.decisions))


def plan_table(plan: Plan) -> Table:
    """What was found in the data, and what the training will take here."""
    from maskwright.training.prepare import machine_memory

    prepared, training = plan.prepared, plan.prepared.recipe.training
    bundle, cost = prepared.bundle, plan.cost
    if training.time_budget is not None:
        steps = int(training.time_budget / cost.step_seconds)
        duration = f"{clock(training.time_budget)} by the clock, about {steps} steps of {cost.step_seconds:.2f} s"
    else:
        seconds = (plan.steps or 0) * cost.step_seconds
        duration = f"about {clock(seconds)}: {plan.steps} steps of {cost.step_seconds:.2f} s, and validation"
    rows = [
        (
            "images",
            f"{len(prepared.train)} to train on, {len(prepared.validation)} held out, {_sizes(prepared.train_sizes)}",
        ),
        ("pixels", f"{bundle.channels} channel{'s' * (bundle.channels > 1)} of {', '.join(bundle.pixels)}"),
        ("masks", _describe_masks(plan)),
        ("network", _network(plan)),
        ("time", duration),
        ("memory", f"about {cost.memory_bytes / 1e9:.1f} GB of {machine_memory() / 1e9:.1f} GB here"),
        ("into", str(plan.run.folder)),
    ]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(f"[bold]{name}[/]", escape(text))
    return table


def decisions_table(decisions: Sequence[Decision]) -> Table:
    """Each field of the recipe that the data or the user decided, by the name that ``--set`` takes, and why."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("decided", no_wrap=True)
    table.add_column("as")
    table.add_column("because")
    for decision in decisions:
        table.add_row(decision.field, escape(_chosen(decision)), escape(decision.reason))
    return table


def score_table(scores: Scores, *, title: str) -> Table:
    """Scores per class and over all, absent classes named."""
    table = Table(
        title=escape(title), title_justify="left", caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("class")
    for name in ("IoU", "F-score", "precision", "recall", "pixels"):
        table.add_column(name, justify="right")
    for row in scores.classes:
        numbers = (_number(value) for value in (row.iou, row.f_score, row.precision, row.recall))
        table.add_row(escape(row.name), *numbers, f"{row.truth_pixels:,}")
    table.add_section()
    table.add_row("[bold]mean IoU[/]", f"[bold]{_number(scores.mean_iou)}[/]", "", "", "", "")
    table.add_row("pixel accuracy", _number(scores.pixel_accuracy), "", "", "", "")
    if scores.absent:
        names = ", ".join(scores.absent)
        table.caption = escape(f"Left out of the mean, in neither truth nor prediction: {names}")
    return table


def checks_table(exported: Exported) -> Table:
    """How an engine agreed with the network it was made of, beside what was allowed."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(f"{exported.kind} {exported.precision} against Keras")
    table.add_column("found", justify="right")
    table.add_column("allowed", justify="right")
    if (checks := exported.checks) is not None:
        bounds = checks.bounds
        table.add_row("largest difference", f"{checks.largest_difference:.1e}", f"{bounds.largest_difference:.1e}")
        table.add_row("pixels of another class", f"{checks.changed_pixels:.3%}", f"{bounds.changed_pixels:.3%}")
        run, engine = _number(checks.run_mean_iou), _number(checks.engine_mean_iou)
        allowed = f"{'-' if bounds.may_rise else '±'} {bounds.score:g}"
        table.add_row(f"mean IoU of {checks.scored_pairs} pairs, run {run}", engine, allowed)
    if exported.reverted:
        table.add_row(f"layers not in int8: {', '.join(exported.reverted)}", str(len(exported.reverted)), "")
    return table


def summary_table(report: Report) -> Table:
    """What the folders hold."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("set", "pairs", "heights", "widths", "channels", "pixels"):
        table.add_column(name)
    sets = [("training", report.train)] + ([("validation", report.validation)] if report.validation else [])
    for name, summary in sets:
        extents = (str(low) if low == high else f"{low}-{high}" for low, high in (summary.heights, summary.widths))
        channels = "differ" if summary.channels is None else str(summary.channels)
        table.add_row(name, str(summary.pairs), *extents, channels, ", ".join(summary.dtypes))
    return table


def balance_table(report: Report, values: MaskValues) -> Table:
    """What each mask value stands for, and how much of it there is."""
    sets = [("train", report.train)] + ([("val", report.validation)] if report.validation else [])
    table = Table(title=f"Masks: {values.kind}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("value", justify="right")
    table.add_column("stands for")
    for name, _ in sets:
        for column in (f"{name} pixels", "share", "images"):
            table.add_column(column, justify="right", no_wrap=True)
    for rows in zip(*(summary.balance for _, summary in sets), strict=True):
        cells = [cell for row in rows for cell in (f"{row.pixels:,}", f"{row.share:.2%}", str(row.masks))]
        table.add_row(str(rows[0].value), escape(rows[0].word), *cells)
    return table


def print_problems(console: Console, report: Report) -> None:
    """Every problem, the fatal ones first, with the files that have it."""
    for problem in report.problems:
        style, word = ("bold red", "fatal") if problem.severity == "fatal" else ("yellow", "warning")
        console.print(f"[{style}]{word}[/]: {escape(problem.message)}", highlight=False, soft_wrap=True)
        unnamed = [str(file) for file in problem.files if str(file) not in problem.message]
        for file in unnamed[:_MOST_FILES]:
            console.print(f"  {file}", highlight=False, markup=False, soft_wrap=True)
        if len(unnamed) > _MOST_FILES:
            console.print(f"  and {len(unnamed) - _MOST_FILES} more")


def clock(seconds: float) -> str:
    """Seconds as people say them.

    >>> clock(7), clock(75), clock(3720)
    ('7 s', '1 min 15 s', '1 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    smallest, largest = min(sizes), max(sizes)
    text = f"{smallest[0]} x {smallest[1]}"
    return text if smallest == largest else f"{text} to {largest[0]} x {largest[1]}"


def _describe_masks(plan: Plan) -> str:
    values = plan.prepared.mask_values
    words = list(values.words.items())
    shown = ", ".join(f"{value} = {word}" for value, word in words[:12])
    return f"{values.kind}: {shown}" + (f" and {len(words) - 12} more" if len(words) > 12 else "")


def _network(plan: Plan) -> str:
    network = plan.prepared.recipe.network
    parameters = f"{plan.cost.parameters / 1e6:.1f} million parameters"
    made = network.custom or f"{network.architecture}, {network.backbone}"
    return f"{made}, {parameters}, computed in {plan.precision}"


def _chosen(decision: Decision) -> str:
    """A decided value as people write it."""
    match decision.value:
        case tuple(sides):
            return " x ".join(map(str, sides))
        case dict(weights):
            return _loss(weights)
        case float(seconds) if decision.field == "training.time_budget":
            return clock(seconds)
        case value:
            return str(value)


def _loss(weights: Mapping[str, float]) -> str:
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items())
