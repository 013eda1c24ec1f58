"""Labels and distinguishable colours."""

import numpy as np
import pytest
from pydantic import ValidationError

from maskwright.images.labels import IGNORED, Label, distinct_colours


def test_ignored_leaves_room_for_254_labels():
    assert IGNORED == 255


def test_colours_differ_and_none_is_black():
    colours = distinct_colours(254)
    assert len(set(colours)) == len(colours) == 254
    assert (0, 0, 0) not in colours
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)


def test_a_longer_sequence_starts_with_the_same_colours():
    assert distinct_colours(0) == ()
    assert distinct_colours(5) == distinct_colours(40)[:5]


def test_the_first_twelve_colours_are_far_apart():
    """CIE 1976 difference by the definitions of sRGB and CIELAB; 2.3 is just noticeable."""
    unit = np.array(distinct_colours(12)) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    root = np.cbrt(xyz / (0.9505, 1.0, 1.089))
    lab = np.stack([116 * root[:, 1], 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
    apart = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(12, 1)]
    assert apart.min() > 20


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"colour": (0, 0, 256)}, {"colour": (0, 0)}, {"value": 0.5}, {"color": (0, 0, 0)}], ids=str
)
def test_an_invalid_label_is_an_error(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Label(**({"name": "road", "value": 1, "colour": (1, 2, 3)} | wrong))


def test_a_label_cannot_be_changed():
    label = Label(name="road", value=1, colour=(1, 2, 3))
    with pytest.raises(ValidationError, match="frozen"):
        label.value = 2  # type: ignore[misc]
