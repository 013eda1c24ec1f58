import json

import numpy as np
import pytest
from pydantic import ValidationError

from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle, UnreadableBundle
from tests.inference.fake_engines import BACKGROUND, CELL, bundle

ROAD = Label(name="road", value=7, colour=(1, 2, 3))
SKY = Label(name="sky", value=300, colour=(4, 5, 6))


def test_a_bundle_is_read_as_it_was_written(tmp_path):
    written = bundle(threshold=0.37)
    written.write(tmp_path)
    assert Bundle.read(tmp_path) == written


def test_a_softmax_takes_the_most_probable_label_and_the_first_of_ties():
    several = bundle(labels=(ROAD, SKY, CELL), activation="softmax")
    probabilities = np.float32([[[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]])
    assert several.decide(probabilities).tolist() == [[1, 0, 2]]
    assert several.values(several.decide(probabilities)).tolist() == [[300, 7, 255]]


def test_masks_have_the_smallest_dtype_that_holds_their_values():
    assert bundle().values(np.uint8([0, 1])).dtype == np.uint8
    assert bundle(labels=(ROAD, SKY), activation="softmax").values(np.uint8([0, 1])).dtype == np.uint16


def test_negative_mask_values_are_kept():
    nodata = Label(name="nodata", value=-1, colour=(7, 8, 9))
    assert bundle(labels=(nodata, SKY), activation="softmax").values(np.uint8([0, 1])).tolist() == [-1, 300]


def test_images_are_normalised_with_the_mean_and_standard_deviation():
    measured = bundle(normalisation=Normalisation(mean=(0.2,), std=(0.4,)))
    assert measured.prepare(np.uint8([[[255]], [[0]]])).ravel().tolist() == pytest.approx([2.0, -0.5])


def test_a_sigmoid_needs_a_background():
    with pytest.raises(ValidationError, match="background first"):
        bundle(labels=(CELL, BACKGROUND))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda fields: fields.pop("labels"), "labels: Field required"),
        (lambda fields: fields.update(format=2), "format: Input should be 1"),
        (lambda fields: fields.update(extra=1), "extra: Extra inputs"),
        (lambda fields: fields["normalisation"].update(std=[0]), "normalisation.std.0: Input should be greater than 0"),
    ],
)
def test_the_error_of_a_damaged_bundle_names_the_field(tmp_path, change, found):
    bundle().write(tmp_path)
    fields = json.loads((tmp_path / "bundle.json").read_text())
    change(fields)
    (tmp_path / "bundle.json").write_text(json.dumps(fields))
    with pytest.raises(UnreadableBundle, match=rf"bundle\.json: .*\({found}"):
        Bundle.read(tmp_path)


def test_the_error_of_a_truncated_bundle_names_the_file(tmp_path):
    (tmp_path / "bundle.json").write_text('{"format": 1,')
    with pytest.raises(UnreadableBundle, match=r"bundle\.json: .*Invalid JSON"):
        Bundle.read(tmp_path)


def test_a_bundle_has_at_most_255_labels():
    labels = [Label(name=str(number), value=number, colour=(0, 0, 0)) for number in range(256)]
    most = bundle(labels=labels[:255], activation="softmax")
    assert most.decide(np.eye(255, dtype=np.float32)[None])[0].tolist() == list(range(255))
    with pytest.raises(ValidationError, match="at most 255 items"):
        bundle(labels=labels, activation="softmax")
