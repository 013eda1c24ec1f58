"""Frameworks that talk of themselves while they load, kept from the terminal of people who did not ask; and what else
they would load if it happens to be installed, left where it is."""

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.abc import MetaPathFinder
from typing import Any, Final

from maskwright.collecting import uncollected
from maskwright.errors import wrong_argument

_ASKED_BY: Final = {  # by whom a package is asked for that this one makes no use of; both do without it
    "matplotlib": ("keras.src.visualization",),
    "sklearn": ("keras.src.wrappers",),
    "jax": ("tensorflow.lite.python.util", "keras.src.callbacks"),  # where it computes, it is loaded before
}


class _LeftOut(MetaPathFinder):
    """Does as if what is `_ASKED_BY` some module were not installed, once that module is being loaded."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """None, for others to look.

        Raises:
            ModuleNotFoundError: It is to be left out.
        """
        if any(asker in sys.modules for asker in _ASKED_BY.get(fullname, ())):
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)


@contextmanager
def _left_out() -> Iterator[None]:
    finder = _LeftOut()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def load_keras_quietly(*, whole: bool = False) -> None:
    """Import Keras and its backend; what native code prints meanwhile is shown only if the import fails.

    TensorFlow writes to the file descriptor before any of its settings is read, so nothing less helps. What other
    threads write there meanwhile is not shown either.

    Args:
        whole: With its pictures and its wrappers for scikit-learn, where what they need is installed: for code that is
            not this package's, and takes longer.

    Raises:
        ImportError: Keras or its backend is not installed.
        WrongArgument: The environment names a backend that does not exist.
    """
    for name in ("tensorflow", "tifffile", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            is_first = "keras" not in sys.modules
            with uncollected(), nullcontext() if whole else _left_out():
                import keras

                if is_first:
                    gc.freeze()  # what was loaded stays, and need not be looked at again
            if "KERAS_DISTRIBUTION_NUM_PROCESSES" not in os.environ:  # else processes have to find each other first
                keras.ops.convert_to_numpy(keras.ops.ones(1))  # starts the backend, which talks again
        except ValueError as error:  # what Keras raises for a backend it does not know
            raise wrong_argument(
                "KERAS_BACKEND", os.environ.get("KERAS_BACKEND"), expected="tensorflow, jax or torch"
            ) from error
        except ImportError:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
