"""Log the training history to TensorBoard or MLflow."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Literal

from maskwright.errors import missing_package
from maskwright.images.write import write_text
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

Service = Literal["tensorboard", "mlflow"]
Log = Callable[[Mapping[str, Any]], None]
"""Function called with each row of the training history."""


@contextmanager
def logged(run: Run, recipe: Recipe, *, first: int, report: Callable[[str], None]) -> Iterator[Log]:
    """Yield a function that logs a row of the history to every service of ``training.log``.

    If logging to a service raises an error, the error is reported once, and training continues without this service.

    Args:
        run: Run to log; event files are written to its folder.
        recipe: Recipe of the run, which lists the services and is logged as parameters.
        first: First step after starting or resuming; entries that were logged for this and later steps are replaced.
        report: Function called with each message (str) for the user.

    Raises:
        MissingPackage: The package of a service is not installed.
    """
    with ExitStack() as stack:
        logs = {name: stack.enter_context(_SERVICES[name](run, recipe, first)) for name in recipe.training.log}

        def log(row: Mapping[str, Any]) -> None:
            for name in list(logs):
                try:
                    logs[name](row)
                except Exception as error:  # an unreachable server must not stop training
                    del logs[name]
                    report(f"warning: no longer logging to {name}: {type(error).__name__}: {error}")

        yield log


def measured_values(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the measured values of a row of the history, without its epoch and step.

    >>> measured_values({"epoch": 1, "step": 20, "seconds": 9.5, "loss": 0.5, "val_mean_iou": None})
    {'seconds': 9.5, 'loss': 0.5}
    """
    return {name: float(value) for name, value in row.items() if name not in ("epoch", "step") and value is not None}


@contextmanager
def _tensorboard(run: Run, recipe: Recipe, first: int) -> Iterator[Log]:
    """Write event files to the folder ``tensorboard`` of the run; the curves of a resumed run are continued."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise missing_package("training.log: tensorboard", "tensorboardX", install="maskwright[tensorboard]") from None
    folder = str(run.folder / "tensorboard")
    with SummaryWriter(
        folder, purge_step=first, filename_suffix=f".{first}"
    ) as writer:  # by default, two writers created in the same second use the same file name

        def log(row: Mapping[str, Any]) -> None:
            for name, value in measured_values(row).items():
                writer.add_scalar(name, value, row["step"])
            writer.flush()

        yield log


@contextmanager
def _mlflow(run: Run, recipe: Recipe, first: int) -> Iterator[Log]:
    """Log to an MLflow run at MLFLOW_TRACKING_URI, with the recipe as parameters; a resumed run uses the same MLflow
    run."""
    try:
        import mlflow
    except ImportError:
        raise missing_package("training.log: mlflow", "mlflow-skinny", install="maskwright[mlflow]") from None
    id_file = run.mlflow_id
    run_id = id_file.read_text(encoding="utf-8").strip() if id_file.is_file() else None
    with mlflow.start_run(run_id=run_id, run_name=run.folder.name) as active:
        if run_id is None:
            write_text(id_file, active.info.run_id)
            fields = recipe.model_dump(mode="json")
            mlflow.log_params(
                {f"{section}.{name}": value for section, values in fields.items() for name, value in values.items()}
            )
        yield lambda row: mlflow.log_metrics(measured_values(row), step=row["step"])


_SERVICES: Final[Mapping[Service, Callable[[Run, Recipe, int], Any]]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
