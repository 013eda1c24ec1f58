"""An error about a full disk names the file; other errors pass unchanged."""

import errno
from pathlib import Path

import pytest

from maskwright.images.disk_full import is_disk_full, naming_full_disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_an_exhausted_quota_and_a_size_limit_name_the_file(number):
    with pytest.raises(OSError, match=r"a\.npz") as caught, naming_full_disk(Path("a.npz")):
        raise OSError(number, "cannot write")
    assert (caught.value.errno, caught.value.filename) == (number, "a.npz")
    assert is_disk_full(caught.value)


def test_hdf5_errors_without_a_number_become_enospc():
    with pytest.raises(OSError, match=r"a\.h5") as caught, naming_full_disk(Path("a.h5")):
        raise OSError("write failed: errno = 28, error message = 'No space left on device'")
    assert caught.value.errno == errno.ENOSPC


def test_other_errors_pass_unchanged():
    error = PermissionError(errno.EACCES, "Permission denied", "b.npz")
    with pytest.raises(PermissionError) as caught, naming_full_disk(Path("a.npz")):
        raise error
    assert caught.value is error
