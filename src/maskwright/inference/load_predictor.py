"""The door to whatever predicts: a run, an engine exported from one, or an ensemble of them, as it was decided."""

from pathlib import Path

from maskwright.inference.engines.engine import Engine, needs_framework, open_engine, weights_digest
from maskwright.inference.ensemble import Ensemble, is_ensemble, read_ensemble
from maskwright.inference.test_time_augmentation import with_test_time_augmentation

Predictor = Engine | Ensemble


def load_predictor(folder: str | Path, *, threads: int | None = None) -> Predictor:
    """What predicts, in the folder of a run, an engine or an ensemble, with the views its bundle names.

    Args:
        folder: The run's, the engine's or the ensemble's.
        threads: As of `open_engine`.

    Raises:
        WrongEnsemble: An ensemble cannot be used.
        InputError: As `open_engine` raises.
    """
    if is_ensemble(folder):
        return read_ensemble(Path(folder))
    engine = open_engine(folder, threads=threads)
    return with_test_time_augmentation(engine, engine.bundle.tta)


def loads_framework(folder: str | Path) -> bool:
    """Whether predicting with what is in ``folder`` loads a training framework, which talks and takes seconds."""
    members = read_ensemble(Path(folder)).members if is_ensemble(folder) else [Path(folder)]
    return any(map(needs_framework, members))


def predictor_digest(folder: Path) -> str:
    """A name of the weights of what predicts, so that no result is taken for another network's."""
    if not is_ensemble(folder):
        return weights_digest(folder)
    return " ".join(map(weights_digest, read_ensemble(folder).members))
