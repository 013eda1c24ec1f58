"""The command that puts runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import console, say
from maskwright.errors import InputError


class UnusablePage(InputError):
    """A name that no page may be written to."""

    text = "--out {file}: {found}; expected {expected}."


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of finished runs.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write a page with curves: a name in .html.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there already.")] = False,
) -> None:
    """Put runs side by side, each against the first, on the validation images they share.

    Scores have bootstrap intervals over the images; costs stand beside them.
    """
    from maskwright.compare import compare_runs
    from maskwright.compare.tables import tables

    if out is not None:
        _refuse_page(out, overwrite=overwrite)
    comparison = compare_runs(runs)
    console().print(tables(comparison), highlight=False)
    if out is not None:
        from maskwright.compare.page import write_page

        write_page(comparison, out)
        say(f"page:    {out}")


def _refuse_page(file: Path, *, overwrite: bool) -> None:
    """Nothing but a page is written, and nothing replaced without leave."""
    if file.suffix.lower() != ".html":
        raise UnusablePage(file=file, found=f"the suffix is {file.suffix or 'missing'}", expected="a name in .html")
    if file.is_dir() or (file.exists() and not overwrite):
        raise UnusablePage(file=file, found="is there already", expected="a new name, or --overwrite for a file")
