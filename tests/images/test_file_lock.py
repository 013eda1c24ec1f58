"""A lock excludes other processes, ends with its process, and leaves no file behind."""

import errno
import signal
import subprocess
import sys
import time

import pytest

from maskwright.errors import InputError
from maskwright.images.file_lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from maskwright.errors import InputError
from maskwright.images.file_lock import locked
with locked(Path(sys.argv[1]), busy=InputError(message="busy")):
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
"""


class Busy(InputError):
    text = "busy"


def holder(file, seconds):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(file), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"locked"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_releases_its_lock(tmp_path):
    file = tmp_path / "new" / "a.lock"
    process = holder(file, 60)
    with pytest.raises(Busy), locked(file, busy=Busy()):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert file.exists()
    with locked(file, busy=Busy()):
        pass
    assert not file.exists()


def test_without_a_busy_error_the_lock_is_waited_for(tmp_path):
    process = holder(tmp_path / "a.lock", 0.5)
    start = time.monotonic()
    with locked(tmp_path / "a.lock", busy=None):
        assert time.monotonic() - start > 0.2
    assert process.wait() == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_runs_the_block_and_reports_why(tmp_path, monkeypatch, number):
    def no_lock(descriptor):
        raise OSError(number, "Function not implemented")

    monkeypatch.setattr("maskwright.images.file_lock._lock", no_lock)
    reasons = []
    with locked(tmp_path / "a.lock", busy=Busy(), unsupported=reasons.append):
        assert reasons == ["Function not implemented"]
    assert list(tmp_path.iterdir()) == []
