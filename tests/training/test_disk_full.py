import errno
from pathlib import Path

import numpy as np
import pytest

from maskwright.training.disk_full import Attempt, write_now

FULL = Path("/dev/full")
needs_a_full_device = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def fill():
    with FULL.open("wb") as file:
        np.savez(file, zeros=np.zeros(10**5))


@needs_a_full_device
def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.npz'") as caught:
        write_now(tmp_path / "a.npz", fill)
    assert caught.value.errno == errno.ENOSPC


@needs_a_full_device
def test_what_can_be_written_later_is_one_warning_until_there_was_room(tmp_path):
    said = []
    attempt, file = Attempt(said.append), tmp_path / "a.npz"
    assert [attempt(file, fill), attempt(file, fill)] == [False, False]
    assert len(said) == 1
    assert said[0].startswith(f"warning: {file} was not written, the disk has ")
    assert attempt(file, lambda: None)
    assert not attempt(file, fill)
    assert len(said) == 2


def test_another_failure_is_not_kept_quiet(tmp_path):
    def forbidden():
        raise PermissionError(errno.EACCES, "Permission denied", "a.npz")

    with pytest.raises(PermissionError):
        Attempt(lambda line: None)(tmp_path / "a.npz", forbidden)
