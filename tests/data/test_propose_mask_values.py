"""Label tables are proposed from the values of masks, and unsuitable masks are recognised."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from maskwright.data.label_table import WrongLabelTable
from maskwright.data.mask_values import WrongMaskValues
from maskwright.data.pixel_values import Value
from maskwright.data.propose_mask_values import propose_mask_values
from maskwright.errors import WrongArgument


def equal_counts(*values: Value) -> dict[Value, int]:
    return dict.fromkeys(values, 10)


@pytest.mark.parametrize("classes", [None, 1])
@pytest.mark.parametrize("high", [1, 7, 255, 65535])
def test_zero_and_one_other_are_background_and_foreground(high, classes):
    proposed = propose_mask_values(equal_counts(high, 0), classes=classes)
    assert proposed.classes_by_value == {0: "background", high: "foreground"}
    assert (proposed.kind, proposed.channels) == ("0/255", 1)


@pytest.mark.parametrize(
    ("counts", "arguments", "text"),
    [
        (equal_counts(0, 255), {"classes": ["membrane"]}, "0=background,255=membrane"),
        (equal_counts(255, 0), {"classes": 2}, "0=class_0,255=class_1"),
        (equal_counts(0, 255), {"classes": ["sea", "land"]}, "0=sea,255=land"),
        (equal_counts(0, 255), {"classes": ["background", "land"]}, "0=background,255=land"),
        (equal_counts(0, 1), {"classes": 2}, "0=class_0,1=class_1"),
        (equal_counts(0, 2), {"classes": 3}, "0=class_0,1=class_1,2=class_2"),
        (equal_counts(2, 0, 1), {"classes": ["a", "background", "c"]}, "0=a,1=background,2=c"),
        (equal_counts(0, 1, 11), {"classes": 2, "ignore": 11}, "0=class_0,1=class_1,11=ignored"),
        (equal_counts(0, 1, 2), {"classes": ["a", "b", "ignored"]}, "0=a,1=b,2=ignored"),
        (equal_counts(0, 1, 2), {"classes": 2, "ignore": "2"}, "0=class_0,1=class_1,2=ignored"),
        (equal_counts(0, 1, 2), {"classes": 3, "ignore": 255}, "0=class_0,1=class_1,2=class_2,255=ignored"),
        (equal_counts(0, 128, 255), {"ignore": 128}, "0=background,255=foreground,128=ignored"),
        (equal_counts(0, 128, 255), {"classes": 1, "ignore": 128}, "0=background,255=foreground,128=ignored"),
        (equal_counts(5, 10, 2), {}, "2=class_2,5=class_5,10=class_10"),
        (equal_counts(1, 2), {}, "1=class_1,2=class_2"),
        (equal_counts(0, 63, 255), {}, "0=background,63=foreground,255=ignored"),
        (equal_counts(0, 1, 2, 255), {}, "0=class_0,1=class_1,2=class_2,255=ignored"),
        (equal_counts(0, 1, 2, 255), {"ignore": 2}, "0=class_0,1=class_1,255=class_255,2=ignored"),
        (equal_counts(0, 128, 255), {}, "0=class_0,128=class_128,255=class_255"),
        ({0: 5, 255: 5, 7: 0}, {}, "0=background,255=foreground"),
        (equal_counts("#ff0000", "#000000", "#00ff00"), {}, "#000000=background,#00ff00=#00ff00,#ff0000=#ff0000"),
        (equal_counts("#0000ff", "#000002", "#000001"), {}, "#000001=#000001,#000002=#000002,#0000ff=#0000ff"),
        (equal_counts("#ff0000", 0), {"classes": 1}, "#000000=background,#ff0000=#ff0000"),
        (equal_counts("#ff0000", "#000000"), {"classes": ["fire"]}, "#000000=background,#ff0000=fire"),
        (equal_counts("#ff0000", "#000000", "#00ff00"), {"classes": 3, "ignore": None},
         "#000000=background,#00ff00=#00ff00,#ff0000=#ff0000"),
        (equal_counts("#ff0000", "#000000", 255), {"ignore": "#FFFFFF"},
         "#000000=background,#ff0000=#ff0000,#ffffff=ignored"),
    ],
)  # fmt: skip
def test_proposed_tables(counts, arguments, text):
    assert propose_mask_values(counts, **arguments).text == text


def test_a_palette_is_kept_for_the_values_that_occur():
    proposed = propose_mask_values(equal_counts(0, 1), palette={0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)})
    assert proposed.kind == "palette"
    assert proposed.palette == {0: (0, 0, 0), 1: (128, 0, 0)}


@pytest.mark.parametrize(
    ("counts", "arguments", "text"),
    [
        (
            {0: 90, 1: 9, 11: 4},
            {"classes": 2},
            r"The masks: found value 11 \(4 pixels\); expected 0 class_0, 1 class_1\. .*"
            r"--mask-values 0=class_0,1=class_1,11=NAME, or add --ignore 11\.",
        ),
        (equal_counts(0, 255), {"classes": 3}, r"found value 255 .*expected 0 class_0, 1 class_1, 2 class_2\."),
        (equal_counts(1, 2), {"classes": 2}, r"found value 2 "),
        (equal_counts(1, 2), {"classes": 1}, r"found value 2 .*expected 0 background, 1 foreground"),
        (equal_counts(*range(256)), {"classes": 2}, r"and 246 more; .*JPEG compression and interpolation"),
        (equal_counts(*range(256)), {"classes": 1}, r"JPEG compression and interpolation"),
        (
            equal_counts("#ff0000", "#000000"),
            {"classes": ["a", "b"]},
            r"Give every colour a name with --mask-values '#000000=NAME,#ff0000=NAME'\.",
        ),
        (equal_counts("#ff0000", "#000000", "#00ff00"), {"classes": 5}, r"expected 5 classes with an assigned colour"),
        (equal_counts("#ff0000", "#000000", 300), {}, r"found value 300 .*either as numbers or as colours"),
    ],
)
def test_values_that_classes_do_not_cover_are_an_error(counts, arguments, text):
    with pytest.raises(WrongMaskValues, match=text):
        propose_mask_values(counts, **arguments)


@pytest.mark.parametrize(
    ("counts", "arguments", "text"),
    [
        (equal_counts(0), {}, r"The masks: found only value 0 \(10 pixels\); expected at least two values\."),
        (equal_counts(0, 255), {"ignore": 255}, r"found only value 0 "),
        (equal_counts(0), {"classes": 2}, r"found only value 0 "),
        (equal_counts(255), {"ignore": 255}, r"found no value that is not ignored"),
        ({}, {}, r"found no value that is not ignored"),
    ],
)
def test_fewer_than_two_values_are_an_error(counts, arguments, text):
    with pytest.raises(WrongMaskValues, match=text):
        propose_mask_values(counts, **arguments)


def test_blurred_binary_masks_are_an_error():
    counts = equal_counts(*range(0, 17), *range(239, 256)) | dict.fromkeys(
        range(50, 90), 1
    )  # 340 pixels near, 40 between
    with pytest.raises(WrongMaskValues) as error:
        propose_mask_values(counts | {0: 60, 255: 60})  # 440 near of 480
    assert str(error.value) == (
        "The masks: found 74 different values, 92% of the pixels within 16 of 0 or 255; expected only 0 and 255. "
        "The masks were probably binary and were saved as JPEG or resized by interpolation: save them again as PNG, "
        "and resize masks by nearest neighbour. If each value is a class, list the values with --mask-values."
    )


@pytest.mark.parametrize("classes", [None, 1, 2, 254, ["cell"]])
@pytest.mark.parametrize("quality", [75, 90, 95, 100])
def test_binary_masks_saved_as_jpeg_are_an_error(quality, classes):
    rows, columns = np.mgrid[:256, :256]
    disc = Image.fromarray(np.uint8(255 * ((rows - 120) ** 2 + (columns - 130) ** 2 < 80**2)))
    file = BytesIO()
    disc.save(file, format="JPEG", quality=quality)
    values, pixels = np.unique(np.asarray(Image.open(file)), return_counts=True)
    assert len(values) > 2
    counts = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    with pytest.raises(WrongMaskValues, match="saved as JPEG or resized by interpolation"):
        propose_mask_values(counts, classes=classes)
    with pytest.raises(WrongMaskValues, match="saved as JPEG or resized by interpolation"):
        propose_mask_values(counts, classes=classes, ignore=255)


@pytest.mark.parametrize(
    ("counts", "arguments"),
    [
        (equal_counts(*range(12), 255), {}),
        (equal_counts(*range(12), 255), {"classes": 12, "ignore": 255}),
        (equal_counts(0, 1, 254), {"ignore": 254}),
        (equal_counts(0, 254, 255), {}),
        (equal_counts(0, 8, *range(100, 110), 245, 255), {}),  # most values are far from both ends
    ],
)
def test_small_ids_with_an_ignored_255_are_not_blurred(counts, arguments):
    assert len(propose_mask_values(counts, **arguments).classes_by_value) == len(counts)


def test_photographs_given_as_masks_are_an_error():
    with pytest.raises(WrongMaskValues, match=r"256 different values, 13% of .*masks and not photographs"):
        propose_mask_values(equal_counts(*range(256)))
    with pytest.raises(WrongMaskValues, match=r"found 65 different values; expected at most 64"):
        propose_mask_values(equal_counts(*(f"#00{number:02x}00" for number in range(65))))


def test_64_values_are_classes():
    assert len(propose_mask_values(equal_counts(*range(64))).labels) == 64
    assert len(propose_mask_values(equal_counts(*range(100)), classes=100).labels) == 100


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"classes": 0}, r"classes=0: expected 1 to 254"),
        ({"classes": 255}, r"classes=255: expected 1 to 254"),
        ({"classes": []}, r"classes=\[\]: expected a number, or a list of different names"),
        ({"classes": ["a", "a"]}, r"expected a number, or a list of different names"),
        ({"classes": "membrane"}, r"expected a number, or a list"),
        ({"ignore": "#ff0000"}, r"ignore='#ff0000': expected a number, as in the masks"),
    ],
)
def test_invalid_arguments_are_an_error(arguments, text):
    with pytest.raises(WrongArgument, match=text):
        propose_mask_values(equal_counts(0, 1, 2), **arguments)


def test_an_ignored_number_among_colours_is_an_error():
    with pytest.raises(WrongArgument, match=r"ignore=255: expected a colour such as #ff0000"):
        propose_mask_values(equal_counts("#000000", "#ffffff"), ignore=255)


def test_an_ignored_name_is_an_error():
    with pytest.raises(WrongLabelTable, match=r"--ignore: found the mask value 'void'; expected an integer"):
        propose_mask_values(equal_counts(0, 1), ignore="void")
