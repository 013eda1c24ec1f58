"""The command ``check``."""

import typer

from maskwright.cli.console import ExitCode, counter, print_line, print_table
from maskwright.cli.options import (
    Classes,
    Ignore,
    Images,
    MaskKindOption,
    Masks,
    MaskSuffix,
    MaskValuesOption,
    ValImages,
    ValMasks,
    parse_classes,
    parse_mask_values,
)


def check(
    images: Images,
    masks: Masks,
    val_images: ValImages = None,
    val_masks: ValMasks = None,
    mask_kind: MaskKindOption = None,
    classes: Classes = None,
    ignore: Ignore = None,
    mask_values: MaskValuesOption = None,
    mask_suffix: MaskSuffix = None,
) -> None:
    """Check a data set for unpaired, damaged, mismatched or duplicate files and unexpected mask values.

    The exit code is 1 if any problem would prevent training. With `--verbose`, all files of each problem are listed.
    """
    from maskwright.cli.reporter import print_problems
    from maskwright.cli.tables import balance_table, summary_table
    from maskwright.training.prepare import check_data
    from maskwright.training.recipe import Recipe
    from maskwright.training.recipe_fields import recipe_fields

    fields = recipe_fields(
        images=images,
        masks=masks,
        val_images=val_images,
        val_masks=val_masks,
        mask_kind=mask_kind,
        classes=parse_classes(classes),
        ignore=ignore,
        mask_values=parse_mask_values(mask_values),
        mask_suffix=mask_suffix,
    )
    with counter("Reading pairs") as count:
        report, *_ = check_data(Recipe.from_dict(fields, source="options").data, progress=count)
    print_table(summary_table(report))
    if report.mask_values is not None:
        print_table(balance_table(report, report.mask_values))
    print_problems(report)
    errors, warnings = len(report.fatal), len(report.warnings)
    found = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    print_line(found if report.problems else "No problems found.")
    raise typer.Exit(ExitCode.FAILURE if errors else ExitCode.SUCCESS)
