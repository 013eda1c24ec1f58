"""Load published weights and checkpoints of Keras 2 and PyTorch, also for other numbers of input channels.

Importing this package does not import Keras; its names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwright.weights.download import fetch
    from maskwright.weights.encoder import load_encoder_weights, load_published
    from maskwright.weights.smp.load_save import load_smp, save_smp, save_smp_folder

_HOMES = {
    "fetch": "maskwright.weights.download",
    **dict.fromkeys(("load_encoder_weights", "load_published"), "maskwright.weights.encoder"),
    **dict.fromkeys(("load_smp", "save_smp", "save_smp_folder"), "maskwright.weights.smp.load_save"),
}
__all__ = [
    "fetch",
    "load_encoder_weights",
    "load_published",
    "load_smp",
    "save_smp",
    "save_smp_folder",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
