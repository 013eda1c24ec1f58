"""Tables of plans, scores, tuning results and data sets, formatted with Rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from maskwright.data.pixel_values import joined
from maskwright.metrics.monitor import SCORE_NAMES
from maskwright.training.duration import format_duration

if TYPE_CHECKING:
    from maskwright.data.check import CheckReport
    from maskwright.data.mask_values import MaskValues
    from maskwright.inference.engines.record import EngineRecord
    from maskwright.metrics.scores import Scores
    from maskwright.networks.backbones import BackboneTable
    from maskwright.training.folds_and_seeds import SeriesSummary
    from maskwright.training.plan import Decision
    from maskwright.training.reporter import Plan
    from maskwright.tune.result import TuningResult

MAX_LISTED_CLASSES: Final = 12
"""Largest number of classes that are listed in the plan."""
MAX_VALUE_WIDTH: Final = 24
"""Largest width of a field's value in the plan, in characters; longer values are wrapped."""


def series_table(summary: SeriesSummary, *, folds: bool) -> Table:
    """Return a table of the scores of all folds or seeds, their mean and standard deviation, and the pooled score."""
    table = _table("Validation scores of the saved networks")
    table.add_column("fold" if folds else "seed")
    table.add_column("mean IoU", justify="right")
    for name, value in summary.members.items():
        table.add_row(name, _score(value))
    table.add_section()
    deviation = "" if summary.standard_deviation is None else f" ± {summary.standard_deviation:.4f}"
    table.add_row("mean ± standard deviation", f"{_score(summary.mean)}{deviation}")
    table.add_row("all images, out of fold" if folds else "all images of all seeds", _score(summary.pooled))
    for name, value in summary.classes.items():
        table.add_row(f"  {name}", _score(value))
    return table


def tuning_table(result: TuningResult) -> Table:
    """Return a table of all options that were tried, with their scores and gains on both halves of the images."""
    selection, check = result.half_sizes
    title = f"{SCORE_NAMES[result.monitor]} on {selection} + {check} of {result.held_out_images} held-out images"
    table = _table(title)
    table.add_column("option")
    for half in ("selection", "check"):
        table.add_column(f"{half} half", justify="right")
        table.add_column("gain", justify="right")
    table.add_column("")
    for option in result.options:
        gains = ["" if gain is None else f"{gain:+.4f}" for gain in (option.gain, option.check_gain)]
        scores = [_score(score) for score in (option.score, option.check_score)]
        on = "on" if option.on else "off"
        table.add_row(escape(option.name), scores[0], gains[0], scores[1], gains[1], on)
    if result.scores is not None:
        table.add_section()
        table.add_row(
            "all options that are on", _score(result.scores.selection), "", _score(result.scores.check), "", ""
        )
    return table


def plan_table(plan: Plan) -> Table:
    """Return a table of properties of the data and the network, and the expected time and memory of training."""
    from maskwright.training.prepare import machine_memory

    prepared = plan.prepared
    bundle, cost = prepared.bundle, plan.cost
    rows = [
        ("images", f"{len(prepared.train)} for training, {len(prepared.validation)} for validation"),
        ("size", f"{_sizes(prepared.train_sizes)} pixels (height x width)"),
        ("pixels", f"{bundle.channels} channel{'s' * (bundle.channels > 1)}, {', '.join(bundle.pixels)}"),
        ("masks", _describe_masks(plan)),
        ("network", _network(plan)),
        ("time", _describe_time(plan)),
        ("memory", f"about {cost.memory_bytes / 1e9:.1f} GB of {machine_memory() / 1e9:.1f} GB"),
        ("run", str(plan.run.folder)),
    ]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(f"[bold]{name}[/]", escape(text))
    return table


def decisions_table(decisions: Sequence[Decision]) -> Table:
    """Return a table of the recipe fields that were chosen or given, grouped by section."""
    sections: dict[str, list[Decision]] = {}
    for decision in decisions:
        sections.setdefault(decision.field.partition(".")[0], []).append(decision)
    table = _table()
    table.add_column("field", no_wrap=True)
    table.add_column("value", max_width=MAX_VALUE_WIDTH)
    table.add_column("reason")
    for section, fields in sections.items():
        table.add_row(f"[bold]{section}[/]")
        for decision in fields:
            table.add_row(f"  {decision.field.partition('.')[2]}", escape(_value(decision)), escape(decision.reason))
    return table


def score_table(scores: Scores, *, title: str) -> Table:
    """Return a table of the scores of each class, the mean scores, and the names of absent classes."""
    table = _table(title)
    table.add_column("class")
    for name in ("IoU", "F-score", "precision", "recall", "pixels"):
        table.add_column(name, justify="right")
    for row in scores.classes:
        numbers = (_score(value) for value in (row.iou, row.f_score, row.precision, row.recall))
        table.add_row(escape(row.name), *numbers, f"{row.truth_pixels:,}")
    table.add_section()
    table.add_row("[bold]mean IoU[/]", f"[bold]{_score(scores.mean_iou)}[/]", "", "", "", "")
    table.add_row("pixel accuracy", _score(scores.pixel_accuracy), "", "", "", "")
    if scores.absent:
        names = ", ".join(scores.absent)
        table.caption = escape(f"Excluded from the mean, because neither masks nor predictions contain them: {names}")
    return table


def checks_table(engine: EngineRecord) -> Table:
    """Return a table of the differences between an engine and its run, and the largest allowed differences."""
    table = _table()
    table.add_column(f"{engine.runtime} {engine.precision} against Keras")
    table.add_column("found", justify="right")
    table.add_column("allowed", justify="right")
    if (checks := engine.checks) is not None:
        bounds = checks.bounds
        table.add_row("largest difference", f"{checks.largest_difference:.1e}", f"{bounds.largest_difference:.1e}")
        table.add_row("pixels with another class", f"{checks.changed_pixels:.3%}", f"{bounds.changed_pixels:.3%}")
        allowed = f"{'-' if bounds.may_rise else '±'} {bounds.score:g}"
        name = f"mean IoU of {checks.scored_pairs} pairs, run {_score(checks.run_mean_iou)}"
        table.add_row(name, _score(checks.engine_mean_iou), allowed)
    if engine.reverted:
        table.add_row(f"layers not in int8: {', '.join(engine.reverted)}", str(len(engine.reverted)), "")
    return table


def summary_table(report: CheckReport) -> Table:
    """Return a table of the number of pairs in each set, and the sizes and pixel types of their images."""
    table = _table()
    for name in ("set", "pairs", "heights", "widths", "channels", "pixel type"):
        table.add_column(name)
    sets = [("training", report.train)] + ([("validation", report.validation)] if report.validation else [])
    for name, summary in sets:
        extents = (str(low) if low == high else f"{low}-{high}" for low, high in (summary.heights, summary.widths))
        channels = "differ" if summary.channels is None else str(summary.channels)
        table.add_row(name, str(summary.pairs), *extents, channels, ", ".join(summary.dtypes))
    return table


def balance_table(report: CheckReport, values: MaskValues) -> Table:
    """Return a table of the meaning of each mask value, and its numbers of pixels and images in each set."""
    sets = [("train", report.train)] + ([("val", report.validation)] if report.validation else [])
    table = _table(f"Masks: {values.kind}")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("class")
    for name, _ in sets:
        for column in (f"{name} pixels", "fraction", "images"):
            table.add_column(column, justify="right", no_wrap=True)
    for rows in zip(*(summary.balance for _, summary in sets), strict=True):
        cells = [cell for row in rows for cell in (f"{row.pixels:,}", f"{row.fraction:.2%}", str(row.masks))]
        table.add_row(str(rows[0].value), escape(rows[0].name), *cells)
    return table


def backbones_table(backbones: BackboneTable) -> Table:
    """Return a table of the backbones, with the data set, the origin and the license of each weights file."""
    from maskwright.weights.catalogue import files_of

    table = _table(padding=0)  # so that the table fits into a log
    table.add_column("backbone", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for column in ("weights", "origin", "license"):
        table.add_column(column, no_wrap=True)
    for name, row in backbones.items():
        first = (name, f"{row.parameters:,}")
        for dataset in row.weights:
            for file in files_of(name, dataset):
                table.add_row(*first, dataset, file.origin, file.license)
                first = ("", "")
    return table


def _table(title: str | None = None, *, padding: int = 1) -> Table:
    return Table(
        title=None if title is None else escape(title),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, padding, 0, 0),
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    smallest, largest = min(sizes), max(sizes)
    text = f"{smallest[0]} x {smallest[1]}"
    return text if smallest == largest else f"{text} to {largest[0]} x {largest[1]}"


def _describe_masks(plan: Plan) -> str:
    values = plan.prepared.mask_values
    names = [f"{value} = {name}" for value, name in values.classes_by_value.items()]
    return f"{values.kind}: {joined(names, limit=MAX_LISTED_CLASSES)}"


def _describe_time(plan: Plan) -> str:
    budget, times = plan.prepared.recipe.training.time_budget, plan.cost.times
    steps = "" if plan.steps is None else f"{plan.steps} steps"
    if times is not None:
        change = "" if times.reduced == times.full else f", then {times.full:.2f} s"
        steps += f" of {times.reduced:.2f} s{change}"
    if budget is not None:
        return f"{format_duration(budget)}, about {steps}" if steps else format_duration(budget)
    if times is None or plan.steps is None:
        return f"{steps}, and validation"
    return f"about {format_duration(plan.steps * times.mean)}: {steps}, and validation"


def _network(plan: Plan) -> str:
    network = plan.prepared.recipe.network
    name = network.custom or f"{network.architecture}, {network.backbone}"
    return f"{name}, {plan.cost.parameters / 1e6:.1f} million parameters, {plan.precision}"


def _value(decision: Decision) -> str:
    """Format the value of a recipe field."""
    match decision.value:
        case None:
            return "off"
        case tuple(sides):
            return " x ".join(map(str, sides))
        case dict(weights) if decision.field == "training.class_weights":
            return f"{min(weights.values()):g} to {max(weights.values()):g} by class"
        case dict(weights):
            return _loss(weights)
        case float(seconds) if decision.field == "training.time_budget":
            return format_duration(seconds)
        case value:
            return str(value)


def _loss(weights: Mapping[str, float]) -> str:
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items())
