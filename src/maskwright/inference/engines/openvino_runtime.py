"""Import OpenVINO's runtime without its converter, which is slow to import and reports the import over the network."""

import sys
from functools import cache
from threading import Lock
from typing import Any, Final

from maskwright.framework import hidden_module

_CONVERTER: Final = "openvino.tools.ovc"


def _import_runtime() -> Any:
    """The module `openvino`; its `convert_model`, which nothing here calls, imports the converter when it is called."""
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
_one_at_a_time = Lock()


def core() -> Any:
    """The one core of this process, kept to its end.

    The first network it compiles gives the thread that asks another stack for its signals. Where the last core or
    network ended on another thread, as one collected there does, OpenVINO 2026.4 would take that stack's memory away
    and leave the stack in use: the next Ctrl-C would be a crash.
    """
    with _one_at_a_time:
        return _core()


@cache
def _core() -> Any:
    made = openvino.Core()
    made.set_property({"ENABLE_MMAP": False})  # Windows neither replaces nor moves a file that is mapped
    return made
