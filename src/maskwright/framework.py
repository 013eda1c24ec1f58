"""Import Keras without its start-up messages and without optional packages that it does not need."""

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.abc import MetaPathFinder
from typing import Any, Final

from maskwright.errors import wrong_argument

# Optional packages that this package does not use, and the modules that would import them at start-up.
_UNUSED_PACKAGES: Final = {
    "matplotlib": ("keras.src.visualization",),
    "sklearn": ("keras.src.wrappers",),
    "jax": ("tensorflow.lite.python.util", "keras.src.callbacks"),  # Keras with JAX imports it before these modules
}


@contextmanager
def no_gc() -> Iterator[None]:
    """Disable garbage collection while many long-lived objects are created, since each collection examines them all.

    >>> with no_gc():
    ...     gc.isenabled()
    False
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def hidden_module(name: str) -> Iterator[None]:
    """Make any import of the module ``name`` inside the ``with`` block fail with an ImportError.

    >>> with hidden_module("wave"):
    ...     import wave
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: import of wave halted; None in sys.modules
    """
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


class _UnusedPackageFinder(MetaPathFinder):
    """A finder that hides the packages of `_UNUSED_PACKAGES` from the modules listed there."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Return None, so that other finders search for the module.

        Raises:
            ModuleNotFoundError: The module is hidden because a listed module is being imported.
        """
        if any(importer in sys.modules for importer in _UNUSED_PACKAGES.get(fullname, ())):
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


@contextmanager
def _unused_packages_hidden() -> Iterator[None]:
    finder = _UnusedPackageFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def load_keras(*, optional_packages: bool = False) -> None:
    """Import Keras and its backend; output of native code is shown only if the import fails.

    TensorFlow writes to the file descriptor of standard error before it reads any of its settings, so the descriptor
    itself is redirected. Output of other threads to standard error during the import is therefore not shown either.

    Args:
        optional_packages: Whether Keras also imports its optional packages, such as matplotlib and scikit-learn. This
            takes longer but may be required by user code.

    Raises:
        ImportError: Keras or its backend is not installed.
        WrongArgument: The environment variable ``KERAS_BACKEND`` names an unknown backend.
    """
    for name in ("tensorflow", "tifffile", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            is_first = "keras" not in sys.modules
            with no_gc(), nullcontext() if optional_packages else _unused_packages_hidden():
                import keras

                if is_first:
                    gc.freeze()  # the imported modules are permanent, so later collections need not examine them
            if "KERAS_DISTRIBUTION_NUM_PROCESSES" not in os.environ:  # otherwise, the processes must connect first
                keras.ops.convert_to_numpy(keras.ops.ones(1))  # initialises the backend, which prints more messages
        except ValueError as error:  # raised by Keras for an unknown backend
            raise wrong_argument(
                "KERAS_BACKEND", os.environ.get("KERAS_BACKEND"), expected="tensorflow, jax or torch"
            ) from error
        except ImportError:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
