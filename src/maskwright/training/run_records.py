"""Typed records for ``scores.json``, ``run.json``, ``history.csv`` and ``split.csv``, and access to ``tuning.json``.

Each file is written and read with the same model of this module. Files are treated as untrusted input: their size is
limited, and every value is validated. This module does not import Keras.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from maskwright.data.pairs import Pair
from maskwright.errors import InputError
from maskwright.images.write import write_json, write_text
from maskwright.metrics.scores import Scores
from maskwright.training.tuning_record import TuningRecord

Record = TypeVar("Record", bound=BaseModel)
Fraction = Annotated[float, Field(ge=0, le=1)]
StopReason = Literal["schedule", "patience", "interrupt"]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
PixelCount = Annotated[int, Field(ge=0, le=2**53)]
"""Number of pixels; float64 represents every integer up to the upper bound exactly."""

MAX_SCORES_BYTES: Final = 2**30
MAX_FACTS_BYTES: Final = 2**22
MAX_CSV_BYTES: Final = 2**28
_HISTORY_FORMAT: Final = "a training history as written by train"
_SPLIT_FORMAT: Final = "a list of training and validation pairs as written by train"


class DamagedRunFile(InputError):
    """Raised if a file of a run is damaged, so that its content cannot have been written by training."""

    text = (
        "{file}: {found}; expected {expected}. Restore the file or train again; "
        "to make a report without it, delete the file."
    )


class ClassPixels(BaseModel, frozen=True, extra="forbid"):
    """Pixel counts of each class in one image. The scores of several images are computed from the sums of their
    counts."""

    true_positives: tuple[PixelCount, ...]
    truth: tuple[PixelCount, ...]
    predicted: tuple[PixelCount, ...]

    @classmethod
    def from_confusion(cls, confusion: np.ndarray) -> "ClassPixels":
        """Compute the counts from a confusion matrix (classes, classes) whose rows are the ground truth classes."""
        return cls(
            true_positives=tuple(confusion.diagonal().tolist()),
            truth=tuple(confusion.sum(axis=1).tolist()),
            predicted=tuple(confusion.sum(axis=0).tolist()),
        )

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Return the numbers of true positive, ground truth and predicted pixels as rows (3, classes)."""
        return self.true_positives, self.truth, self.predicted


class ImageScore(BaseModel, frozen=True, extra="forbid"):
    """Scores of one image; ``mean_iou`` is None if no class occurs in its ground truth or predicted mask."""

    name: str
    mean_iou: Fraction | None
    pixel_accuracy: Fraction | None
    pixels: ClassPixels
    seconds: Seconds
    """Prediction time in seconds, excluding file reading. For the first image of each size, most of it is
    compilation."""


class RunScores(BaseModel, frozen=True, extra="forbid"):
    """Content of ``scores.json``: the scores of a set of images and of each image in it."""

    mean_precision: Fraction | None
    """Mean precision over the IoU thresholds 0.50, 0.55, ..., 0.95; None unless the labels are the background and one
    class."""
    scores: Scores
    images: tuple[ImageScore, ...]
    failures: tuple[str, ...]
    """Error messages of pairs that could not be scored."""
    left_out: tuple[str, ...]
    """Images without a mask, and masks without an image."""

    @model_validator(mode="after")
    def _counts_add_up(self) -> "RunScores":
        classes = len(self.scores.classes)
        confusion = self.scores.confusion
        if len(confusion) != classes or any(len(row) != classes for row in confusion):
            raise ValueError("the confusion matrix must have a row and a column for each class")
        counts = [image.pixels.rows() for image in self.images]
        if any(len(row) != classes for rows in counts for row in rows):
            raise ValueError("the pixel counts of each image must have an entry for each class")
        matrix = np.array(confusion, object).reshape(classes, classes)  # Python integers cannot overflow
        total = [matrix.diagonal().tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()]
        if np.array(counts, np.int64).reshape(-1, 3, classes).sum(axis=0).tolist() != total:
            raise ValueError("the pixel counts of the images do not add up to the confusion matrix")
        return self


class RunFacts(BaseModel, frozen=True, extra="forbid"):
    """Content of ``run.json``: duration and outcome of training, package versions and machine."""

    command: str
    stopped_by: StopReason
    seconds: Seconds
    steps: NonNegativeInt
    best_step: NonNegativeInt
    nan_recoveries: tuple[str, ...] = ()
    """One sentence for each time that training returned to a checkpoint because the loss was not finite."""
    intermediate_validation: str | None = None
    """Description of the subset of images used in intermediate validations; None if all images were used."""
    validation_mean_iou: Fraction | None
    validation_pixel_accuracy: Fraction | None
    parameters: NonNegativeInt
    precision: str
    backend: str
    versions: Mapping[str, str]
    machine: str


class Epoch(BaseModel):
    """One row of ``history.csv`` without the columns for individual classes. Scores are None in epochs without
    validation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: NonNegativeInt
    step: NonNegativeInt
    seconds: Seconds
    """Time in seconds since the start of training."""
    learning_rate: FiniteFloat
    loss: FiniteFloat | None
    """Mean training loss of the epoch; None if no step was completed since the previous row."""
    val_mean_iou: Fraction | None
    val_pixel_accuracy: Fraction | None
    val_dice: Fraction | None = None
    val_mean_precision: Fraction | None = None


def write_scores(file: Path, scores: RunScores) -> None:
    """Write ``scores.json`` atomically."""
    write_json(file, scores.model_dump(mode="json"))


def read_scores(file: Path) -> RunScores:
    """Read ``scores.json``.

    Raises:
        DamagedRunFile: The file is damaged, or the pixel counts in it are inconsistent.
        OSError: The file is missing or cannot be read.
    """
    return _read_json(RunScores, file, most=MAX_SCORES_BYTES, expected="scores as written by train or tune")


def write_facts(file: Path, facts: RunFacts) -> None:
    """Write ``run.json`` atomically, without fields that have their default values."""
    write_json(file, facts.model_dump(mode="json", exclude_defaults=True))


def read_facts(file: Path) -> RunFacts:
    """Read ``run.json``.

    Raises:
        DamagedRunFile: The file is damaged.
        OSError: The file is missing or cannot be read.
    """
    return _read_json(RunFacts, file, most=MAX_FACTS_BYTES, expected="run facts as written by train")


def write_tuning(file: Path, tuning: TuningRecord) -> None:
    """Write ``tuning.json`` atomically."""
    write_json(file, tuning.model_dump(mode="json"))


def read_tuning(file: Path) -> TuningRecord:
    """Read ``tuning.json``.

    Raises:
        DamagedRunFile: The file is damaged.
        OSError: The file is missing or cannot be read.
    """
    return _read_json(TuningRecord, file, most=MAX_FACTS_BYTES, expected="a result of tuning as written by tune")


def write_history(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write ``history.csv`` atomically. Each row has the fields of `Epoch`; additional columns are also written."""
    for row in rows:
        Epoch.model_validate(row)
    write_csv(file, rows)


def read_history(file: Path) -> tuple[Epoch, ...]:
    """Read ``history.csv``.

    Raises:
        DamagedRunFile: The file is damaged.
        OSError: The file is missing or cannot be read.
    """
    return tuple(_read_csv(Epoch, file, expected=_HISTORY_FORMAT))


class SplitRow(BaseModel, frozen=True, extra="forbid"):
    """One row of ``split.csv``: an image, its mask, and the side of the split that they belong to."""

    name: str
    split: Literal["train", "validation"]
    image: Path
    mask: Path


def write_split(file: Path, *, train: Sequence[Pair], validation: Sequence[Pair]) -> None:
    """Write ``split.csv`` atomically."""
    sides = [(pair, "train") for pair in train] + [(pair, "validation") for pair in validation]
    write_csv(file, [{"name": p.name, "split": side, "image": str(p.image), "mask": str(p.mask)} for p, side in sides])


def read_split(file: Path) -> dict[str, list[Pair]]:
    """Read the pairs of the sides ``train`` and ``validation`` from ``split.csv``.

    Raises:
        DamagedRunFile: The file is damaged.
        OSError: The file is missing or cannot be read.
    """
    sides: dict[str, list[Pair]] = {"train": [], "validation": []}
    for row in _read_csv(SplitRow, file, expected=_SPLIT_FORMAT):
        sides[row.split].append(Pair(row.name, row.image, row.mask))
    return sides


def write_csv(file: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with equal keys to a CSV file with a header atomically. None is written as an empty cell."""
    text = io.StringIO(newline="")
    sink = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    sink.writeheader()
    sink.writerows(rows)
    write_text(file, text.getvalue())


def _read_json(record: type[Record], file: Path, *, most: int, expected: str) -> Record:
    content = _read_bounded(file, most=most, expected=expected)
    try:
        return record.model_validate_json(content)
    except ValidationError as error:
        raise DamagedRunFile(file=file, found=_first_fault(error), expected=expected) from None


def _read_csv(record: type[Record], file: Path, *, expected: str) -> Iterator[Record]:
    """Yield the rows of a CSV file with a header. Empty cells are read as None, and unknown columns are ignored."""
    content = _read_bounded(file, most=MAX_CSV_BYTES, expected=expected)
    rows = csv.DictReader(io.StringIO(_decode(file, content, expected), newline=""))
    try:
        for row in rows:
            yield record.model_validate({name: row[name] or None for name in record.model_fields.keys() & row.keys()})
    except ValidationError as error:
        found = f"line {rows.line_num}: {_first_fault(error)}"
        raise DamagedRunFile(file=file, found=found, expected=expected) from None
    except csv.Error as error:
        raise DamagedRunFile(file=file, found=f"line {rows.line_num}: {error}", expected=expected) from None


def _decode(file: Path, content: bytes, expected: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DamagedRunFile(file=file, found=str(error), expected=expected) from None


def _read_bounded(file: Path, *, most: int, expected: str) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise DamagedRunFile(file=file, found=f"more than {most} bytes", expected=expected)
    return content


def _first_fault(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else str(first["msg"])
