"""Several networks as one: their probabilities are averaged, one network at a time in memory."""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskwright.errors import InputError
from maskwright.images.write import write_text
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.engines.engine import NETWORK_FILE, Engine, open_engine
from maskwright.inference.engines.record import is_exported
from maskwright.inference.test_time_augmentation import with_test_time_augmentation

ENSEMBLE_FILE: Final = "ensemble.json"
TUNING_FILE: Final = "tuning.json"
"""What its bundle was decided by, if it was, with every score."""
TUNING_PAGE: Final = "tuning.html"
"""The same, to look at."""

T = TypeVar("T")


class WrongEnsemble(InputError):
    """Networks that cannot be averaged, or a record of them that cannot be read."""

    text = "{folder}: not an ensemble that can be used: {found}; expected {expected}."


class FolderTaken(WrongEnsemble):
    """A folder that something else is in, or an ensemble without leave to replace it."""

    text = "{folder}: {found}; expected {expected}."


class EnsembleByWindows(InputError):
    """An image larger than memory, and more networks than one."""

    text = "{folder}: an ensemble predicts whole images; give a folder as --out, or one of its members in its place."


class Record(BaseModel):
    """``ensemble.json``: the folders of its members, from the ensemble's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    members: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Ensemble:
    """Networks that say the same classes of the same kind of image; ``bundle`` tells what is decided of their mean."""

    bundle: Bundle
    members: tuple[Path, ...]

    def each(self, use: Callable[[Engine], T]) -> Iterator[T]:
        """What ``use`` makes of each network in turn, which looks at images as the ensemble's bundle says.

        Each is let go of before the next is opened, so ``use`` must not keep it.
        """
        for folder in self.members:
            yield use(with_test_time_augmentation(open_engine(folder), self.bundle.tta))
            gc.collect()  # Keras' networks are in circles


def is_ensemble(folder: str | Path) -> bool:
    """Whether a folder holds the record of an ensemble."""
    return Path(folder, ENSEMBLE_FILE).is_file()


def check_ensemble_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something else than an ensemble, or one without leave to replace it.

    Raises:
        FolderTaken: It does.
    """
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name] if folder.exists() else []
    strange = [name for name in there if name not in (ENSEMBLE_FILE, BUNDLE_FILE, TUNING_FILE, TUNING_PAGE)]
    if strange or (there and not overwrite):
        expected = "a new or empty folder" if strange else "a new folder, or --overwrite"
        raise FolderTaken(folder=folder, found=f"it holds {', '.join(there[:5])}", expected=expected)


def read_ensemble(folder: Path) -> Ensemble:
    """The ensemble in ``folder``.

    Raises:
        WrongEnsemble: Its record is damaged, or a member is gone.
        UnreadableBundle: Its bundle, or a member's, is damaged.
    """
    try:
        record = Record.model_validate_json((folder / ENSEMBLE_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        found = " ".join(str(error).split())[:120]
        raise WrongEnsemble(folder=folder, found=found, expected=f"the {ENSEMBLE_FILE} of an ensemble") from None
    members = tuple(Path(os.path.normpath(folder / member)) for member in record.members)
    for member in members:
        if not member.is_dir():
            raise WrongEnsemble(folder=folder, found=f"its member {member} is missing", expected="all of its members")
    return Ensemble(Bundle.read(folder), members)


def check_compatible(folder: Path, members: Sequence[Path]) -> list[Bundle]:
    """The bundles of networks for the ensemble ``folder``, which say the same of the same images.

    Raises:
        WrongEnsemble: They are of other classes, channels or pixels.
        UnreadableBundle: The bundle of one is damaged.
    """
    bundles = [Bundle.read(member) for member in members]
    for member, other in zip(members, bundles, strict=True):
        for name in ("labels", "channels", "activation", "pixels"):
            if getattr(other, name) != getattr(bundles[0], name):
                found = f"{member} and {members[0]} differ in their {name}"
                raise WrongEnsemble(folder=folder, found=found, expected="networks of the same images and classes")
    return bundles


def network_folders(members: Sequence[Path]) -> list[Path]:
    """The folders of the networks of runs, engines and ensembles.

    Raises:
        WrongEnsemble: One is none of these.
    """
    return [one for member in members for one in _networks(member)]


def _networks(member: Path) -> Sequence[Path]:
    """The folders of a member: its own, or, of an ensemble, those of its members."""
    if is_ensemble(member):
        return read_ensemble(member).members
    if not (is_exported(member) or (member / NETWORK_FILE).is_file()):
        raise WrongEnsemble(folder=member, found="no network", expected="a finished run, an engine or an ensemble")
    return [member]


def write_ensemble(folder: Path, members: Sequence[Path], bundle: Bundle | None = None) -> Ensemble:
    """Make an ensemble of runs or engines in ``folder``, with the bundle of the first if none is given.

    Raises:
        WrongEnsemble: They are of other classes, channels or pixels.
        UnreadableBundle: The bundle of one is damaged.
    """
    members = network_folders(members)
    bundles = check_compatible(folder, members)
    if bundle is not None and bundle.labels != bundles[0].labels:
        raise WrongEnsemble(
            folder=folder, found="a decision for other classes", expected="one for those of its members"
        )
    record = Record(members=tuple(Path(os.path.relpath(member, folder)).as_posix() for member in members))
    bundle = bundle or bundles[0]
    folder.mkdir(parents=True, exist_ok=True)
    for name in (TUNING_FILE, TUNING_PAGE):  # of an ensemble that was here
        (folder / name).unlink(missing_ok=True)
    bundle.write(folder)
    write_text(folder / ENSEMBLE_FILE, record.model_dump_json(indent=2))  # last: it is what makes the folder one
    return Ensemble(bundle, tuple(members))
