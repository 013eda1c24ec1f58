"""The command ``evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli.console import counter, exit_if_failed, load_framework_for, print_line, print_table
from maskwright.cli.options import NO_DEFAULT, Device, Images, Masks, MaskSuffix, Run


def evaluate(
    run: Run,
    images: Images,
    masks: Masks,
    mask_suffix: MaskSuffix = None,
    device: Device = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the scores to this JSON file.", **NO_DEFAULT)
    ] = None,
) -> None:
    """Compute the scores of a run, an engine or an ensemble on a folder of images and masks."""
    from maskwright.cli.reporter import print_file_warning
    from maskwright.cli.tables import score_table
    from maskwright.segmenter import Segmenter
    from maskwright.training.run_records import write_scores

    load_framework_for(run)
    segmenter = Segmenter.load(run, device=device)
    with counter("Evaluating") as count:
        evaluation = segmenter.evaluate(images, masks, mask_suffix=mask_suffix, progress=count)
    print_table(score_table(evaluation.scores, title=f"{len(evaluation.images)} images of {images}"))
    if (precision := evaluation.mean_precision) is not None:
        print_line(f"mean precision over IoU 0.5 to 0.95: {precision:.4f}")
    if json_file is not None:
        write_scores(json_file, evaluation.record())
        print_line(f"scores:  {json_file}")
    if evaluation.left_out:
        count_left_out = len(evaluation.left_out)
        print_file_warning(f"{count_left_out} files without a matching file were not scored.", evaluation.left_out)
    exit_if_failed(evaluation.failures, total=len(evaluation.images) + len(evaluation.failures))
