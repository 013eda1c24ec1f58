"""Load a predictor from the folder of a run, an exported engine or an ensemble."""

from dataclasses import replace
from pathlib import Path

from maskwright.inference.device import Device
from maskwright.inference.engines.engine import Engine, needs_framework, open_engine, weights_digest
from maskwright.inference.ensemble import Ensemble, is_ensemble, read_ensemble
from maskwright.inference.test_time_augmentation import with_test_time_augmentation

Predictor = Engine | Ensemble


def load_predictor(folder: str | Path, *, threads: int | None = None, device: Device | None = None) -> Predictor:
    """Load the predictor in a folder, with the test-time augmentation of its bundle.

    Args:
        folder: Folder of a run, an exported engine or an ensemble.
        threads: Maximum number of threads (see `open_engine`); an ensemble opens its engines later and uses all
            processors.
        device: Device that computes (see `open_engine`).

    Raises:
        WrongEnsemble: The record of the ensemble is damaged, or a member is missing.
        InputError: The engine cannot be opened; see `open_engine`.
    """
    if is_ensemble(folder):
        return replace(read_ensemble(Path(folder)), device=device)
    engine = open_engine(folder, threads=threads, device=device)
    return with_test_time_augmentation(engine, engine.bundle.tta)


def loads_framework(folder: str | Path) -> bool:
    """Return whether prediction with the predictor in ``folder`` loads a training framework, which takes seconds."""
    members = read_ensemble(Path(folder)).members if is_ensemble(folder) else [Path(folder)]
    return any(map(needs_framework, members))


def predictor_digest(folder: Path) -> str:
    """Return a digest of the predictor weights, which identifies the networks that produced a result."""
    if not is_ensemble(folder):
        return weights_digest(folder)
    return " ".join(map(weights_digest, read_ensemble(folder).members))
