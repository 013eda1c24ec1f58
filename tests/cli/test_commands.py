"""The commands as people call them: what is printed, what is written, and one clear error for each mistake."""

import json
import shutil
import struct
import zlib
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from maskwright import segmenter
from maskwright.data.scan import scan
from maskwright.training import prepare


def paint(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def header_bomb(path, side=60000):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.fixture
def pairs(tmp_path):
    """Four pairs of 40 x 50: noise that is brighter where the mask is 255."""
    for number in range(4):
        generator = np.random.default_rng(number)
        mask = (np.add.outer(np.arange(40), np.arange(50) + 7 * number) % 20 < 10) * 255
        paint(tmp_path / f"data/images/{number}.png", mask // 2 + generator.integers(0, 60, mask.shape))
        paint(tmp_path / f"data/masks/{number}.png", mask)
    return tmp_path / "data"


def folders(pairs):
    return "--images", pairs / "images", "--masks", pairs / "masks"


def test_check_finds_nothing_wrong_with_good_data_and_shows_what_values_mean(pairs, maskwright_command):
    code, out, err = maskwright_command("check", *folders(pairs))
    assert (code, err) == (0, "")
    assert "No problems found." in out
    assert "background" in out
    assert "foreground" in out
    assert "50.00%" in out  # half of the pixels of every mask


def test_check_names_every_problem_and_fails(pairs, maskwright_command):
    paint(pairs / "masks/0.png", np.zeros((40, 51)))
    whole = (pairs / "images/1.png").read_bytes()
    (pairs / "images/1.png").write_bytes(whole[: len(whole) // 2])
    (pairs / "images/2.png").write_bytes(b"")
    paint(pairs / "images/alone.png", np.zeros((40, 50)))
    code, out, _ = maskwright_command("check", *folders(pairs))
    assert code == 1
    for named in ("0.png", "1.png", "2.png", "alone.png"):
        assert named in out
    assert "fatal" in out


def break_nothing_there(pairs):
    shutil.rmtree(pairs / "masks")
    return r"masks: found nothing of that name; expected a folder of images"


def break_empty_folder(pairs):
    for file in (pairs / "masks").iterdir():
        file.unlink()
    return r"masks: found no files; expected images"


def break_names(pairs):
    for file in list((pairs / "masks").iterdir()):
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    return r"--mask-suffix _mask"


def break_ambiguous(pairs):
    Image.open(pairs / "images/0.png").save(pairs / "images/0.jpg")
    return r"0\.jpg and .*0\.png: both are called '0'"


def break_size(pairs):
    paint(pairs / "masks/0.png", np.zeros((40, 51)))
    return r"0\.png.*40.*51"


def break_values(pairs):
    paint(pairs / "masks/0.png", np.full((40, 50), 7))
    return r"value 7 \(2000 pixels\); expected 0 background, 255 foreground.*masks/0\.png"


def break_truncated(pairs):
    whole = (pairs / "images/0.png").read_bytes()
    (pairs / "images/0.png").write_bytes(whole[:-30])
    return r"images/0\.png: found"


def break_zero_bytes(pairs):
    (pairs / "images/0.png").write_bytes(b"")
    return r"images/0\.png: found an empty file"


def break_text_file(pairs):
    (pairs / "images/0.png").write_text("this is no picture")
    return r"images/0\.png: found"


def break_header_bomb(pairs):
    header_bomb(pairs / "images/0.png")
    return r"images/0\.png: found .*60000"


BREAKAGES = [value for name, value in list(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_training_on_broken_data_is_one_clear_error_and_leaves_nothing(breakage, pairs, tmp_path, maskwright_command):
    expected = breakage(pairs)
    command = ["train", *folders(pairs), "--classes", "1", "--epochs", "1", "--out", tmp_path / "run"]
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    import re

    assert re.search(expected, err.replace("\n", " ")), err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.batchsize=2"], r"unknown field training.batchsize; did you mean training.batch_size?"),
        (["--set", "network.backbone=resnet33", "--epochs", "1"], "network.backbone='resnet33' is not known"),
        (["--set", "training.loss={dise: 1}", "--epochs", "1"], "loss='dise' is not known"),
        (["--epochs", "1", "--time-budget", "5m"], "give time_budget or epochs, not both"),
        (["--time-budget", "soon"], "expected a duration such as 90s, 20m or 1h30m"),
        (["--recipe", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--mask-values", "0=a,0=b"], "0 twice"),
        (["--resume"], "nothing to resume, there is no run"),
    ],
)
def test_options_that_make_no_sense_are_said_so(options, message, pairs, tmp_path, maskwright_command):
    code, _, err = maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", *options)
    assert code == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_the_data_is_read_once_and_only_by_a_training_that_begins(pairs, tmp_path, monkeypatch, maskwright_command):
    read = []
    monkeypatch.setattr(prepare, "scan", lambda pairs, **options: read.append(len(pairs)) or scan(pairs, **options))
    break_size(pairs)
    assert maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", "--epochs", "1")[0] == 1
    assert read == [4]
    assert maskwright_command("train", "--resume", "--out", tmp_path / "run")[0] == 1
    assert read == [4]


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_what_the_report_needs_is_missed_before_anything_is_done(
    missing, pairs, tmp_path, monkeypatch, maskwright_command
):
    monkeypatch.setattr(segmenter, "find_spec", lambda name: None if name == missing else find_spec(name))
    code, _, err = maskwright_command("train", *folders(pairs), "--out", tmp_path / "run", "--epochs", "1")
    assert code == 1
    assert f"{missing} is not installed" in err
    assert not (tmp_path / "run").exists()


def test_a_recipe_file_with_an_unknown_field_suggests_the_nearest(pairs, tmp_path, maskwright_command):
    (tmp_path / "r.yaml").write_text("training:\n  learning_rat: 0.1\n")
    code, _, err = maskwright_command(
        "train", *folders(pairs), "--out", tmp_path / "run", "--recipe", tmp_path / "r.yaml"
    )
    assert code == 1
    assert "r.yaml: unknown field training.learning_rat; did you mean training.learning_rate?" in err


def test_an_output_that_holds_a_run_needs_a_word(trained, pairs, maskwright_command):
    code, _, err = maskwright_command("train", *folders(pairs), "--out", trained.folder)
    assert code == 1
    assert "holds a run; add --resume to go on with it, --overwrite to replace it" in err


def test_a_complete_run_is_not_resumed(trained, maskwright_command):
    code, _, err = maskwright_command("train", "--resume", "--out", trained.folder)
    assert code == 1
    assert "the run is complete" in err


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_folder_that_is_no_run_is_refused(command, pairs, tmp_path, maskwright_command):
    rest = [pairs / "images", "--out", tmp_path / "out"] if command == "predict" else folders(pairs)
    code, _, err = maskwright_command(command, pairs, *rest)
    assert code == 1
    assert "not a run: bundle.json is missing; expected a folder that `maskwright train --out` wrote" in err
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_damaged_is_refused(trained, pairs, tmp_path, maskwright_command):
    run = shutil.copytree(trained.folder, tmp_path / "run")
    (run / "model.keras").write_bytes(b"PK\x03\x04 not a network")
    code, _, err = maskwright_command("predict", run, pairs / "images", "--out", tmp_path / "out")
    assert code == 1
    assert "model.keras: cannot be opened as a Keras network" in err


def test_evaluate_prints_and_writes_the_scores(trained, drawn, tmp_path, maskwright_command):
    code, out, _ = maskwright_command(
        "evaluate", trained.folder, "--images", drawn / "new/images", "--masks", drawn / "new/masks",
        "--json", tmp_path / "scores.json",
    )  # fmt: skip
    stored = json.loads((tmp_path / "scores.json").read_text())
    assert code == 0
    assert len(stored["images"]) == 2
    assert f"{stored['scores']['mean_iou']:.4f}" in out
    assert [row["name"] for row in stored["scores"]["classes"]] == ["background", "cell", "fibre"]


def test_evaluate_scores_the_good_pairs_and_names_the_bad(trained, drawn, tmp_path, maskwright_command):
    data = shutil.copytree(drawn / "new", tmp_path / "new")
    (data / "images/000.png").write_bytes(b"")
    code, _, err = maskwright_command(
        "evaluate", trained.folder, "--images", data / "images", "--masks", data / "masks",
        "--json", tmp_path / "scores.json",
    )  # fmt: skip
    assert code == 1
    assert "000.png: found an empty file" in err
    assert "1 of 2 files failed; the others are done" in err
    assert len(json.loads((tmp_path / "scores.json").read_text())["images"]) == 1


def test_one_bad_file_among_twenty_costs_one_mask(trained, tmp_path, maskwright_command):
    for number in range(20):
        paint(tmp_path / f"in/{number:02}.png", np.full((33, 40, 3), number))
    (tmp_path / "in/07.png").write_bytes((tmp_path / "in/07.png").read_bytes()[:40])
    code, out, err = maskwright_command("predict", trained.folder, tmp_path / "in", "--out", tmp_path / "out")
    masks = sorted((tmp_path / "out").glob("*.png"))
    assert code == 1
    assert len(masks) == 19
    assert all(np.asarray(Image.open(mask)).shape == (33, 40) for mask in masks)
    assert "07.png" in err
    assert "1 of 20 files failed; the others are done" in err
    assert "(19)" in out


def test_predicting_draws_overlays_and_goes_on_where_it_was(trained, drawn, tmp_path, maskwright_command):
    command = ["predict", trained.folder, drawn / "new/images/*.png", "--out", tmp_path / "out", "--overlay"]
    code, _, _ = maskwright_command(*command)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "000.overlay.png", "000.png", "001.overlay.png", "001.png",
    ]  # fmt: skip
    (tmp_path / "out/001.png").unlink()
    assert "(2, 1 of them from before)" in maskwright_command(*command)[1]


def test_a_full_disk_is_said_in_one_line(trained, drawn, tmp_path, maskwright_command, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "out/000.png"))

    monkeypatch.setattr("maskwright.images.write.os.fsync", full)
    code, _, err = maskwright_command("predict", trained.folder, drawn / "new/images", "--out", tmp_path / "out")
    assert code == 1
    assert "000.png: no space left on device; free disk space" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(("out", "door"), [("out", "predict_files"), ("mask.tif", "predict_large")])
def test_an_interrupt_says_what_it_left(out, door, trained, drawn, tmp_path, maskwright_command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"maskwright.segmenter.Segmenter.{door}", interrupted)
    code, _, err = maskwright_command("predict", trained.folder, drawn / "new/images/000.png", "--out", tmp_path / out)
    assert (code, err) == (130, "Interrupted; what is finished is kept, and the same command goes on.\n")


def test_the_version_is_told(maskwright_command):
    assert maskwright_command("--version") == (0, f"maskwright {version('maskwright')}\n", "")


def test_help_names_every_command(maskwright_command):
    _, out, _ = maskwright_command("--help")
    for command in ("train", "evaluate", "predict", "check", "demo"):
        assert command in out


DATA = ("--images", "images", "--masks", "masks")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("train", *DATA, "--out", "run"), "lower training.batch_size or training.patch_size with --set, or close"),
        (
            ("predict", "run", "image.png", "--out", "masks"),
            "each with a .tif or .zarr as --out, use fewer --workers, or",
        ),
        (("evaluate", "run", *DATA), "out of memory; close other programs"),
    ],
)
@pytest.mark.parametrize(
    ("name", "base"),
    [("MemoryError", MemoryError), ("_ArrayMemoryError", MemoryError), ("ResourceExhaustedError", Exception)],
    ids=["Python", "NumPy", "TensorFlow"],
)
def test_out_of_memory_is_told_what_lowers_it_in_that_command(
    command, told, name, base, maskwright_command, monkeypatch
):
    def full(*_, **__):
        raise type(name, (base,), {})

    for door in ("load", "train_recipe"):
        monkeypatch.setattr(f"maskwright.segmenter.Segmenter.{door}", full)
    code, _, err = maskwright_command(*command)
    assert code == 1
    assert err.startswith("error: out of memory; ")
    assert told in err
