"""Import OpenVINO's runtime without its converter, which is slow to import and reports the import over the network."""

import sys
from functools import cache
from threading import Lock
from typing import Any, Final

from maskwright.framework import hidden_module

_CONVERTER: Final = "openvino.tools.ovc"


def _import_runtime() -> Any:
    """Return the module `openvino`, whose `convert_model` imports the converter at its first call."""
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        import openvino

        return openvino
    with hidden_module(_CONVERTER):
        import openvino

    def convert_model(*args: Any, **kwargs: Any) -> Any:
        from openvino.tools import ovc

        return ovc.convert_model(*args, **kwargs)

    openvino.convert_model = convert_model
    return openvino


openvino = _import_runtime()
_core_lock = Lock()


def core() -> Any:
    """Return the process's single core, which is never released.

    Compiling the first network gives the calling thread a new signal stack. If the last core or network is released on
    another thread, for example by garbage collection, OpenVINO 2026.4 frees that stack while it is in use, and the next
    Ctrl-C crashes the process.
    """
    with _core_lock:
        return _core()


@cache
def _core() -> Any:
    new = openvino.Core()
    new.set_property({"ENABLE_MMAP": False})  # Windows cannot replace or move a mapped file
    return new
