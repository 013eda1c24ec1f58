"""The command ``compare``."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import print_line, print_table
from maskwright.cli.options import NO_DEFAULT, Overwrite, check_output_file


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of finished runs.", **NO_DEFAULT)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write an HTML page with curves to this file.", **NO_DEFAULT)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare runs with the first run on the validation images that all of them share.

    Scores are printed with bootstrap confidence intervals. A second table lists training times and network sizes.
    """
    from maskwright.compare import compare_runs
    from maskwright.compare.tables import comparison_tables

    if out is not None:
        check_output_file(out, suffix=".html", overwrite=overwrite)
    comparison = compare_runs(runs)
    print_table(comparison_tables(comparison))
    if out is not None:
        from maskwright.compare.page import write_page

        write_page(comparison, out)
        print_line(f"page:    {out}")
