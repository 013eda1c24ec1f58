"""The history of a run, line by line, for TensorBoard or MLflow."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Literal

from maskwright.errors import missing_package
from maskwright.images.write import write_text
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

Service = Literal["tensorboard", "mlflow"]
Log = Callable[[Mapping[str, Any]], None]
"""Called with each line of the history."""


@contextmanager
def logged(run: Run, recipe: Recipe, *, first: int, say: Callable[[str], None]) -> Iterator[Log]:
    """What passes lines of the history on to every service of ``training.log``, while the training lasts.

    A service that fails on the way is done without, and ``say`` is called once with why.

    Args:
        run: Where event files go.
        recipe: Which services, and what they are told of the training.
        first: The first step of this sitting; what was told of it and of later ones is void.
        say: Called with lines for the user.

    Raises:
        MissingPackage: A service's package is not installed.
    """
    with ExitStack() as stack:
        logs = {name: stack.enter_context(_SERVICES[name](run, recipe, first)) for name in recipe.training.log}

        def log(row: Mapping[str, Any]) -> None:
            for name in list(logs):
                try:
                    logs[name](row)
                except Exception as error:  # a server that does not answer must not end a training
                    del logs[name]
                    say(f"warning: {name} is not told any more: {type(error).__name__}: {error}")

        yield log


def numbers_in(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line that are measured; ``step`` says where they belong.

    >>> numbers_in({"epoch": 1, "step": 20, "seconds": 9.5, "loss": 0.5, "val_mean_iou": None})
    {'seconds': 9.5, 'loss': 0.5}
    """
    return {name: float(value) for name, value in row.items() if name not in ("epoch", "step") and value is not None}


@contextmanager
def _tensorboard(run: Run, recipe: Recipe, first: int) -> Iterator[Log]:
    """Event files in the run's folder ``tensorboard``; a run that goes on takes up its curves where it stood."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise missing_package("training.log: tensorboard", "tensorboardX", install="maskwright[tensorboard]") from None
    folder = str(run.folder / "tensorboard")
    with SummaryWriter(folder, purge_step=first, filename_suffix=f".{first}") as writer:  # names are of a second

        def log(row: Mapping[str, Any]) -> None:
            for name, value in numbers_in(row).items():
                writer.add_scalar(name, value, row["step"])
            writer.flush()

        yield log


@contextmanager
def _mlflow(run: Run, recipe: Recipe, first: int) -> Iterator[Log]:
    """A run of MLflow, where MLFLOW_TRACKING_URI says, with the recipe as parameters; it is gone on with as well."""
    try:
        import mlflow
    except ImportError:
        raise missing_package("training.log: mlflow", "mlflow-skinny", install="maskwright[mlflow]") from None
    known = run.known_to_mlflow
    begun = known.read_text(encoding="utf-8").strip() if known.is_file() else None
    with mlflow.start_run(run_id=begun, run_name=run.folder.name) as active:
        if begun is None:
            write_text(known, active.info.run_id)
            fields = recipe.model_dump(mode="json")
            mlflow.log_params(
                {f"{section}.{name}": value for section, values in fields.items() for name, value in values.items()}
            )
        yield lambda row: mlflow.log_metrics(numbers_in(row), step=row["step"])


_SERVICES: Final[Mapping[Service, Callable[[Run, Recipe, int], Any]]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
