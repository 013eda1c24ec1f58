"""The command ``backbones``."""

from maskwright.cli.console import print_line


def backbones() -> None:
    """List the backbones with their numbers of parameters and their pretrained weights."""
    from maskwright.framework import load_keras

    load_keras()
    from maskwright.networks import backbones as backbone_table

    print_line(str(backbone_table()))
