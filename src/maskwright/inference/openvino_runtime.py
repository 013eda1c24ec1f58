"""OpenVINO's runtime without its converter, which takes longer to import and tells the network that it was imported."""

import sys
from typing import Any, Final

_CONVERTER: Final = "openvino.tools.ovc"


def _import_runtime() -> Any:
    """The module `openvino`; its `convert_model`, which nothing here calls, imports the converter when it is called."""
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        import openvino

        return openvino
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # Python's way to say that it is not there
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTER]

    def convert_model(*args: Any, **kwargs: Any) -> Any:
        from openvino.tools import ovc

        return ovc.convert_model(*args, **kwargs)

    openvino.convert_model = convert_model
    return openvino


openvino = _import_runtime()
