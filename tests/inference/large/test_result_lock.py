import errno

import pytest

from maskwright.inference.large.result_lock import BeingPredicted, result_lock


def failing_with(number):
    def fail(descriptor):
        raise OSError(number, "Function not implemented")

    return fail


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch, number):
    monkeypatch.setattr("maskwright.images.file_lock._lock", failing_with(number))
    lines = []
    with result_lock(tmp_path / "a.tif", report=lines.append):
        pass
    [line] = lines
    assert "a.tif: cannot be locked (Function not implemented);" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_of_another_process_is_an_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr("maskwright.images.file_lock._lock", failing_with(number))
    with pytest.raises(BeingPredicted, match=r"a\.tif: another process"), result_lock(tmp_path / "a.tif"):
        pass
