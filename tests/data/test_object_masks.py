"""Object masks are recognised, and are read as a background and one class."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.data.check import CheckReport, ScannedSet, check
from maskwright.data.fingerprint import fingerprint
from maskwright.data.label_table import WrongLabelTable
from maskwright.data.mask_values import MaskValues, WrongMaskValues, parse_mask_values
from maskwright.data.pairs import Pair, pair_folders
from maskwright.data.patches import PairReader
from maskwright.data.propose_mask_values import object_mask_values
from maskwright.data.scan import MAX_VALUES, MaskFacts, scan
from maskwright.data.split import mask_coverage
from maskwright.data.summary import ClassBalance
from maskwright.errors import WrongArgument
from maskwright.images.normalise import Normalisation
from maskwright.training.prepare import check_data
from maskwright.training.recipe import Recipe
from tests.data.drawn_objects import draw_grid
from tests.data.painted import paint

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "nuclei"
OBJECTS = parse_mask_values("0=background,others=nucleus,65535=ignored")
TRAIN_OPTION, CHECK_OPTION = "--set data.mask_kind=objects", "--mask-kind objects"


def scanned(folder: Path, masks: list[np.ndarray], *, mask_values: MaskValues | None = None) -> ScannedSet:
    random = np.random.default_rng(5)
    for number, mask in enumerate(masks):
        paint(folder / f"images/{number}.png", random.integers(0, 256, mask.shape[:2]))
        paint(folder / f"masks/{number}.tif", mask)
    pairing = pair_folders(folder / "images", folder / "masks")
    return ScannedSet(pairing, scan(pairing.pairs, mask_values=mask_values))


def message(report: CheckReport, severity: str) -> str:
    """The only message about mask values of a severity."""
    (found,) = [each for each in report.problems if (each.kind, each.severity) == ("mask values", severity)]
    return found.message


# The label table


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65534), (np.int32, 10**6)])
def test_all_numbers_that_are_not_listed_are_encoded_as_the_class_of_others(dtype, top):
    mask = np.random.default_rng(0).integers(0, top + 1, (50, 60)).astype(dtype)
    mask[:5] = 0
    indices = OBJECTS.encode(mask, file="m.png")
    assert indices.dtype == np.uint8
    assert np.array_equal(indices, mask > 0)


def test_listed_numbers_keep_their_meaning():
    assert OBJECTS.encode(np.uint16([[0, 1, 7, 65534, 65535]]), file="m.png").tolist() == [[0, 1, 1, 1, 255]]
    assert [OBJECTS.class_of(value) for value in (0, 7, 65535)] == ["background", "nucleus", "ignored"]
    assert OBJECTS.count_classes({0: 5, 7: 2, 9: 1, 65535: 4}) == {"background": 5, "nucleus": 3, "ignored": 4}


def test_others_can_be_background_or_ignored():
    road = parse_mask_values("7=road,others=background")
    assert road.encode(np.uint8([[0, 7, 200]]), file="m.png").tolist() == [[0, 1, 0]]
    assert [(label.name, label.value) for label in road.labels] == [("background", 0), ("road", 7)]
    rest = parse_mask_values("0=background,1=road,others=ignored")
    assert rest.encode(np.uint8([[0, 1, 200]]), file="m.png").tolist() == [[0, 1, 255]]
    assert (road.kind, rest.kind, OBJECTS.kind) == ("ids", "ids", "objects")


@pytest.mark.parametrize(
    ("table", "value"),
    [("0=background,others=cell", 1), ("others=cell,0=background", 1), ("0=background,1=ignored,others=cell", 2)],
)
def test_the_value_of_others_in_predicted_masks_is_read_back_as_its_class(table, value):
    values = parse_mask_values(table)
    assert [(label.name, label.value) for label in values.labels] == [("background", 0), ("cell", value)]
    assert (values.channels, values.class_of(value)) == (1, "cell")


@pytest.mark.parametrize("text", ["0=background,others=nucleus,65535=ignored", "others=cell,0=background"])
def test_a_table_with_others_is_unchanged_by_text_json_and_yaml(text, tmp_path):
    table = parse_mask_values(text)
    assert table.text == text
    assert MaskValues.model_validate_json(table.model_dump_json()) == table
    (tmp_path / "t.yaml").write_text(text.replace("=", ": ").replace(",", "\n"))
    assert list(parse_mask_values(tmp_path / "t.yaml").classes_by_value.items()) == list(table.classes_by_value.items())


def test_others_among_colours_are_an_error():
    with pytest.raises(WrongLabelTable, match=r"found 'others' in a table of colours; expected 'others' only in a"):
        parse_mask_values("#000000=background,others=cell")
    with pytest.raises(WrongLabelTable, match="found both numbers and colours"):
        parse_mask_values("#000000=background,1=wall,others=cell")


def test_colours_in_object_masks_are_an_error():
    with pytest.raises(WrongMaskValues, match=r"m\.png: found values .*as numbers in a single channel, not as colours"):
        OBJECTS.encode(np.uint8([[[0, 0, 0], [1, 2, 3]]]), file="m.png")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "0=background,others=object"),
        ({"classes": 1}, "0=background,others=object"),
        ({"classes": ["nucleus"]}, "0=background,others=nucleus"),
        ({"classes": ["background", "nucleus"], "ignore": "9"}, "0=background,others=nucleus,9=ignored"),
    ],
)
def test_tables_of_object_masks(arguments, text):
    assert object_mask_values(**arguments).text == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"classes": 3}, r"classes=3: expected 1 or a single class name together with mask_kind=objects"),
        ({"classes": ["a", "b"]}, r"classes=\['a', 'b'\]: expected 1 or a single class name"),
        ({"classes": ["background"]}, r"expected 1 or a single class name"),
        ({"classes": ["ignored"]}, r"expected 1 or a single class name"),
        ({"ignore": 0}, r"ignore=0: expected a number other than 0 together with mask_kind=objects"),
        ({"ignore": "#ff0000"}, r"ignore='#ff0000': expected a number other than 0"),
    ],
)
def test_classes_and_ignored_values_that_object_masks_cannot_have_are_an_error(arguments, text):
    with pytest.raises(WrongArgument, match=text):
        object_mask_values(**arguments)


# The scan and the fingerprint


def test_counts_are_right_for_masks_of_many_objects(tmp_path):
    mask = draw_grid(60, 50, side=3, gap=0)  # 3000 objects that touch each other
    mask[:7, :11], mask[-2:, :5] = 0, 65535
    assert len(np.unique(mask)) > 2 * MAX_VALUES
    facts = scanned(tmp_path, [mask.astype(np.uint16)], mask_values=OBJECTS).scanned[0].mask
    assert facts is not None
    names = np.where(mask == 0, "background", np.where(mask == 65535, "ignored", "nucleus"))
    starts = np.ones(mask.shape, bool)
    starts[:, 1:] = mask[:, 1:] != mask[:, :-1]
    for counts, part in ((facts.values, names), (facts.upper_half, names[:90]), (facts.runs, names[starts])):
        expected = dict(zip(*np.unique(part, return_counts=True), strict=True))
        assert OBJECTS.count_classes(counts) == expected
        assert len(counts) <= 3
    assert facts.distinct_values == len(np.unique(mask))


def test_coverage_and_fingerprint_of_object_masks(tmp_path):
    mask = np.uint16([[0, 0, 0, 0, 5, 5, 5, 700, 700, 65535], [0, 0, 0, 0, 0, 0, 0, 0, 0, 700]])
    pairs = scanned(tmp_path, [mask], mask_values=OBJECTS).scanned
    found = fingerprint(pairs, mask_values=OBJECTS, normalisation=Normalisation(mean=(0.5,), std=(0.2,)))
    assert found.class_fractions == {"background": pytest.approx(13 / 19), "nucleus": pytest.approx(6 / 19)}
    assert found.object_width == 2  # runs of 3, 2 and 1; the first two are objects that touch each other
    assert mask_coverage({"a": pairs[0].mask.values}, OBJECTS) == {"a": pytest.approx(6 / 19)}


def test_patches_of_object_masks_have_label_indices(tmp_path):
    mask = draw_grid(20, 20, first=400).astype(np.uint16)
    pair = Pair("a", paint(tmp_path / "a.png", mask % 256), paint(tmp_path / "a.tif", mask))
    _, labels = PairReader([pair], channels=1, mask_values=OBJECTS, cache_bytes=0)[0]
    assert np.array_equal(labels, mask > 0)


# The check


@pytest.mark.parametrize("grids", [[(9, 10), (7, 5)], [(50, 40), (40, 40)]], ids=["up to 90", "up to 2000 objects"])
@pytest.mark.parametrize("classes", [None, 1, ["nucleus"]])
def test_object_masks_without_the_option_are_recognised(tmp_path, grids, classes):
    report = check(scanned(tmp_path, [draw_grid(*grid) for grid in grids]), classes=classes)
    text = message(report, "fatal")
    assert "which look like the numbers of objects; expected one value per class." in text
    assert TRAIN_OPTION in text
    assert CHECK_OPTION in text
    assert "photograph" not in text


@pytest.mark.parametrize("ignore", [None, 65535])
def test_object_masks_with_continued_numbers_and_an_ignored_value_are_recognised(tmp_path, ignore):
    masks = [draw_grid(9, 10), draw_grid(6, 6, first=91)]
    masks[1][:4, :4] = 65535
    assert TRAIN_OPTION in message(check(scanned(tmp_path, masks), ignore=ignore), "fatal")


def test_object_masks_beside_a_table_of_classes_are_recognised(tmp_path):
    report = check(scanned(tmp_path, [draw_grid(9, 10)]), mask_values=parse_mask_values("0=background,1=cell"))
    text = message(report, "fatal")
    assert text.startswith("1 mask with unknown values: found values 2 ")
    assert TRAIN_OPTION in text
    assert "JPEG" not in text


def test_few_objects_are_a_warning_unless_classes_are_given(tmp_path):
    data = scanned(tmp_path, [draw_grid(5, 6), draw_grid(4, 5)])
    text = message(check(data), "warning")
    assert text.startswith("The masks look like object masks, but each of the 31 values is treated as a class. ")
    assert TRAIN_OPTION in text
    assert check(data, classes=31).problems == ()


def test_large_objects_with_numbers_near_0_and_255_are_not_reported_as_blurred(tmp_path):
    mask = np.zeros((400, 400), np.int32)
    grid = draw_grid(16, 16)
    mask[: len(grid), : len(grid)] = grid
    assert "JPEG" not in message(check(scanned(tmp_path, [mask])), "fatal")


def as_jpeg(mask: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(np.uint8(mask)).save(file, format="JPEG", quality=90)
    return np.asarray(Image.open(file))


def photograph() -> np.ndarray:
    """A smooth 8-bit picture: a wave of brightness with a little noise."""
    rows, columns = np.mgrid[:120, :160]
    wave = 127 + 110 * np.sin(rows / 19) * np.cos(columns / 23)
    return np.uint8(wave + np.random.default_rng(1).normal(0, 3, wave.shape))


def many_classes(seed: int) -> np.ndarray:
    """Ten regions of different sizes, with ten of 150 class numbers."""
    random = np.random.default_rng(seed)
    return np.kron(random.choice(150, (2, 5), replace=False) + 1, np.ones((20, 12), int)).astype(np.uint8)


def three_classes(number: int) -> np.ndarray:
    """Three regions, with three of 150 class numbers."""
    return np.repeat(np.uint8([[number, number + 5, 150]]), 12, axis=0).repeat(10, axis=1)


def distances(side: int, *, ring: int) -> np.ndarray:
    """The distance to the centre in rings of ``ring`` pixels, each a single connected region."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    return (np.hypot(rows, columns) / ring).astype(np.uint8)


@pytest.mark.parametrize(
    "masks",
    [
        [photograph()],
        [np.random.default_rng(2).integers(0, 600, (64, 64)).astype(np.uint16)],
        [as_jpeg(255 * (draw_grid(6, 8, side=9) > 0))],
        [many_classes(seed) for seed in range(20)],
        [three_classes(number) for number in range(1, 150, 6)] + [three_classes(number) for number in range(3, 150, 6)],
        [distances(200, ring=1)],
        [distances(600, ring=6)],
    ],
    ids=["photograph", "noise", "binary masks saved as JPEG", "many classes", "three of many classes", "thin rings",
         "wide rings"],
)  # fmt: skip
def test_other_masks_are_not_taken_for_object_masks(tmp_path, masks):
    text = message(check(scanned(tmp_path, masks)), "fatal")
    assert "look like" not in text
    assert CHECK_OPTION not in text


def test_a_colour_mask_among_object_masks_is_reported_first(tmp_path):
    colours = np.zeros((9, 9, 3), np.uint8)
    colours[0, 0] = 200, 10, 10
    text = message(check(scanned(tmp_path, [draw_grid(20, 20, first=300), colours])), "fatal")
    assert "look like" not in text


def test_the_remedy_for_many_values_names_the_option_for_numbers_only(tmp_path):
    assert TRAIN_OPTION in message(check(scanned(tmp_path / "numbers", [photograph()])), "fatal")
    colours = np.random.default_rng(4).integers(0, 256, (20, 20, 3), np.uint8)
    text = message(check(scanned(tmp_path / "colours", [colours])), "fatal")
    assert "not photographs" in text
    assert TRAIN_OPTION not in text


def test_masks_of_objects_pass_with_the_option(tmp_path):
    masks = [draw_grid(50, 40), draw_grid(4, 5)]
    for mask in masks:
        mask[-3:, -1] = 65535
    scanned(tmp_path, masks)
    fields = {"images": tmp_path / "images", "masks": tmp_path / "masks", "mask_kind": "objects"}
    data = Recipe.from_dict({"data": fields | {"classes": ["nucleus"], "ignore": 65535}}).data
    report = check_data(data)[0]
    assert report.problems == ()
    objects, ignored = 25 * 2020, 6
    total = sum(mask.size for mask in masks)
    assert report.train.balance == (
        ClassBalance(0, "background", total - objects - ignored, (total - objects - ignored) / total, 2),
        ClassBalance("others", "nucleus", objects, objects / total, 2),
        ClassBalance(65535, "ignored", ignored, ignored / total, 2),
    )


def test_masks_without_objects_are_counted_as_background(tmp_path):
    scanned(tmp_path, [draw_grid(4, 5), np.zeros((9, 9), np.uint16)])
    fields = {"images": tmp_path / "images", "masks": tmp_path / "masks", "mask_kind": "objects"}
    report = check_data(Recipe.from_dict({"data": fields}).data)[0]
    (found,) = report.problems
    assert found.message.startswith("1 of 2 masks with a single class: 1 background.")
    assert [row.masks for row in report.train.balance] == [2, 1]


def test_validation_masks_are_object_masks_too(tmp_path):
    for name, masks in (("t", [draw_grid(3, 4)]), ("v", [draw_grid(50, 40)])):
        scanned(tmp_path / name, masks)
    fields = {"images": tmp_path / "t/images", "masks": tmp_path / "t/masks", "mask_kind": "objects"}
    fields |= {"val_images": tmp_path / "v/images", "val_masks": tmp_path / "v/masks"}
    report = check_data(Recipe.from_dict({"data": fields}).data)[0]
    assert report.fatal == []
    assert report.validation is not None
    assert [row.pixels for row in report.validation.balance] == [24 * 2000, 25 * 2000]


def test_palette_masks_of_objects_pass_with_the_option(tmp_path):
    mask = draw_grid(4, 5)
    paint(tmp_path / "images/a.png", np.add.outer(np.arange(mask.shape[0]), 3 * np.arange(mask.shape[1])))
    paint(tmp_path / "masks/a.png", mask, palette=np.random.default_rng(3).integers(0, 256, 3 * 256).tolist())
    fields = {"images": tmp_path / "images", "masks": tmp_path / "masks", "mask_kind": "objects"}
    report = check_data(Recipe.from_dict({"data": fields}).data)[0]
    assert report.problems == ()
    assert report.mask_values is not None
    assert report.mask_values.kind == "objects"


def test_colour_masks_with_the_option_are_fatal(tmp_path):
    paint(tmp_path / "images/a.png", [[0, 50]])
    paint(tmp_path / "masks/a.png", [[[0, 0, 0], [9, 0, 0]]])
    fields = {"images": tmp_path / "images", "masks": tmp_path / "masks", "mask_kind": "objects"}
    report = check_data(Recipe.from_dict({"data": fields}).data)[0]
    assert "Save all masks as numbers in a single channel, not as colours." in message(report, "fatal")


@pytest.mark.skipif(not NUCLEI.is_dir(), reason=f"needs the data set in {NUCLEI}")
def test_real_object_masks_pass_with_the_option_and_are_recognised_without_it():
    fields = {"images": NUCLEI / "images", "masks": NUCLEI / "objects"}
    report, train, _ = check_data(Recipe.from_dict({"data": fields | {"mask_kind": "objects"}}).data)
    assert report.problems == ()
    assert [row.name for row in report.train.balance] == ["background", "object"]
    assert all(isinstance(pair.mask, MaskFacts) and len(pair.mask.values) <= 2 for pair in train.scanned)
    some = pair_folders(NUCLEI / "images", NUCLEI / "objects").pairs[::8]
    without = check(ScannedSet(train.pairing, scan(some)))
    assert TRAIN_OPTION in message(without, "fatal")
