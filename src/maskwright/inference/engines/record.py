"""The record of an exported engine: its runtime, its precision and the checks at export, in one JSON file."""

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
    """A file of an engine that cannot be used."""

    text = "{file}: cannot be opened as an engine ({found}); export the run again."


class ExportBounds(JsonRecord):
    """The largest allowed differences between an engine and the network it was exported from."""

    largest_difference: float
    """Between two probabilities of a pixel."""
    changed_pixels: float
    """Fraction, in [0, 1], of the pixels whose class differs."""
    score: float
    """Difference of the mean IoU over the validation pairs, in [0, 1]."""
    may_rise: bool = False
    """Whether the bound on the mean IoU applies to a decrease only."""


class ExportChecks(JsonRecord):
    """Measurements at export, on the run's own validation pairs."""

    compared_images: int
    """Images that both the network and the engine predicted."""
    compared_pixels: int
    """Pixels of these images, padding included."""
    largest_difference: float
    """Between two probabilities of a pixel."""
    changed_pixels: float
    """Fraction, in [0, 1], of the pixels whose class differs."""
    scored_pairs: int
    """All validation pairs of the run."""
    run_mean_iou: float | None
    """Mean IoU of the run's network over these pairs, at the end of its training."""
    engine_mean_iou: float | None
    """Mean IoU of the engine, opened from its folder."""
    bounds: ExportBounds
    """The bounds that were applied."""


class EngineRecord(JsonRecord):
    """The ``engine.json`` of an exported engine."""

    unreadable: ClassVar[type[InputError]] = UnreadableEngine

    format: Literal[1] = 1
    runtime: Runtime
    precision: EnginePrecision
    """bf16 falls back to f32 on a processor without it; the layers that int8 excludes compute in bf16 or f32."""
    model: str = Field(pattern=r"^\w+(\.\w+)?$")
    """The file or folder, next to the record, that the runtime opens."""
    weights: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the model's files."""
    rewritten: bool
    """Whether the graph was rewritten for speed, which changes results by rounding only."""
    reverted: tuple[str, ...] = ()
    """Layers that int8 would have changed too much, largest change first; they compute in bf16 or f32."""
    mask_values: dict[str, str]
    """Meaning of the training masks' values."""
    mask_suffix: str
    """Suffix of the training masks' stems, in addition to the image's."""
    versions: dict[str, str]
    """Versions of the packages that exported it."""
    checks: ExportChecks | None = None
    """Written after the engine has passed them."""

    def write(self, folder: Path) -> None:
        """Write ``folder/engine.json``."""
        self.write_file(folder / ENGINE_FILE)

    @classmethod
    def read(cls, folder: Path) -> "EngineRecord":
        """Read the record in ``folder``.

        Raises:
            UnreadableEngine: The file is damaged, or of a later format.
        """
        return cls.read_file(folder / ENGINE_FILE)


def model_digest(folder: Path, model: str) -> str:
    """Return the SHA-256 of the names and contents of a model's files in ``folder``: its stem with any suffix."""
    name, digest = Path(model).stem, hashlib.sha256()
    files = (path for start in folder.glob(f"{name}*") if start.stem == name for path in (start, *start.rglob("*")))
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_exported(folder: str | Path) -> bool:
    """Whether ``folder`` holds an exported engine."""
    return (Path(folder) / ENGINE_FILE).is_file()


def check_channels(file: Path, *, found: tuple[object, object], expected: tuple[int, int]) -> None:
    """Check a model's numbers of input and output channels against its bundle; a dynamic number passes.

    Raises:
        UnreadableEngine: They differ.
    """
    if any(isinstance(has, int) and has != wanted for has, wanted in zip(found, expected, strict=True)):
        text = f"it has {found[0]} input and {found[1]} output channels, its bundle {expected[0]} and {expected[1]}"
        raise UnreadableEngine(file=file, found=text)
