"""Damaged copies of the salt challenge's data: one error or one warning each, and no file is changed.

The tests use ``--explain``, which runs all checks and does not train.
"""

import re
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from maskwright.data.split import folds
from maskwright.data.strata import read_strata
from maskwright.images.run_length import encode_runs, write_run_lengths
from tests.tgs_salt.drawn_salt import draw_salt, save_mask

NETWORK = """
import keras


def network(channels, classes, activation):
    image = keras.Input((None, None, channels))
    return keras.Model(image, keras.layers.Conv2D(classes, 1, activation=activation, dtype="float32")(image))
"""
"""A network that is built quickly; its predictions do not matter here."""

USUAL = "with a single class"
"""Part of a warning about masks without salt, which valid data has as well."""


@pytest.fixture
def copied(tmp_path):
    """Return the folder of a valid copy, its masks by id, and an id whose mask has salt."""
    masks = draw_salt(tmp_path / "data", images=10, tests=2)
    return tmp_path / "data", masks, next(name for name, mask in masks.items() if mask.any())


@pytest.fixture
def explain(tmp_path, maskwright_command):
    """Run ``train --explain``; return exit code, warnings and standard error; check that no file changed."""
    before = {}

    def run(data):
        (tmp_path / "mine.py").write_text(NETWORK)
        before.update(digests(tmp_path))
        command = ["train", "--preset", "tgs-salt", "--data", data, "--out", tmp_path / "run", "--explain"]
        code, out, err = maskwright_command(*command, "--python", tmp_path / "mine.py")
        warnings = [
            line for line in out.splitlines() if line.startswith(("warning: ", "fatal: ")) and USUAL not in line
        ]
        return code, warnings, err

    yield run
    assert digests(tmp_path) == before


def digests(folder):
    files = {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
    return {path: sha256(content).hexdigest() for path, content in files.items()}


def runs_of(masks):
    return {name: encode_runs(mask) for name, mask in masks.items()}


def write_train_csv(data, runs):
    write_run_lengths(data / "train.csv", runs.items())


def no_masks_folder(data, masks, name):
    for path in (data / "train/masks").iterdir():
        path.unlink()
    (data / "train/masks").rmdir()


def no_depths(data, masks, name):
    (data / "depths.csv").unlink()


def nothing_missing(data, masks, name):
    pass


def neither_masks_nor_train_csv(data, masks, name):
    no_masks_folder(data, masks, name)
    (data / "train.csv").unlink()


def all_of_another_size_and_no_train_csv(data, masks, name):
    (data / "train.csv").unlink()
    for path in (data / "train").rglob("*.png"):
        with Image.open(path) as picture:
            cut = picture.crop((0, 0, 96, 80))
        cut.save(path)


def an_id_in_train_csv_only(data, masks, name):
    write_train_csv(data, runs_of(masks) | {"unknown_id": "1 2"})


def an_image_missing_in_train_csv(data, masks, name):
    write_train_csv(data, {other: runs for other, runs in runs_of(masks).items() if other != name})


def an_image_with_neither_mask_nor_run_lengths(data, masks, name):
    an_image_missing_in_train_csv(data, masks, name)
    no_masks_folder(data, masks, name)


def an_image_that_is_gone(data, masks, name):
    (data / f"train/images/{name}.png").unlink()


def an_image_missing_in_depths(data, masks, name):
    lines = (data / "depths.csv").read_text().splitlines(keepends=True)
    (data / "depths.csv").write_text("".join(line for line in lines if not line.startswith(name)))


def a_run_past_the_end(data, masks, name):
    write_train_csv(data, runs_of(masks) | {name: "10200 9"})


def overlapping_runs(data, masks, name):
    write_train_csv(data, runs_of(masks) | {name: "5 10 14 3"})


def runs_not_numbers(data, masks, name):
    write_train_csv(data, runs_of(masks) | {name: "5 ten"})


def no_header(data, masks, name):
    lines = ["empty,", *(f"{other},{runs}" for other, runs in runs_of(masks).items())]
    (data / "train.csv").write_text("\n".join(lines))


def no_header_and_salt_in_the_first_line(data, masks, name):
    (data / "train.csv").write_text(f"{name},{runs_of(masks)[name]}\n")


def a_mask_that_is_not_its_run_lengths(data, masks, name):
    save_mask(data / f"train/masks/{name}.png", ~masks[name])


def a_mask_of_another_size(data, masks, name):
    save_mask(data / f"train/masks/{name}.png", masks[name][:50])


def an_image_of_another_size(data, masks, name):
    Image.new("RGB", (100, 101), (90, 90, 90)).save(data / f"train/images/{name}.png")


def a_truncated_image(data, masks, name):
    cut_off(data / f"train/images/{name}.png", 2000)


def a_truncated_header(data, masks, name):
    cut_off(data / f"train/images/{name}.png", 20)


def cut_off(file, size):
    file.write_bytes(file.read_bytes()[:size])


def colour(file):
    with Image.open(file) as picture:
        pixels = np.array(picture)
    pixels[..., 0] //= 2
    Image.fromarray(pixels).save(file)


def held_out_first(data, masks):
    """Return the ids that the first of the preset's five folds holds out."""
    coverage = {name: float(mask.mean()) for name, mask in masks.items()}
    return folds(list(masks), coverage, number=5, seed=0, strata=read_strata(data / "depths.csv"))[0]


def cases(message):
    return [pytest.param(damage, text, id=damage.__name__) for damage, text in message.items()]


def matches(text, message, data, name):
    """Whether a text matches a template with ``{data}``, ``{name}`` and ``...`` for any text."""
    pattern = re.escape(message.format(data=data, name=name)).replace(re.escape("..."), r"[^\n]+")
    return re.fullmatch(pattern, text) is not None


REFUSED = {
    neither_masks_nor_train_csv: "{data}: found neither train/masks nor train.csv; "
    "expected masks as PNG files or as run-lengths. Unpack the masks or train.csv.",
    a_run_past_the_end: "{data}/train.csv: {name}: found a run beyond the end, 10200 9; "
    "expected pixels up to 10201, 101 x 101.",
    overlapping_runs: "{data}/train.csv: {name}: found a run at 14 that starts before the end of the previous one; "
    "expected ordered runs without overlap.",
    runs_not_numbers: "{data}/train.csv: {name}: found '5 ten'; expected pairs of positive integers: start and length.",
    no_header: "{data}/train.csv: found the columns empty,; expected id,rle_mask.",
    a_mask_of_another_size: "{data}/train/masks/{name}.png: found a mask of 50 x 101; "
    "expected 101 x 101, the size of its image. Restore the original.",
    an_image_of_another_size: "{data}/train/images/{name}.png: found 101 x 100 pixels; "
    "expected 101 x 101, the size of the other images. Remove the image, or restore the original.",
    a_truncated_image: "The data cannot be used for training:\n"
    "- {data}/train/images/{name}.png: found bytes that cannot be decoded (...); "
    "expected a complete image. The file is truncated or damaged: copy or export it again.",
    a_truncated_header: "{data}/train/images/{name}.png: found bytes that cannot be decoded (...); "
    "expected a complete image. The file is truncated or damaged: copy or export it again.",
}

WARNED = {
    an_id_in_train_csv_only: "ids in {data}/train.csv without an image: 1, for example unknown_id",
    an_image_missing_in_train_csv: "images without a row in {data}/train.csv: 1, for example {name}",
    an_image_missing_in_depths: "training images without a depth in {data}/depths.csv: 1, for example {name}",
    a_mask_that_is_not_its_run_lengths: "masks that differ from {data}/train.csv "
    "(the PNG files are used): 1, for example {name}",
}

COLOURED = (
    "error: The data cannot be used for training:\n- 1 image with a different number of channels: found 3 "
    "(RGB, not gray); expected 1, as in data.channels. Convert or remove this image. Files: "
    "{data}/train/images/{name}.png.\n"
)


@pytest.mark.parametrize(("damage", "message"), cases(REFUSED))
def test_unusable_data_gives_one_error_that_names_the_file(copied, explain, damage, message):
    data, masks, name = copied
    damage(data, masks, name)
    code, warnings, err = explain(data)
    assert (code, warnings) == (1, [])
    assert matches(err, f"error: {message}\n", data, name), err


@pytest.mark.parametrize(("damage", "message"), cases(WARNED))
def test_usable_data_gives_one_warning(copied, explain, damage, message):
    data, masks, name = copied
    damage(data, masks, name)
    code, warnings, err = explain(data)
    assert (code, err) == (0, "")
    assert warnings == [f"warning: {message.format(data=data, name=name)}"]


@pytest.mark.parametrize("damage", [nothing_missing, no_masks_folder, no_depths, all_of_another_size_and_no_train_csv])
def test_optional_files_may_be_missing_without_a_warning(copied, explain, damage):
    data, masks, name = copied
    damage(data, masks, name)
    assert explain(data) == (0, [], "")


@pytest.mark.parametrize("damage", [an_image_with_neither_mask_nor_run_lengths, an_image_that_is_gone])
def test_image_that_is_left_out_gives_one_warning(copied, explain, damage):
    data, masks, name = copied
    damage(data, masks, name)
    code, warnings, err = explain(data)
    assert (code, err) == (0, "")
    assert [name in line for line in warnings] == [True]


@pytest.mark.parametrize("held_out", [True, False])
def test_image_with_other_channels_is_an_error(copied, explain, held_out):
    data, masks, _ = copied
    name = next(name for name in masks if (name in held_out_first(data, masks)) == held_out)
    colour(data / f"train/images/{name}.png")
    code, warnings, err = explain(data)
    assert (code, warnings) == (1, [])
    assert matches(err, COLOURED, data, name), err


def test_missing_header_gives_a_short_error(copied, explain):
    data, masks, name = copied
    no_header_and_salt_in_the_first_line(data, masks, name)
    code, warnings, err = explain(data)
    assert (code, warnings) == (1, [])
    assert err.startswith(f"error: {data}/train.csv: found the columns ")
    assert err.endswith("expected id,rle_mask.\n")
    assert len(err) < len(str(data)) + 200
