"""Import the OpenVINO runtime without its converter, which is slow to import and sends usage data when imported."""

import sys
from functools import cache
from threading import Lock
from typing import Any, Final

from maskwright.framework import hidden_module

_CONVERTER: Final = "openvino.tools.ovc"


def _import_runtime() -> Any:
    """Return the `openvino` module with a `convert_model` that imports the converter on its first call."""
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
    """Return the single OpenVINO core of the process, which is never released.

    Compiling the first network installs a new signal stack in the calling thread. If the last core or network is
    released on another thread, for example by garbage collection, OpenVINO 2026.4 frees that stack while it is in use,
    and the next Ctrl-C crashes the process.
    """
    with _core_lock:
        return _core()


@cache
def _core() -> Any:
    new = openvino.Core()
    new.set_property({"ENABLE_MMAP": False})  # Windows cannot replace or move a mapped file
    return new
