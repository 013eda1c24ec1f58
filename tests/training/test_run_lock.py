import pytest

from maskwright.training.run_lock import RunInUse, run_lock


def test_a_run_has_one_lock_at_a_time(tmp_path):
    with run_lock(tmp_path / "run"):
        with pytest.raises(RunInUse, match=r"run: another process is training"), run_lock(tmp_path / "run"):
            pass
        with run_lock(tmp_path / "other"):
            pass
    with run_lock(tmp_path / "run"):
        pass
