"""Frameworks that talk of themselves while they load, kept from the terminal of people who did not ask."""

import logging
import os
import sys
import tempfile

from maskwright.errors import wrong_argument


def load_keras_quietly() -> None:
    """Import Keras and its backend; what native code prints meanwhile is shown only if the import fails.

    TensorFlow writes to the file descriptor before any of its settings is read, so nothing less helps.

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
            import keras

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
