"""Published files in Keras' cache: downloaded once, whole, checked, and the same ever after. Knows no Keras."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from maskwright.errors import InputError
from maskwright.images.file_lock import locked
from maskwright.weights.catalogue import PublishedFile
from maskwright.weights.http_transfer import Patience, Progress, Unreachable, discard, transfer

READ_BYTES: Final = 2**20


class UnreachableWeights(InputError):
    """A published file that cannot be downloaded now."""

    text = (
        "{address} could not be downloaded: {reason}. Where there is no network, put the file at {path} yourself: "
        "its {algorithm} is {digest}.{hint}"
    )


class WrongDigest(InputError):
    """A download whose bytes are not the published ones."""

    text = "{address}: the bytes that came have the {algorithm} {found}, expected {expected}; they were not kept."


class ChangedWeights(InputError):
    """A file that passes the publisher's check, but is not the one accepted here before."""

    text = (
        "{path}: its SHA-256 is {found}, but {expected} was accepted here before (noted in {memory}). "
        "Remove the file to download it afresh; remove the note only if you know why the file changed."
    )


class CacheUnusable(InputError):
    """A cache folder that cannot be read or written, or is full."""

    text = "{path} could not be stored: {reason}. Free space there, or let KERAS_HOME name a folder you may write in."


def cache_folder() -> Path:
    """Where Keras keeps published models: ``models`` in ``$KERAS_HOME``, or in ``~/.keras`` where that is not set.

    >>> cache_folder().name
    'models'
    """
    if home := os.environ.get("KERAS_HOME"):
        return Path(home) / "models"
    # As Keras does for users without a home of their own, so that what it downloaded is found.
    base = Path.home() if os.access(Path.home(), os.W_OK) else Path(tempfile.gettempdir())
    return base / ".keras" / "models"


def fetch(file: PublishedFile, *, folder: str | PathLike[str] | None = None, patience: Patience = Patience()) -> Path:
    """The path of ``file``, downloaded where ``folder`` does not hold it yet, with a bar where there is a terminal.

    A file already there is used if its digest is the published one, also one that another library downloaded. The
    SHA-256 first accepted is noted beside it, and what differs later is refused. A download that was cut goes on
    where it ended, in another process too; processes that start at once wait for the first.

    Args:
        file: A row of `PUBLISHED`.
        folder: Where to keep it; `cache_folder()` if None.
        patience: When to give up.

    Raises:
        UnreachableWeights: there is no network, or the server does not have the file; says where to put it by hand.
        WrongDigest: other bytes came than those published.
        ChangedWeights: the bytes are not those accepted before, though they pass the publisher's check.
        CacheUnusable: the folder cannot be read or written, or is full.
        OversizedFile: the server sends more than a gibibyte.
        UnsafeAddress: the server leads to an address that is not https.
    """
    target = Path(cache_folder() if folder is None else folder) / file.name
    try:
        if not _is_published(target, file, target=target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _bar(file.name) as progress, locked(target.with_name(f"{target.name}.lock"), busy=None):
                if not _is_published(target, file, target=target):  # nobody else fetched it while this one waited
                    _download(file, target, patience=patience, progress=progress)
    except OSError as error:
        raise CacheUnusable(path=target, reason=error.strerror or error) from error
    return target


def _download(file: PublishedFile, target: Path, *, patience: Patience, progress: Progress) -> None:
    part = target.with_name(f"{target.name}.part")
    found = ""
    for _ in range(1 + part.exists()):  # what an earlier process left may be damaged: then once more from nothing
        try:
            transfer(file.address, part, patience=patience, progress=progress)
        except Unreachable as error:
            raise _unreachable(file, target, error) from error
        if _is_published(part, file, target=target):
            part.replace(target)
            discard(part)
            return
        found = _digests(part)[file.algorithm]
        discard(part)
    raise WrongDigest(address=file.address, algorithm=_spoken(file), found=found, expected=file.digest)


def _is_published(path: Path, file: PublishedFile, *, target: Path) -> bool:
    if not path.is_file():
        return False
    found = _digests(path)
    if not found[file.algorithm].startswith(file.digest):
        return False
    memory = target.with_name(f"{target.name}.sha256")
    noted = memory.read_text(encoding="utf-8").split() if memory.is_file() else []
    if noted and noted[0] != found["sha256"]:
        raise ChangedWeights(path=path, found=found["sha256"], expected=noted[0], memory=memory)
    if not noted:
        with suppress(OSError):  # a good file in a folder that only others may write in is still a good file
            memory.write_text(f"{found['sha256']}  {target.name}\n", encoding="utf-8")  # as sha256sum reads it
    return True


def _digests(path: Path) -> dict[str, str]:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            md5.update(chunk)
            sha256.update(chunk)
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _unreachable(file: PublishedFile, target: Path, reason: Unreachable) -> UnreachableWeights:
    hint = f" The file there now has {_digests(target)[file.algorithm]}." if target.is_file() else ""
    return UnreachableWeights(
        address=file.address,
        reason=reason,
        path=target,
        algorithm=_spoken(file),
        digest=file.digest or "not published",
        hint=hint,
    )


def _spoken(file: PublishedFile) -> str:
    return {"md5": "MD5", "sha256": "SHA-256 (from its start)"}[file.algorithm]


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"Downloading {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
