"""Files of a run: each comes back as it was written, and a damaged one is an error that names it."""

import json

import pytest
from pydantic import ValidationError

from maskwright.data.pairs import Pair
from maskwright.training import run_records
from maskwright.training.run_records import (
    DamagedRunFile,
    read_facts,
    read_history,
    read_scores,
    read_split,
    write_facts,
    write_history,
    write_scores,
    write_split,
)
from tests.training.run_files import run_facts, run_scores

CONFUSIONS = [[50, 3], [7, 20]], [[40, 0], [1, 9]]
ROW = {"epoch": 1, "step": 20, "seconds": 9.5, "learning_rate": 0.001, "loss": 0.5}
SCORED_ROW = ROW | {"val_mean_iou": 0.25, "val_pixel_accuracy": 0.75, "val_iou_cell": 0.25}
UNSCORED_ROW = ROW | {"epoch": 2, "step": 40, "val_mean_iou": None, "val_pixel_accuracy": None, "val_iou_cell": None}


def test_scores_are_read_as_written(tmp_path):
    write_scores(tmp_path / "scores.json", run_scores(*CONFUSIONS))
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert stored["images"][0]["pixels"] == {"true_positives": [50, 20], "truth": [53, 27], "predicted": [57, 23]}
    assert stored["scores"]["mean_iou"] == pytest.approx(29 / (37 + 32 - 29))
    assert read_scores(tmp_path / "scores.json") == run_scores(*CONFUSIONS)


def add_true_positive(stored):
    stored["images"][0]["pixels"]["true_positives"][1] += 1


def drop_class_of_image(stored):
    for part in stored["images"][0]["pixels"].values():
        part.pop()


def negative_count(stored):
    for image, change in zip(stored["images"], (-10_000, 10_000), strict=True):
        image["pixels"]["truth"][1] += change


def count_beyond_float64(stored):
    stored["images"][0]["pixels"]["truth"][0] = 10**30


def confusion_beyond_int64(stored):
    stored["scores"]["confusion"][0][0] = 10**30


def ragged_confusion(stored):
    stored["scores"]["confusion"][0].append(0)


def no_images(stored):
    stored["images"] = []


def drop_class(stored):
    stored["scores"]["classes"].pop()


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (add_true_positive, "add up"),
        (drop_class_of_image, "pixel counts of each image"),
        (negative_count, r"images\.0\.pixels\.truth\.1: "),
        (count_beyond_float64, r"images\.0\.pixels\.truth\.0: "),
        (confusion_beyond_int64, "add up"),
        (ragged_confusion, "confusion matrix"),
        (no_images, "add up"),
        (drop_class, "confusion matrix"),
        (lambda stored: stored.update(more=1), "more: "),
        (lambda stored: stored["images"][1].update(mean_iou=1.5), r"images\.1\.mean_iou: "),
        (lambda stored: stored["images"][1].update(mean_iou=float("nan")), r"images\.1\.mean_iou: "),
        (lambda stored: stored["images"][1].update(seconds=float("inf")), r"images\.1\.seconds: "),
        (lambda stored: stored.pop("failures"), "failures: "),
    ],
)
def test_damaged_or_contradictory_scores_are_an_error(tmp_path, damage, found):
    file = tmp_path / "scores.json"
    write_scores(file, run_scores(*CONFUSIONS))
    stored = json.loads(file.read_text())
    damage(stored)
    file.write_text(json.dumps(stored))
    with pytest.raises(DamagedRunFile, match=rf"scores\.json: .*{found}"):
        read_scores(file)


def test_facts_are_read_as_written(tmp_path):
    full = run_facts(nan_recoveries=("step 9",), intermediate_validation="32 of 1000 images")
    for written in (run_facts(), full):
        write_facts(tmp_path / "run.json", written)
        assert read_facts(tmp_path / "run.json") == written
    write_facts(tmp_path / "run.json", run_facts())
    assert {"nan_recoveries", "intermediate_validation"}.isdisjoint(json.loads((tmp_path / "run.json").read_text()))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[]", "object"),
        ("{", "JSON"),
        ("", "JSON"),
        ("{}", "command: "),
        (run_facts().model_dump_json().replace('"schedule"', '"boredom"'), "stopped_by: "),
        (run_facts().model_dump_json().replace('"steps":40', '"steps":"many"'), "steps: "),
        (run_facts().model_dump_json().replace('"seconds":61.5', '"seconds":-1'), "seconds: "),
    ],
)
def test_damaged_facts_are_an_error(tmp_path, content, found):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DamagedRunFile, match=rf"run\.json: .*{found}"):
        read_facts(tmp_path / "run.json")


def test_the_history_is_read_as_written_without_class_columns(tmp_path):
    write_history(tmp_path / "history.csv", [SCORED_ROW, UNSCORED_ROW])
    first, second = read_history(tmp_path / "history.csv")
    assert (first.step, first.loss, first.val_mean_iou, first.val_pixel_accuracy) == (20, 0.5, 0.25, 0.75)
    assert (second.step, second.val_mean_iou, second.val_mean_precision) == (40, None, None)


def test_a_history_row_that_cannot_be_read_is_not_written(tmp_path):
    with pytest.raises(ValidationError, match=r"for Epoch\nloss\n +Input should be a finite number"):
        write_history(tmp_path / "history.csv", [SCORED_ROW | {"loss": float("nan")}])
    assert not (tmp_path / "history.csv").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"step\nten\n", "line 2: "),
        (b"epoch,step,seconds,learning_rate,loss,val_mean_iou,val_pixel_accuracy\n1,20,1,1,1,,\n2,20,1\n", "line 3: "),
        (b"epoch,step,seconds,learning_rate,loss,val_mean_iou,val_pixel_accuracy\n1,20,1,1,inf,,\n", "line 2: loss: "),
        (b"a,b\n" + b"1" * 200_000, "field limit|field larger"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_a_damaged_history_is_an_error(tmp_path, content, found):
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(DamagedRunFile, match=rf"history\.csv: .*({found})"):
        read_history(tmp_path / "history.csv")


def test_the_split_is_read_as_written(tmp_path):
    train, validation = [Pair("a,b", tmp_path / "a.png", tmp_path / "m.png")], []
    write_split(tmp_path / "split.csv", train=train, validation=validation)
    assert read_split(tmp_path / "split.csv") == {"train": train, "validation": validation}


@pytest.mark.parametrize(
    ("content", "found"),
    [("name,split,image,mask\na,test,i,m\n", "line 2: split: "), ("name,split,image,mask\na,train,,m\n", "line 2: ")],
)
def test_a_damaged_split_is_an_error(tmp_path, content, found):
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(DamagedRunFile, match=rf"split\.csv: {found}"):
        read_split(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("bound", "read"),
    [
        ("MAX_SCORES_BYTES", read_scores),
        ("MAX_FACTS_BYTES", read_facts),
        ("MAX_CSV_BYTES", read_history),
        ("MAX_CSV_BYTES", read_split),
    ],
)
def test_files_beyond_the_size_bound_are_an_error(tmp_path, monkeypatch, bound, read):
    monkeypatch.setattr(run_records, bound, 100)
    (tmp_path / "file").write_bytes(bytes(101))
    with pytest.raises(DamagedRunFile, match="file: more than 100 bytes"):
        read(tmp_path / "file")
