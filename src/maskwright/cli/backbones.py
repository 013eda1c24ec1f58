"""The command ``backbones``."""

from maskwright.cli.console import print_table


def backbones() -> None:
    """List the backbones with their numbers of parameters, and the origin and the license of their weights."""
    from maskwright.cli.tables import backbones_table
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.networks import backbones as backbone_table

    print_table(backbones_table(backbone_table()))
