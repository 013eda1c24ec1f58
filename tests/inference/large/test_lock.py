import errno

import pytest

from maskwright.inference.large.lock import BeingPredicted, held


def refusing(number):
    def refuse(descriptor):
        raise OSError(number, "Function not implemented")

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_no_hindrance(tmp_path, monkeypatch, number):
    monkeypatch.setattr("maskwright.images.file_lock._lock", refusing(number))
    lines = []
    with held(tmp_path / "a.tif", say=lines.append):
        pass
    [line] = lines
    assert line.endswith(
        "a.tif: cannot be locked here (Function not implemented); see that no other process predicts into it."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_that_is_held_is_refused(tmp_path, monkeypatch, number):
    monkeypatch.setattr("maskwright.images.file_lock._lock", refusing(number))
    with pytest.raises(BeingPredicted, match="another process is predicting into it"), held(tmp_path / "a.tif"):
        pass
