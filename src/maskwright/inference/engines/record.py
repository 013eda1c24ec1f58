"""What lies in an engine's folder beside its bundle: one JSON file of what it is and how well it agreed at export."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskwright.errors import InputError

ENGINE_FILE = "engine.json"

Runtime = Literal["openvino", "onnx", "litert", "saved_model"]
EnginePrecision = Literal["f32", "bf16", "int8"]


class UnreadableEngine(InputError):
    """A file of an engine that cannot be used."""

    text = "{file}: cannot be opened as an engine ({found}); export the run again."


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(_Record):
    """The most by which an engine may differ from the network it was made of."""

    largest_difference: float
    """Of any probability of any pixel."""
    changed_pixels: float
    """Share of pixels, in [0, 1], that another class is decided for."""
    score: float
    """Of the mean IoU over the validation pairs, in [0, 1]."""
    may_rise: bool = False
    """Whether the mean IoU is bound only in how far it may fall, not in how far it may rise."""


class ExportChecks(_Record):
    """What was found at export, on the run's own validation pairs."""

    compared_images: int
    """Images that both the network and the engine predicted."""
    compared_pixels: int
    """Their pixels, padding included."""
    largest_difference: float
    """Between two probabilities of one pixel."""
    changed_pixels: float
    """Share of pixels, in [0, 1], that another class was decided for."""
    scored_pairs: int
    """Validation pairs: all the run has."""
    run_mean_iou: float | None
    """What the run's own network scored on them when it was trained."""
    engine_mean_iou: float | None
    """What the engine scored, opened from this folder."""
    bounds: Bounds
    """What was allowed."""


class EngineRecord(_Record):
    """An engine's ``engine.json``."""

    format: Literal[1] = 1
    kind: Runtime
    """What computes it."""
    precision: EnginePrecision
    """What it computes in; bf16 becomes f32 on a processor without it, and int8 computes the rest in bf16 or f32."""
    model: str = Field(pattern=r"^\w+(\.\w+)?$")
    """The file or folder, beside this one, that the runtime opens."""
    weights: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 over the model's files."""
    rewritten: bool
    """Whether the graph was rewritten for speed, which changes no result but for rounding."""
    reverted: tuple[str, ...] = ()
    """Layers that int8 would have cost too much, costliest first; they compute in bf16 or f32."""
    mask_values: dict[str, str]
    """What the values of masks mean, as in training."""
    mask_suffix: str
    """What mask stems carry beyond the image's, as in training."""
    versions: dict[str, str]
    """Of the packages that made it."""
    checks: ExportChecks | None = None
    """Filled in when the engine was found to agree."""

    def write(self, folder: Path, write: Callable[[Path, str], None]) -> None:
        """Store as ``folder/engine.json`` through ``write``."""
        write(folder / ENGINE_FILE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "EngineRecord":
        """The record in ``folder``.

        Raises:
            UnreadableEngine: The file is damaged, or of a later format.
        """
        file = folder / ENGINE_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UnreadableEngine(file=file, found=f"{where}: {first['msg']}".removeprefix(": ")) from None
        except OSError as error:
            raise UnreadableEngine(file=file, found=error.strerror) from None


def model_digest(folder: Path, model: str) -> str:
    """SHA-256 over the names and contents of the files of a model in ``folder``: those named as it, by any suffix."""
    name, digest = Path(model).stem, hashlib.sha256()
    files = (path for start in folder.glob(f"{name}*") if start.stem == name for path in (start, *start.rglob("*")))
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_exported(folder: str | Path) -> bool:
    """Whether ``folder`` holds an engine that predicts without Keras."""
    return (Path(folder) / ENGINE_FILE).is_file()


def check_channels(file: Path, *, found: tuple[object, object], expected: tuple[int, int]) -> None:
    """Refuse a model whose channels (in, out) are not those its bundle tells; one that does not tell its own passes.

    Raises:
        UnreadableEngine: They differ.
    """
    if any(isinstance(has, int) and has != says for has, says in zip(found, expected, strict=True)):
        text = (
            f"it has {found[0]} input and {found[1]} output channels, its bundle says {expected[0]} and {expected[1]}"
        )
        raise UnreadableEngine(file=file, found=text)
