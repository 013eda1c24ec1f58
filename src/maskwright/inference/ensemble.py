"""Ensembles, which average the probabilities of several networks with one network in memory at a time."""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

from pydantic import Field

from maskwright.errors import InputError
from maskwright.images.output_folder import check_output_folder
from maskwright.inference.bundle import BUNDLE_FILE, Bundle
from maskwright.inference.device import Device
from maskwright.inference.engines.engine import NETWORK_FILE, Engine, open_engine
from maskwright.inference.engines.record import is_exported
from maskwright.inference.json_record import JsonRecord
from maskwright.inference.test_time_augmentation import with_test_time_augmentation

ENSEMBLE_FILE: Final = "ensemble.json"
TUNING_FILE: Final = "tuning.json"
"""Name of the file with the result and all scores of tuning, which exists only if the ensemble was tuned."""
TUNING_PAGE: Final = "tuning.html"
"""Name of the HTML page with the result of tuning."""
_FILES: Final = frozenset({ENSEMBLE_FILE, BUNDLE_FILE, TUNING_FILE, TUNING_PAGE})

T = TypeVar("T")


class WrongEnsemble(InputError):
    """Networks whose probabilities cannot be averaged, or an ensemble with a damaged record."""

    text = "{folder}: not a usable ensemble: {found}; expected {expected}."


class UnreadableEnsemble(WrongEnsemble):
    """An ``ensemble.json`` file that this version of the package cannot read."""

    text = "{file}: not an ensemble this version can read ({found}); expected a file written by `maskwright ensemble`."


class EnsembleByWindows(InputError):
    """An ensemble requested for prediction by windows, which requires a single network."""

    text = "{folder}: an ensemble predicts whole images; give a folder as --out, or one of its members instead."


class EnsembleRecord(JsonRecord):
    """The contents of ``ensemble.json``: the folders of the members, relative to the folder of the ensemble."""

    unreadable: ClassVar[type[InputError]] = UnreadableEnsemble

    format: Literal[1] = 1
    members: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Ensemble:
    """Networks for the same classes and kind of image; ``bundle`` applies to the mean of their probabilities."""

    bundle: Bundle
    members: tuple[Path, ...]
    device: Device | None = None
    """Device on which all networks compute; if absent, each framework or runtime chooses the device."""

    def each(self, use: Callable[[Engine], T]) -> Iterator[T]:
        """Yield the result of ``use`` for each network in turn, with the ensemble's test-time augmentation.

        Each network is released before the next is opened, so ``use`` must not keep a reference to it.
        """
        for folder in self.members:
            yield use(with_test_time_augmentation(open_engine(folder, device=self.device), self.bundle.tta))
            gc.collect()  # Keras networks contain reference cycles


def remove_tuning_files(folder: Path) -> None:
    """Remove the results of an earlier tuning from the folder of a run or an ensemble, if there are any."""
    for name in (TUNING_FILE, TUNING_PAGE):
        (folder / name).unlink(missing_ok=True)


def is_ensemble(folder: str | Path) -> bool:
    """Return whether a folder contains the record of an ensemble."""
    return Path(folder, ENSEMBLE_FILE).is_file()


def check_ensemble_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that an ensemble may be written to a folder.

    Raises:
        OutputExists: The folder contains an ensemble, and ``overwrite`` is false.
        OutputNotEmpty: The folder contains files that do not belong to an ensemble.
    """
    check_output_folder(folder, kind="an ensemble", is_kind=_holds_ensemble_only, overwrite=overwrite)


def _holds_ensemble_only(folder: Path) -> bool:
    return {path.name for path in folder.iterdir() if path.name[0] != "."} <= _FILES


def read_ensemble(folder: Path) -> Ensemble:
    """Read the ensemble in ``folder``.

    Raises:
        WrongEnsemble: The record of the ensemble is damaged, or a member is missing.
        UnreadableBundle: The bundle of the ensemble is damaged.
    """
    record = EnsembleRecord.read_file(folder / ENSEMBLE_FILE)
    members = tuple(Path(os.path.normpath(folder / member)) for member in record.members)
    for member in members:
        if not member.is_dir():
            raise WrongEnsemble(folder=folder, found=f"its member {member} is missing", expected="all of its members")
    return Ensemble(Bundle.read(folder), members)


def check_compatible(folder: Path, members: Sequence[Path]) -> list[Bundle]:
    """Check that the networks in ``members`` can form the ensemble ``folder``, and return their bundles.

    Raises:
        WrongEnsemble: The networks differ in their classes, activations, channels or pixel data types.
        UnreadableBundle: The bundle of a network is damaged.
    """
    bundles = [Bundle.read(member) for member in members]
    for member, bundle in zip(members, bundles, strict=True):
        for name in ("labels", "channels", "activation", "pixels"):
            if getattr(bundle, name) != getattr(bundles[0], name):
                found = f"{member} and {members[0]} differ in their {name}"
                raise WrongEnsemble(folder=folder, found=found, expected="networks of the same images and classes")
    return bundles


def network_folders(members: Sequence[Path]) -> list[Path]:
    """Return the network folders of the given runs, engines and ensembles.

    Raises:
        WrongEnsemble: A member is neither a run nor an engine nor an ensemble.
    """
    return [network for member in members for network in _network_folders(member)]


def _network_folders(member: Path) -> Sequence[Path]:
    """Return the member folders of an ensemble, or the given folder if it is a run or an engine."""
    if is_ensemble(member):
        return read_ensemble(member).members
    if not (is_exported(member) or (member / NETWORK_FILE).is_file()):
        raise WrongEnsemble(folder=member, found="no network", expected="a finished run, an engine or an ensemble")
    return [member]


def write_ensemble(folder: Path, members: Sequence[Path], bundle: Bundle | None = None) -> Ensemble:
    """Write an ensemble of runs or engines to ``folder``, by default with the bundle of the first member.

    Raises:
        WrongEnsemble: The networks differ in their classes, activations, channels or pixel data types.
        UnreadableBundle: The bundle of a network is damaged.
    """
    members = network_folders(members)
    bundles = check_compatible(folder, members)
    if bundle is not None and bundle.labels != bundles[0].labels:
        raise WrongEnsemble(folder=folder, found="a bundle of other classes", expected="the classes of its members")
    record = EnsembleRecord(members=tuple(Path(os.path.relpath(member, folder)).as_posix() for member in members))
    bundle = bundle or bundles[0]
    folder.mkdir(parents=True, exist_ok=True)
    remove_tuning_files(folder)
    bundle.write(folder)
    record.write_file(folder / ENSEMBLE_FILE)  # last, because it marks the folder as an ensemble
    return Ensemble(bundle, tuple(members))
