"""The record of an exported engine: a JSON file with its runtime, its precision and the checks made at export."""

import hashlib
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field

from maskwright.errors import InputError
from maskwright.inference.json_record import JsonRecord

ENGINE_FILE: Final = "engine.json"

Runtime = Literal["openvino", "onnx", "litert", "saved_model"]
EnginePrecision = Literal["f32", "bf16", "int8"]


class UnreadableEngine(InputError):
    """A missing or invalid file of an engine."""

    text = "{file}: cannot be opened as an engine ({found}); export the run again."


class ExportBounds(JsonRecord):
    """The largest allowed differences between an engine and the network from which it was exported."""

    largest_difference: float
    """Largest difference between the probabilities that the network and the engine predict for a pixel, in [0, 1]."""
    changed_pixels: float
    """Fraction of pixels whose class differs between the network and the engine, in [0, 1]."""
    score: float
    """Difference in mean IoU over the validation pairs, in [0, 1]."""
    may_rise: bool = False
    """Whether the bound on the mean IoU applies only to a decrease."""


class ExportChecks(JsonRecord):
    """Measurements made at export on the validation pairs of the run."""

    compared_images: int
    """Number of images for which masks were predicted by both the network and the engine."""
    compared_pixels: int
    """Number of pixels of the compared images, including padding."""
    largest_difference: float
    """Largest difference between the probabilities that the network and the engine predict for a pixel, in [0, 1]."""
    changed_pixels: float
    """Fraction of pixels whose class differs between the network and the engine, in [0, 1]."""
    scored_pairs: int
    """Number of validation pairs of the run."""
    run_mean_iou: float | None
    """Mean IoU of the network over the validation pairs at the end of training."""
    engine_mean_iou: float | None
    """Mean IoU of the exported engine over the validation pairs."""
    bounds: ExportBounds
    """Bounds that were applied to the differences at export."""


class EngineRecord(JsonRecord):
    """The contents of the ``engine.json`` file of an exported engine."""

    unreadable: ClassVar[type[InputError]] = UnreadableEngine

    format: Literal[1] = 1
    runtime: Runtime
    precision: EnginePrecision
    """Numeric precision; layers excluded from int8 use bf16, and f32 replaces bf16 on processors without it."""
    model: str = Field(pattern=r"^\w+(\.\w+)?$")
    """Name of the file or folder next to the record that the runtime opens."""
    weights: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 digest of the model files."""
    rewritten: bool
    """Whether the graph was rewritten for speed, which changes only the rounding of results."""
    reverted: tuple[str, ...] = ()
    """Layers excluded from int8 because it would have changed them too much, largest change first."""
    mask_values: dict[str, str]
    """Meaning of the values in the training masks."""
    mask_suffix: str
    """Suffix that the file stems of the training masks add to those of the images."""
    versions: dict[str, str]
    """Versions of the packages used for the export."""
    checks: ExportChecks | None = None
    """Checks that the engine passed at export."""

    def write(self, folder: Path) -> None:
        """Write ``folder/engine.json``."""
        self.write_file(folder / ENGINE_FILE)

    @classmethod
    def read(cls, folder: Path) -> "EngineRecord":
        """Read the record in ``folder``.

        Raises:
            UnreadableEngine: The file is missing, is damaged or has a later format.
        """
        return cls.read_file(folder / ENGINE_FILE)


def model_digest(folder: Path, model: str) -> str:
    """Return the SHA-256 digest of the names and contents of all files in ``folder`` with the stem of ``model``."""
    name, digest = Path(model).stem, hashlib.sha256()
    files = (path for start in folder.glob(f"{name}*") if start.stem == name for path in (start, *start.rglob("*")))
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_exported(folder: str | Path) -> bool:
    """Return whether ``folder`` contains an exported engine."""
    return (Path(folder) / ENGINE_FILE).is_file()


def check_channels(file: Path, *, found: tuple[object, object], expected: tuple[int, int]) -> None:
    """Check the numbers of input and output channels of a model against its bundle; dynamic numbers are accepted.

    Raises:
        UnreadableEngine: The numbers of channels differ.
    """
    if any(isinstance(has, int) and has != wanted for has, wanted in zip(found, expected, strict=True)):
        text = f"it has {found[0]} input and {found[1]} output channels, its bundle {expected[0]} and {expected[1]}"
        raise UnreadableEngine(file=file, found=text)
