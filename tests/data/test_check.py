"""Every kind of problem in a data set is found and reported with its files."""

import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from maskwright.cli.tables import balance_table
from maskwright.data.check import CheckReport, ScannedSet, check
from maskwright.data.label_table import WrongLabelTable
from maskwright.data.mask_values import parse_mask_values
from maskwright.data.pairs import pair_folders
from maskwright.data.scan import scan
from maskwright.data.summary import ClassBalance, DataSummary
from maskwright.errors import WrongArgument
from tests.data.painted import paint, touch

SHARED = Path(__file__).parents[3] / "shared" / "data"
HALF = [[0, 0], [255, 255]]


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """A function from a shape to random pixels, different ones in each call."""
    random = np.random.default_rng(11)
    return lambda *shape: random.integers(0, 256, shape, np.uint8)


def folders(root: Path, images: Mapping[str, Any], masks: Mapping[str, Any]) -> ScannedSet:
    """A scanned set of painted files; a dict is the arguments of `paint`."""
    for folder, files in (("images", images), ("masks", masks)):
        for name, pixels in files.items():
            paint(root / folder / name, **(pixels if isinstance(pixels, dict) else {"pixels": pixels}))
    return scanned_set(root)


def scanned_set(root: Path) -> ScannedSet:
    pairing = pair_folders(root / "images", root / "masks")
    return ScannedSet(pairing, scan(pairing.pairs))


def problem(report: CheckReport, kind: str) -> tuple[str, list[str], str]:
    """The only problem of a kind: (severity, names of its files, message)."""
    (found,) = [problem for problem in report.problems if problem.kind == kind]
    return found.severity, sorted(path.name for path in found.files), found.message


def test_a_valid_data_set_has_no_problems_and_is_summarised(tmp_path, noise):
    data = folders(
        tmp_path,
        {"a.png": noise(2, 2), "b.png": noise(4, 3, 3), "c.png": noise(2, 6, 3)},
        {"a.png": HALF, "b.png": [[0, 0, 255]] * 4, "c.png": np.repeat(HALF, 3, axis=1)},
    )
    report = check(data)
    assert report.problems == ()
    assert report.mask_values is not None
    assert report.mask_values.text == "0=background,255=foreground"
    summary = report.train
    assert (summary.pairs, summary.heights, summary.widths) == (3, (2, 4), (2, 6))
    assert (summary.channels, summary.dtypes) == (3, ("uint8",))  # grey becomes RGB
    assert summary.balance == (
        ClassBalance(0, "background", 16, 16 / 28, 3),
        ClassBalance(255, "foreground", 12, 12 / 28, 3),
    )
    assert report.validation is None


def test_ignored_pixels_have_a_row_of_the_balance(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(1, 4)}, {"a.png": [[0, 1, 2, 2]]})
    balance = check(data, classes=2, ignore=2).train.balance
    assert [(row.name, row.fraction, row.masks) for row in balance] == [
        ("class_0", 0.25, 1),
        ("class_1", 0.25, 1),
        ("ignored", 0.5, 1),
    ]


def test_values_of_one_class_are_counted_separately(tmp_path, noise):
    masks = {"a.png": [[0, 7, 7, 8]], "b.png": [[0, 0, 8, 99]]}
    data = folders(tmp_path, {name: noise(1, 4) for name in masks}, masks)
    table = parse_mask_values("7=road,0=background,8=road,9=car")
    assert check(data, mask_values=table).train.balance == (
        ClassBalance(7, "road", 2, 0.25, 1),
        ClassBalance(0, "background", 3, 0.375, 2),
        ClassBalance(8, "road", 2, 0.25, 2),
        ClassBalance(9, "car", 0, 0.0, 0),
    )


def test_a_mask_of_greys_is_counted_as_colours(tmp_path, noise):
    masks = {"a.png": [[[255, 0, 0], [0, 0, 0]]], "b.png": [[0, 0]]}
    data = folders(tmp_path, {name: noise(1, 2) for name in masks}, masks)
    assert check(data).train.balance == (
        ClassBalance("#000000", "background", 3, 0.75, 2),
        ClassBalance("#ff0000", "#ff0000", 1, 0.25, 1),
    )


def test_the_balance_is_printed_by_value_on_80_columns():
    table = parse_mask_values("#800000=a long name of a building,#000000=background,#800001=a long name of a building")
    shares = (1_234_567_890, 0.5, 1000), (1_234_567_889, 0.4999, 999), (246_913, 0.0001, 12)
    balance = tuple(ClassBalance(*item, *row) for item, row in zip(table.classes_by_value.items(), shares, strict=True))
    one = DataSummary(1000, (1, 1), (1, 1), 1, ("uint8",), balance)
    console = Console(file=StringIO(), width=80)
    console.print(balance_table(CheckReport((), table, one, one), table))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for value, pixels, share, masks in [
        ("#800000", "1,234,567,890", "50.00%", "1000"),
        ("#000000", "1,234,567,889", "49.99%", "999"),
        ("#800001", "246,913", "0.01%", "12"),
    ]:
        (line,) = [line for line in text.splitlines() if value in line]
        assert re.findall(r"[\d,]{2,}(?!\S)|[\d.]+%", line.split(value)[1]) == [pixels, share, masks] * 2


def test_unpaired_files_are_a_warning(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(2, 2), "B.png": noise(2, 2)}, {"a.png": HALF, "b.png": HALF})
    severity, files, message = problem(check(data), "unpaired")
    assert (severity, files) == ("warning", ["B.png", "b.png"])
    assert message.startswith("Unused files: 1 image without a mask and 1 mask without an image. ")
    assert message.endswith("letter case, such as 'B' and 'b', are not paired: rename one.")


def test_unreadable_files_are_fatal_and_three_are_explained(tmp_path):
    touch(tmp_path, *(f"images/{number}.png" for number in range(4)))
    for number in range(4):
        paint(tmp_path / f"masks/{number}.png", HALF)
    data = scanned_set(tmp_path)
    severity, files, message = problem(check(data), "unreadable")
    assert (severity, files) == ("fatal", ["0.png", "1.png", "2.png", "3.png"])
    assert message.count("an empty file") == 3
    assert message.startswith("Unreadable files: 4. ")
    assert (check(data).train.heights, check(data).train.channels) == ((0, 0), None)


def test_masks_of_another_size_are_fatal(tmp_path, noise):
    data = folders(
        tmp_path,
        {"a.png": noise(2, 2), "b.png": noise(3, 2), "c.png": noise(4, 4)},
        {"a.png": HALF, "b.png": [[0, 0, 0], [255, 255, 0]], "c.png": HALF},
    )
    severity, files, message = problem(check(data), "sizes")
    assert (severity, files) == ("fatal", ["b.png", "c.png"])
    assert message.startswith("2 masks of a different size than the image. ")
    assert (
        "b.png: found 2 x 3 pixels (height x width); expected 3 x 2. One of the two may be rotated by 90 degrees."
        in message
    )


def test_a_mask_of_another_shape_is_not_reported_as_rotated(tmp_path, noise):
    message = problem(check(folders(tmp_path, {"a.png": noise(4, 4)}, {"a.png": HALF})), "sizes")[2]
    assert message.endswith(
        "found 2 x 2 pixels (height x width); expected 4 x 4. Export masks at the size of their images."
    )


def test_channels_that_cannot_be_made_equal_are_fatal(tmp_path, noise):
    translucent = noise(2, 2, 4) // 2
    data = folders(
        tmp_path,
        {"a.png": noise(2, 2, 3), "b.png": translucent, "c.png": noise(2, 2, 3)},
        {"a.png": HALF, "b.png": HALF, "c.png": HALF},
    )
    report = check(data)
    severity, files, message = problem(report, "channels")
    assert (severity, files) == ("fatal", ["b.png"])
    found = "1 image with a different number of channels: found 4; expected 3, as in most images."
    assert message == f"{found} Convert or remove this image."
    assert report.train.channels is None


def test_different_integer_types_are_a_warning(tmp_path, noise):
    data = folders(
        tmp_path,
        {"a.tif": noise(2, 2), "b.tif": noise(2, 2), "c.tif": noise(2, 2).astype(np.uint16)},
        {"a.png": HALF, "b.png": HALF, "c.png": HALF},
    )
    severity, files, message = problem(check(data), "dtypes")
    assert (severity, files) == ("warning", ["c.tif"])
    assert "found uint16; expected uint8, as in most images. Check that black and white" in message


def test_floats_among_integers_are_fatal_in_either_set(tmp_path, noise):
    train = folders(tmp_path / "t", {"a.tif": noise(2, 2), "b.tif": noise(2, 2)}, {"a.png": HALF, "b.png": HALF})
    validation = folders(tmp_path / "v", {"c.tif": noise(2, 2).astype(np.float32)}, {"c.png": HALF})
    severity, files, message = problem(check(train, validation), "dtypes")
    assert (severity, files) == ("fatal", ["c.tif"])
    assert "found float32; expected uint8, as in most images. Floats and integers have no common scale." in message
    assert check(validation).problems == ()


def test_palette_masks_among_rgb_masks_are_fatal(tmp_path, noise):
    data = folders(
        tmp_path,
        {"a.png": noise(1, 2), "b.png": noise(1, 2)},
        {
            "a.png": {"pixels": [[0, 1]], "palette": [0, 0, 0, 255, 0, 0]},
            "b.png": [[[0, 0, 0], [255, 0, 0]]],
        },
    )
    severity, files, message = problem(check(data), "mixed masks")
    assert (severity, files) == ("fatal", ["a.png"])
    assert "found 1 palette mask and 1 RGB mask, such as " in message
    assert message.endswith("b.png; expected one kind. Convert palette masks to RGB.")


def test_palettes_that_differ_are_a_warning(tmp_path, noise):
    data = folders(
        tmp_path,
        {"a.png": noise(1, 2), "b.png": noise(1, 2), "c.png": noise(1, 2)},
        {
            "a.png": {"pixels": [[0, 1]], "palette": [0, 0, 0, 255, 0, 0]},
            "b.png": {"pixels": [[0, 0]], "palette": [0, 0, 0, 9, 9, 9]},  # 1 is not in use
            "c.png": {"pixels": [[0, 1]], "palette": [0, 0, 0, 0, 255, 0]},
        },
    )
    report = check(data)
    severity, files, message = problem(report, "palettes")
    assert (severity, files) == ("warning", ["a.png", "c.png"])
    assert message.startswith("Palettes differ: value 1 is (255, 0, 0) in ")
    assert report.mask_values is not None
    assert report.mask_values.kind == "palette"


def test_values_outside_a_given_table_are_fatal(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(1, 3), "b.png": noise(1, 3)}, {"a.png": [[0, 1, 1]], "b.png": [[0, 1, 7]]})
    table = parse_mask_values("0=background,1=cell")
    report = check(data, mask_values=table)
    severity, files, message = problem(report, "mask values")
    assert (severity, files) == ("fatal", ["b.png"])
    assert message.startswith("1 mask with unknown values: found value 7 (1 pixel); expected 0 background, 1 cell. ")
    assert report.mask_values == table
    assert report.fatal == [report.problems[0]]


@pytest.mark.parametrize(("value", "ignored"), [(-1, True), (100_000, True), (65_536, False), (65_535, None)])
def test_classes_of_values_that_cannot_be_written_are_fatal_unless_ignored(tmp_path, value, ignored, noise):
    masks = {"a.tif": np.int32([[0, 1]]), "b.tif": np.int32([[1, value]])}
    data = folders(tmp_path, {name: noise(1, 2) for name in masks}, masks)
    report = check(data)
    if ignored is None:
        assert report.fatal == []
        return
    severity, files, message = problem(report, "mask values")
    assert (severity, files) == ("fatal", ["b.tif"])
    assert f"found {value} class_{value}; expected 0 to 65535. Change these values in the masks" in message
    assert check(data, ignore=value).fatal == []


def test_values_outside_the_classes_are_fatal(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(1, 3), "b.png": noise(1, 3)}, {"a.png": [[0, 1, 1]], "b.png": [[0, 1, 7]]})
    report = check(data, classes=2)
    severity, files, message = problem(report, "mask values")
    assert (severity, files) == ("fatal", ["b.png"])
    assert message.endswith("--mask-values 0=class_0,1=class_1,7=NAME, or add --ignore 7.")
    assert report.mask_values is None
    assert report.train.balance == ()
    assert check(data, classes=2, ignore=7).fatal == []


def test_masks_of_one_value_are_all_fatal(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(1, 2), "b.png": noise(1, 2)}, {"a.png": [[0, 0]], "b.png": [[0, 0]]})
    severity, files, message = problem(check(data), "mask values")
    assert (severity, files) == ("fatal", ["a.png", "b.png"])
    assert "found only value 0 (4 pixels)" in message


def test_constant_masks_are_counted_by_class(tmp_path, noise):
    masks = {"a.png": [[0, 255]], "b.png": [[0, 0]], "c.png": [[255, 255]], "d.png": [[0, 0]]}
    data = folders(tmp_path, {name: noise(1, 2) for name in masks}, masks)
    severity, files, message = problem(check(data), "constant masks")
    assert (severity, files) == ("warning", ["b.png", "c.png", "d.png"])
    assert message.startswith("3 of 4 masks with a single class: 2 background, 1 foreground.")


def test_classes_without_training_pixels_are_reported(tmp_path, noise):
    train = folders(tmp_path / "t", {"a.png": noise(1, 2)}, {"a.png": [[0, 1]]})
    validation = folders(tmp_path / "v", {"a.png": noise(1, 3)}, {"a.png": [[0, 2, 3]]})
    report = check(train, validation, classes=["sky", "road", "car", "dog", "cat"])
    assert problem(report, "unseen classes") == (
        "warning",
        [],
        "Classes that occur in no training mask, and so cannot be learned: car, dog, cat.",
    )
    assert report.validation is not None
    assert [row.masks for row in report.validation.balance] == [1, 0, 1, 1, 0]


def test_values_of_validation_masks_are_proposed_too(tmp_path, noise):
    train = folders(tmp_path / "t", {"a.png": noise(1, 2)}, {"a.png": [[0, 1]]})
    validation = folders(tmp_path / "v", {"a.png": noise(1, 2)}, {"a.png": [[0, 2]]})
    proposed = check(train, validation).mask_values
    assert proposed is not None
    assert proposed.text == "0=class_0,1=class_1,2=class_2"


def test_copies_within_a_set_are_a_warning(tmp_path, noise):
    picture = noise(2, 2)
    data = folders(
        tmp_path,
        {"a.png": picture, "b.bmp": picture, "c.png": noise(2, 2)},
        {"a.png": HALF, "b.png": HALF, "c.png": HALF},
    )
    severity, files, message = problem(check(data), "duplicates")
    assert (severity, files) == ("warning", ["a.png", "b.bmp"])
    assert message.startswith("1 image with identical copies")


def test_copies_across_sets_are_a_leak_warning(tmp_path, noise):
    picture = noise(2, 2)
    train = folders(tmp_path / "t", {"a.png": picture, "b.png": noise(2, 2)}, {"a.png": HALF, "b.png": HALF})
    validation = folders(tmp_path / "v", {"x.png": noise(2, 2), "y.png": picture}, {"x.png": HALF, "y.png": HALF})
    report = check(train, validation)
    severity, files, message = problem(report, "leak")
    assert (severity, files) == ("warning", ["a.png", "y.png"])
    assert message.startswith("Data leak: 1 of 2 validation images also in the training set.")
    assert report.warnings == list(report.problems)


def test_fatal_problems_come_first(tmp_path, noise):
    picture = noise(2, 2)
    data = folders(tmp_path, {"a.png": picture, "b.png": picture}, {"a.png": HALF, "b.png": [[0, 255]]})
    assert [found.kind for found in check(data).problems] == ["sizes", "duplicates"]


def test_classes_together_with_a_table_are_an_error(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(2, 2)}, {"a.png": HALF})
    table = parse_mask_values("0=background,255=cell")
    with pytest.raises(WrongArgument, match="classes=2: expected None together with mask_values"):
        check(data, mask_values=table, classes=2)
    with pytest.raises(WrongArgument, match="ignore=0: expected None together with mask_values"):
        check(data, mask_values=table, ignore=0)


def test_an_invalid_argument_is_an_error_and_no_problem(tmp_path, noise):
    data = folders(tmp_path, {"a.png": noise(2, 2)}, {"a.png": HALF})
    with pytest.raises(WrongLabelTable, match="--ignore"):
        check(data, ignore="void")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data sets in {SHARED.name}, next to the repository")
@pytest.mark.parametrize(
    ("folder", "pairs", "text", "channels"),
    [
        ("camvid/val", 101, ",".join(f"{value}=class_{value}" for value in range(12)), 3),
        ("membrane", 30, "0=background,255=foreground", 1),
    ],
)
def test_real_data_sets_have_no_problems(folder, pairs, text, channels):
    report = check(scanned_set(SHARED / folder))
    assert report.problems == ()
    assert report.mask_values is not None
    assert report.mask_values.text == text
    assert (report.train.pairs, report.train.channels) == (pairs, channels)
