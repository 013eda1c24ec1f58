"""What a run's folder holds that a page can show; every file but the recipe may be missing."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.inference.bundle import Bundle
from maskwright.metrics.scores import Scores
from maskwright.training.evaluate import ClassPixels
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

T = TypeVar("T")


class DamagedRunFile(InputError):
    """A file of a run that holds something else than a training writes."""

    text = "{file}: cannot be read ({found}); expected what a training wrote. Move the file away for a page without it."


class ImageScore(BaseModel, frozen=True):
    """What one validation image scored; None where it has no class or known pixel, or an older version wrote none."""

    name: str
    mean_iou: float | None
    pixel_accuracy: float | None
    pixels: ClassPixels | None = None
    seconds: float | None = None


class StoredScores(BaseModel, frozen=True):
    """``scores.json``."""

    scores: Scores
    images: tuple[ImageScore, ...]
    mean_precision: float | None = None


@dataclass(frozen=True)
class Epoch:
    """One line of ``history.csv``; None where nothing was measured."""

    step: int
    seconds: float | None
    """Since the training began."""
    learning_rate: float | None
    loss: float | None
    mean_iou: float | None
    mean_precision: float | None = None


@dataclass(frozen=True)
class Contents:
    """A run, read; None where a file is missing."""

    run: Run
    recipe: Recipe
    recipe_text: str
    bundle: Bundle | None
    pairs: Mapping[str, list[Pair]] | None
    history: tuple[Epoch, ...] | None
    stored: StoredScores | None
    facts: Mapping[str, Any] | None


def read_contents(folder: str | Path) -> Contents:
    """Everything a page shows, but for pictures.

    Raises:
        NotARun: The folder is missing or holds no recipe.
        WrongRecipe, UnreadableBundle, DamagedRunFile: A file is there and cannot be used.
    """
    run = Run.open(folder)
    return Contents(
        run=run,
        recipe=run.read_recipe(),
        recipe_text=run.recipe.read_text(encoding="utf-8"),
        bundle=_read(run.bundle, lambda file: Bundle.read(file.parent)),
        pairs=_read(run.split, lambda file: run.read_split()),
        history=_read(run.history, _history),
        stored=_read(run.scores, lambda file: StoredScores.model_validate_json(file.read_bytes())),
        facts=_read(run.facts, _facts),
    )


def _read(file: Path, read: Callable[[Path], T]) -> T | None:
    if not file.is_file():
        return None
    try:
        return read(file)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DamagedRunFile(file=file, found=found) from None


def _history(file: Path) -> tuple[Epoch, ...]:
    with file.open(newline="", encoding="utf-8") as lines:
        return tuple(
            Epoch(
                step=int(row["step"]),
                seconds=_number(row["seconds"]),
                learning_rate=_number(row["learning_rate"]),
                loss=_number(row["loss"]),
                mean_iou=_number(row["val_mean_iou"]),
                mean_precision=_number(row.get("val_mean_precision") or ""),
            )
            for row in csv.DictReader(lines)
        )


def _number(cell: str) -> float | None:
    number = float(cell) if cell else math.nan
    return number if math.isfinite(number) else None


def _facts(file: Path) -> Mapping[str, Any]:
    facts = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise TypeError(f"{type(facts).__name__} in place of an object")
    return facts
