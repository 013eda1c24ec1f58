"""Build tables of a comparison for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from maskwright.compare.comparison import Comparison
from maskwright.compare.text import COSTS, HOW_TO_READ, INTERVAL, costs, difference, format_interval
from maskwright.report.formatting import score


def comparison_tables(comparison: Comparison) -> Group:
    """Return the notes, the score table and the cost table of a comparison."""
    notes = [Text(note) for note in comparison.notes]
    return Group(*notes, score_table(comparison), cost_table(comparison), Text(HOW_TO_READ))


def score_table(comparison: Comparison) -> Table:
    """Return a table of the mean IoU and the IoU of each class, with one row per run.

    A difference is printed in bold if its confidence interval excludes zero.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("IoU", "run"):
        table.add_column(name, overflow="fold")
    for name in ("score", INTERVAL, f"vs. {escape(comparison.names[0])}", INTERVAL):
        table.add_column(name, justify="right", no_wrap=name == INTERVAL)
    for measure in comparison.measures:
        for row, run in enumerate(measure.runs):
            cells = [
                Text("" if row else measure.name),
                Text(run.run),
                Text(score(run.score.value)),
                Text(format_interval(run.score)),
            ]
            if run.difference is not None:
                style = "bold" if run.difference.excludes_zero else ""
                cells.append(Text(difference(run.difference.value), style))
                cells.append(Text(format_interval(run.difference, signed=True)))
            table.add_row(*cells)
        table.add_section()
    return table


def cost_table(comparison: Comparison) -> Table:
    """Return a table of the training time, file size and prediction time of each run."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    for name in COSTS:
        table.add_column(name, justify="right", no_wrap=name != COSTS[-1])
    for row in costs(comparison):
        table.add_row(*map(Text, row))
    return table
