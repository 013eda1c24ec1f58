import pytest

from maskwright.training.run_lock import RunInUse, alone


def test_a_run_is_written_by_one_at_a_time(tmp_path):
    with alone(tmp_path / "run"):
        with pytest.raises(RunInUse, match=r"run: another training is writing this run"), alone(tmp_path / "run"):
            pass
        with alone(tmp_path / "other"):
            pass
    with alone(tmp_path / "run"):
        pass
