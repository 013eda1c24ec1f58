"""A comparison as tables in a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from maskwright.compare.comparison import Comparison
from maskwright.compare.text import COSTS, HOW_TO_READ, INTERVAL, costs, difference, span
from maskwright.report.formatting import score


def tables(comparison: Comparison) -> Group:
    """Scores and costs with what to know of them; a difference whose interval leaves out zero is bold."""
    notes = [Text(note) for note in comparison.notes]
    return Group(*notes, score_table(comparison), cost_table(comparison), Text(HOW_TO_READ))


def score_table(comparison: Comparison) -> Table:
    """The mean IoU and each class: a line for each run."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("IoU", "run"):
        table.add_column(name, overflow="fold")
    for name in ("score", INTERVAL, f"against {escape(comparison.names[0])}", INTERVAL):
        table.add_column(name, justify="right", no_wrap=name == INTERVAL)
    for measure in comparison.measures:
        for row, line in enumerate(measure.lines):
            cells = [
                Text("" if row else measure.name),
                Text(line.run),
                Text(score(line.score.value)),
                Text(span(line.score)),
            ]
            if line.difference is not None:
                style = "bold" if line.difference.excludes_zero else ""
                cells += [Text(difference(line.difference.value), style), Text(span(line.difference, signed=True))]
            table.add_row(*cells)
        table.add_section()
    return table


def cost_table(comparison: Comparison) -> Table:
    """What each run took to train, to keep and to predict with."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    for name in COSTS:
        table.add_column(name, justify="right", no_wrap=name != COSTS[-1])
    for row in costs(comparison):
        table.add_row(*map(Text, row))
    return table
