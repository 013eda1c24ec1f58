"""Find the user's cache folder on each operating system."""

import os
import platform
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder ``maskwright`` in the user's cache folder, which need not exist.

    The cache folder is ``$XDG_CACHE_HOME`` if this variable is set, and otherwise the usual one of the system.
    """
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder, "maskwright")
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local", "maskwright")
    return Path.home() / ("Library/Caches" if platform.system() == "Darwin" else ".cache") / "maskwright"
