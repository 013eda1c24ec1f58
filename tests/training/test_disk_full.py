import errno
from pathlib import Path

import numpy as np
import pytest

from maskwright.training.disk_full import WriteOrWarn, write_or_raise

FULL = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def fill():
    with FULL.open("wb") as file:
        np.savez(file, zeros=np.zeros(10**5))


@needs_full_device
def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.npz'") as caught:
        write_or_raise(tmp_path / "a.npz", fill)
    assert caught.value.errno == errno.ENOSPC


@needs_full_device
def test_a_full_disk_causes_one_warning_until_a_write_succeeds(tmp_path):
    warnings = []
    write, file = WriteOrWarn(warnings.append), tmp_path / "a.npz"
    assert [write(file, fill), write(file, fill)] == [False, False]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: {file} was not written, the disk has ")
    assert write(file, lambda: None)
    assert not write(file, fill)
    assert len(warnings) == 2


def test_a_limit_on_the_file_size_is_raised_with_the_name_of_the_file(tmp_path):
    def exceed():
        raise OSError(errno.EFBIG, "File too large")

    warnings = []
    with pytest.raises(OSError, match=r"a\.npz") as caught:
        WriteOrWarn(warnings.append)(tmp_path / "a.npz", exceed)
    assert caught.value.errno == errno.EFBIG
    assert warnings == []


def test_other_errors_are_raised(tmp_path):
    def forbidden():
        raise PermissionError(errno.EACCES, "Permission denied", "a.npz")

    with pytest.raises(PermissionError):
        WriteOrWarn(lambda line: None)(tmp_path / "a.npz", forbidden)
