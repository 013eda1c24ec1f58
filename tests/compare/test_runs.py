"""Reading a finished run for a comparison."""

import numpy as np
import pytest

from maskwright.compare.errors import UnfinishedRun
from maskwright.compare.runs import read_run
from maskwright.inference.engines.engine import NotARun
from maskwright.training.run_records import DamagedRunFile
from tests.compare.runs_to_compare import counts, drawn_masks, write_run

MASKS = drawn_masks(["a", "b/c"], wrong=0.4)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", MASKS)


def test_pixel_counts_history_and_costs_are_read(run):
    read = read_run(run)
    expected = [[list(part) for part in counts(*pair, 3).values()] for pair in MASKS.values()]
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.images == ("a", "b/c")
    assert (read.classes, read.background) == (("background", "cell", "fibre"), True)
    assert read.seconds == (0.02, 0.02)
    assert (read.file_bytes, read.facts.steps, read.facts.backend) == (1_500_000, 1234, "jax")
    assert [(epoch.seconds, epoch.val_mean_iou) for epoch in read.history] == [(60, 0.4), (120, None), (180, 0.6)]


@pytest.mark.parametrize(
    "missing", ["bundle.json", "split.csv", "history.csv", "model.keras", "scores.json", "run.json"]
)
def test_an_unfinished_run_is_an_error_with_the_missing_file_and_the_resume_command(run, missing):
    (run / missing).unlink()
    with pytest.raises(UnfinishedRun, match=rf"run: .*{missing}.*--resume --out .*run"):
        read_run(run)


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(NotARun, match="nowhere"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["scores.json", "history.csv", "run.json", "split.csv"])
def test_a_damaged_file_is_an_error_that_names_it(run, file):
    (run / file).write_text("{}\n{}\n")
    with pytest.raises(DamagedRunFile, match=rf"run/{file}: "):
        read_run(run)
