"""What a run must hold to be compared, and what is said of one that does not."""

import json

import numpy as np
import pytest

from maskwright.compare.errors import DamagedRun, NoCounts, UnfinishedRun
from maskwright.compare.runs import read_run
from maskwright.inference.engines.engine import NotARun
from tests.compare.runs_to_compare import change_json, counts, drawn_masks, write_run

MASKS = drawn_masks(["a", "b/c"], wrong=0.4)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", MASKS)


@pytest.mark.parametrize("counted", [True, False])
def test_counts_are_read_or_taken_again_from_the_masks(tmp_path, counted):
    read = read_run(write_run(tmp_path / "run", MASKS, counted=counted))
    expected = [[list(part) for part in counts(*pair, 3).values()] for pair in MASKS.values()]
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.images == ("a", "b/c")
    assert (read.classes, read.background) == (("background", "cell", "fibre"), True)
    assert read.seconds == ((0.02, 0.02) if counted else (None, None))
    assert (read.file_bytes, read.facts.steps, read.facts.backend) == (1_500_000, 1234, None)
    assert [(epoch.seconds, epoch.mean_iou) for epoch in read.history] == [(60, 0.4), (120, None), (180, 0.6)]


@pytest.mark.parametrize(
    "missing", ["bundle.json", "split.csv", "history.csv", "model.keras", "scores.json", "run.json"]
)
def test_a_run_that_has_not_finished_is_named_with_its_way_out(run, missing):
    (run / missing).unlink()
    with pytest.raises(UnfinishedRun, match=rf"run: has not finished, {missing} is missing; .*--resume --out .*run"):
        read_run(run)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(NotARun, match=r"nowhere: not a run: there is no such folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("scores.json", "{}", "ValidationError"),
        ("history.csv", "epoch\n1\n", "KeyError: 'step'"),
        ("run.json", "[]", "TypeError: list in place of an object"),
        ("run.json", '{"steps": "many"}', "steps: Input should be a valid integer"),
    ],
)
def test_a_damaged_file_is_named(run, file, content, found):
    (run / file).write_text(content)
    with pytest.raises(DamagedRun, match=rf"run: cannot be compared, {file}: .*{found}.*Compare without this run\."):
        read_run(run)


def more_hits(stored):
    stored["images"][0]["pixels"]["true_positives"][1] += 1


def fewer_classes(stored):
    for part in stored["images"][0]["pixels"].values():
        part.pop()


def negative(stored):
    for image, change in zip(stored["images"], (-10_000, 10_000), strict=True):
        image["pixels"]["true_positives"][2] += change


def beyond_numbers(stored):
    stored["images"][0]["pixels"]["true_positives"][0] = 10**30


def ragged(stored):
    stored["scores"]["confusion"][0].append(0)


def no_images(stored):
    stored["images"] = []


def other_name_count(stored):
    stored["scores"]["classes"].pop()


@pytest.mark.parametrize(
    "damage", [more_hits, fewer_classes, negative, beyond_numbers, ragged, no_images, other_name_count]
)
def test_counts_that_do_not_add_up_are_refused(run, damage):
    stored = json.loads((run / "scores.json").read_text())
    damage(stored)
    change_json(run / "scores.json", **stored)
    with pytest.raises(DamagedRun, match=r"run: .*scores\.json: the counts of the images do not add up to the scores"):
        read_run(run)


def test_an_older_run_whose_masks_are_gone_says_so(tmp_path):
    run = write_run(tmp_path / "run", MASKS, counted=False)
    (tmp_path / "run-data/a.png").unlink()
    with pytest.raises(NoCounts, match=r"run: scores\.json is of an older version .*a\.png.* Put the files back"):
        read_run(run)
    (run / "split.csv").write_text("name,split,image,mask\n")
    with pytest.raises(NoCounts, match=r"split\.csv has no image a\. Put the files back, or train again"):
        read_run(run)


def test_an_older_run_whose_masks_have_changed_is_refused(tmp_path):
    run = write_run(tmp_path / "run", MASKS, counted=False)
    (tmp_path / "run-data/a.png").write_bytes((tmp_path / "run-data/b/c.png").read_bytes())
    with pytest.raises(DamagedRun, match="do not add up"):
        read_run(run)
