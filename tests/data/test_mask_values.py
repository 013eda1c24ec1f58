"""Raw mask values are encoded as label indices by a label table."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from maskwright.data.mask_values import MaskValues, WrongMaskValues, parse_mask_values
from maskwright.images.labels import IGNORED

ROAD = MaskValues(classes_by_value={7: "road", 2: "background", 300: "car", 8: "road", 255: "ignored"})
TOWN = MaskValues(
    classes_by_value={"#800000": "house", "#000000": "background", "#ffffff": "ignored", "#010203": "tree"}
)


def u8(values: object) -> np.ndarray:
    return np.asarray(values, np.uint8)


def test_labels_are_the_background_then_classes_in_table_order():
    labels = [(label.name, label.value, label.background) for label in ROAD.labels]
    assert labels == [("background", 2, True), ("road", 7, False), ("car", 300, False)]


def test_labels_of_colours_are_numbered_and_keep_their_colours():
    labels = [(label.name, label.value, label.colour) for label in TOWN.labels]
    assert labels == [("background", 0, (0, 0, 0)), ("house", 1, (128, 0, 0)), ("tree", 2, (1, 2, 3))]


def test_numbers_are_encoded_as_label_indices():
    mask = np.array([[2, 7, 8], [300, 255, 2]])
    for dtype in (np.uint16, np.int32, np.int64):
        indices = ROAD.encode(mask.astype(dtype), file="m.png")
        assert indices.dtype == np.uint8
        assert indices.tolist() == [[0, 1, 1], [2, 255, 0]]


def test_colours_are_encoded_as_label_indices():
    mask = u8([[[128, 0, 0], [0, 0, 0]], [[255, 255, 255], [1, 2, 3]]])
    assert TOWN.encode(mask, file="m.png").tolist() == [[1, 0], [255, 2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_a_mask_of_greys_among_colour_masks_is_read_as_colours(dtype):
    assert TOWN.encode(np.array([[0, 255]], dtype), file="m.png").tolist() == [[0, 255]]


def test_negative_numbers_may_be_ignored():
    nodata = MaskValues(classes_by_value={-1: "ignored", 0: "background", 1: "lake"})
    assert nodata.encode(np.array([[-1, 1, 0]], np.int32), file="m.tif").tolist() == [[255, 1, 0]]


def test_254_labels_do_not_collide_with_the_ignored_index():
    many = MaskValues(classes_by_value={value: f"class_{value}" for value in range(254)} | {254: "ignored"})
    mask = np.arange(255, dtype=np.uint8)[None]
    assert many.encode(mask, file="m.png").tolist() == [[*range(254), IGNORED]]
    with pytest.raises(WrongMaskValues, match="value 255"):
        many.encode(u8([[255]]), file="m.png")


@st.composite
def tables(draw):
    values = draw(st.one_of(
        st.lists(st.integers(-5, 70_000), min_size=2, max_size=20, unique=True),
        st.lists(st.integers(0, 2**24 - 1).map(lambda code: f"#{code:06x}"), min_size=2, max_size=20, unique=True),
    ))  # fmt: skip
    names = ["background", *(f"class_{number}" for number in range(1, len(values)))]
    return MaskValues(classes_by_value=dict(zip(values, names, strict=True)))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_a_table_is_unchanged_by_json_and_by_its_text(mask_values):
    assert MaskValues.model_validate_json(mask_values.model_dump_json()) == mask_values
    restored = parse_mask_values(mask_values.text)
    assert list(restored.classes_by_value.items()) == list(mask_values.classes_by_value.items())


def test_json_keeps_order_and_palette():
    restored = MaskValues.model_validate(json.loads(ROAD.with_palette({7: (1, 2, 3)}).model_dump_json()))
    assert restored.labels == ROAD.labels
    assert restored.palette == {7: (1, 2, 3)}


@pytest.mark.parametrize(
    ("table", "kind", "channels"),
    [
        ({0: "background", 255: "cell"}, "0/255", 1),
        ({0: "background", 65535: "cell"}, "0/255", 1),
        ({0: "day", 255: "night"}, "0/255", 2),
        ({0: "background", 1: "cell", 2: "cell"}, "ids", 1),
        ({1: "background", 2: "cell"}, "ids", 1),
        ({0: "background", 1: "cell", 2: "wall"}, "ids", 3),
        ({0: "background", 1: "cell", 2: "ignored"}, "ids", 1),
        ({"#000000": "background", "#ff0000": "cell"}, "colours", 1),
    ],
)
def test_kind_and_channels(table, kind, channels):
    assert MaskValues(classes_by_value=table).kind == kind
    assert MaskValues(classes_by_value=table).channels == channels


def test_distinguishable_palette_colours_are_kept():
    cells = MaskValues(classes_by_value={0: "background", 1: "cell", 2: "wall"})
    vivid = cells.with_palette({0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 9: (1, 1, 1)})
    assert vivid.kind == "palette"
    assert [label.colour for label in vivid.labels] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


@pytest.mark.parametrize("palette", [{0: (0, 0, 0), 1: (1, 1, 1), 2: (2, 2, 2)}, {0: (0, 0, 0), 1: (128, 0, 0)}])
def test_similar_or_missing_palette_colours_are_replaced(palette):
    colours = [
        label.colour for label in MaskValues(classes_by_value={0: "background", 1: "a", 2: "b"}, palette=palette).labels
    ]
    assert colours[0] == (0, 0, 0)
    assert all(max(colour) > 100 for colour in colours[1:])
    assert len(set(colours)) == 3


def test_an_unknown_number_is_reported_with_pixels_and_both_remedies():
    cell = MaskValues(classes_by_value={0: "background", 255: "cell"})
    with pytest.raises(WrongMaskValues) as error:
        cell.encode(u8([[0, 7, 7], [255, 7, 0]]), file="dir/7.png")
    assert str(error.value) == (
        "dir/7.png: found value 7 (3 pixels); expected 0 background, 255 cell. Give every value a class name "
        "or 'ignored' with --mask-values 0=background,255=cell,7=NAME, or add --ignore 7."
    )


def test_a_0_255_mask_among_id_masks_is_an_error():
    ids = MaskValues(classes_by_value={0: "background", 1: "cell"})
    with pytest.raises(WrongMaskValues, match=r"7\.png: found value 255 .*--mask-values 0=background,1=cell,255=NAME"):
        ids.encode(u8([[0, 255]]), file="7.png")


def test_an_unknown_colour_is_quoted_for_the_shell():
    with pytest.raises(WrongMaskValues, match=r"found value #0000ff \(1 pixel\)..*--ignore '#0000ff'\."):
        TOWN.encode(u8([[[0, 0, 255], [0, 0, 0]]]), file="m.png")


def test_an_unknown_grey_among_colours_is_reported_as_a_colour():
    with pytest.raises(WrongMaskValues, match=r"found value #070707 \(2 pixels\).*#070707=NAME"):
        TOWN.encode(u8([[7, 7, 0]]), file="m.png")


def test_colours_instead_of_numbers_are_an_error():
    with pytest.raises(WrongMaskValues, match=r"values #000000 \(2 pixels\), #0a141e .*numbers or as colours"):
        ROAD.encode(u8([[[0, 0, 0], [0, 0, 0], [10, 20, 30]]]), file="m.png")


def test_colours_are_not_confused_with_their_packed_numbers():
    with pytest.raises(WrongMaskValues, match=r"values #000000 \(1 pixel\), #000001 \(1 pixel\)"):
        MaskValues(classes_by_value={0: "background", 1: "cell"}).encode(u8([[[0, 0, 0], [0, 0, 1]]]), file="m.png")


def test_a_number_above_255_among_colours_is_an_error():
    with pytest.raises(WrongMaskValues, match=r"value 256 .*numbers or as colours"):
        TOWN.encode(np.array([[0, 256]], np.uint16), file="m.png")


def test_many_unknown_values_are_explained_by_jpeg():
    with pytest.raises(WrongMaskValues, match=r"and 90 more; .*JPEG compression and interpolation .*PNG"):
        MaskValues(classes_by_value={0: "background", 1: "cell"}).encode(
            np.arange(100, dtype=np.uint8)[None], file="m.png"
        )


def test_long_tables_are_referred_to_a_file():
    wide = MaskValues(classes_by_value={value: f"class_{value}" for value in range(30)})
    with pytest.raises(
        WrongMaskValues, match=r"and 22 more\. .* with --mask-values and a YAML file, or add --ignore 99"
    ):
        wide.encode(u8([[99]]), file="m.png")


def test_the_constructor_checks_its_table():
    with pytest.raises(ValidationError, match="found 1 classes"):
        MaskValues(classes_by_value={0: "background"})
