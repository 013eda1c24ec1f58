"""Command-line interface: the application with its commands, and the exit codes and messages of errors."""

import errno
import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from maskwright.cli import (
    backbones,
    check,
    compare,
    convert_weights,
    demo,
    ensemble,
    evaluate,
    export,
    fetch,
    find_lr,
    predict,
    submit,
    train,
    tune,
)
from maskwright.cli.console import ExitCode, print_error, print_line, reset
from maskwright.cli.options import (
    Quiet,
    UnusableOption,
    Verbose,
    choose_verbosity,
    unwrap_paragraphs,
    with_verbosity,
)
from maskwright.errors import InputError
from maskwright.images.disk_full import is_disk_full

_MEMORY_ERRORS = {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}  # from Python, TensorFlow and PyTorch
_MEMORY_REMEDIES = {
    "train": "lower training.batch_size or training.patch_size with --set, or ",
    "predict": "predict large images one at a time with a .tif or .zarr as --out, use fewer --workers, or ",
}

_COMMANDS: Mapping[str, Callable[..., None]] = {
    "train": train.train,
    "find-lr": find_lr.find_lr,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "tune": tune.tune,
    "ensemble": ensemble.ensemble,
    "submit": submit.submit,
    "predict": predict.predict,
    "check": check.check,
    "export": export.export,
    "convert-weights": convert_weights.convert_weights,
    "backbones": backbones.backbones,
    "fetch": fetch.fetch,
    "demo": demo.demo,
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 success; 1 error, or failure of some files; 2 wrong usage; 130 interruption with Ctrl-C.",
)
for name, function in _COMMANDS.items():
    app.command(name, help=unwrap_paragraphs(function.__doc__ or ""))(with_verbosity(function))


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print_line(f"maskwright {version('maskwright')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train U-Nets on folders of images and masks, predict masks for images of any size, and report the results."""
    choose_verbosity(verbose=verbose, quiet=quiet)


def main() -> None:
    """Run a command; print each user error as one message on standard error, and exit with the corresponding exit
    code."""
    reset()
    try:
        app()
    except UnusableOption as error:
        _exit(str(error), ExitCode.USAGE)
    except InputError as error:
        _exit(str(error))
    except OSError as error:
        if is_disk_full(error):
            reason = os.strerror(error.errno or errno.ENOSPC).lower()
            _exit(f"{error.filename or 'the output'}: {reason}; free disk space or write to another disk")
        _exit(f"{error.filename or 'a file'}: {error.strerror or error}")
    except ModuleNotFoundError as error:
        _exit(f"{error.name} is not installed; networks need Keras and a backend: pip install 'maskwright[tensorflow]'")
    except Exception as error:
        if not _MEMORY_ERRORS & {kind.__name__ for kind in type(error).__mro__}:
            raise
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        _exit(f"out of memory; {_MEMORY_REMEDIES.get(command, '')}close other programs")


def _exit(message: str, code: ExitCode = ExitCode.FAILURE) -> None:
    print_error(message)
    sys.exit(code)
