"""The command ``export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from maskwright.cli.console import counter, print_line, print_table
from maskwright.cli.options import NO_DEFAULT, Overwrite


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", **NO_DEFAULT)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the engine, new or empty.", **NO_DEFAULT)],
    to: Annotated[
        Literal["openvino", "onnx", "litert", "saved_model"], typer.Option("--to", help="Runtime of the engine.")
    ] = "openvino",
    precision: Annotated[
        Literal["f32", "bf16", "int8"],
        typer.Option("--precision", help="Number format of computations; bf16 and int8 require openvino."),
    ] = "f32",
    rewrite: Annotated[bool, typer.Option(help="Rewrite the network to an equivalent, faster graph.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Convert a run to an inference engine that does not need Keras, and verify it on the validation images."""
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"  # TensorFlow loads runs of every backend, and every exporter requires it
    from maskwright.cli.tables import checks_table
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.export.export import export_run

    with counter("Verifying") as count:
        exported = export_run(
            run, out, to=to, precision=precision, rewrite=rewrite, overwrite=overwrite, progress=count
        )
    print_table(checks_table(exported))
    print_line(f"engine:  {out}")
