"""Every row of the published files."""

import re

import pytest

from maskwright.networks.backbones import BACKBONES
from maskwright.weights.catalogue import PUBLISHED


@pytest.mark.parametrize("key", PUBLISHED, ids=lambda key: f"{key[0]}-{key[1]}-{'top' if key[2] else 'no_top'}")
def test_a_row_is_whole(key):
    model, dataset, top = key
    file = PUBLISHED[key]
    assert model in BACKBONES
    assert dataset in BACKBONES[model].weights
    assert (model, dataset, not top) in PUBLISHED
    if file.algorithm == "md5":
        assert file.name == f"{model}_{dataset}_{file.classes}{'' if top else '_no_top'}.h5"
        assert re.fullmatch("[0-9a-f]{32}", file.digest)
    else:
        assert file.name == f"{model.removesuffix('_v1')}-{file.digest}.pth"
        assert re.fullmatch("[0-9a-f]{8}", file.digest)
    assert file.address.startswith(("https://github.com/qubvel/", "https://download.pytorch.org/models/"))
    assert file.address.endswith(f"/{file.name}")


def test_no_two_files_share_a_digest():
    files = set(PUBLISHED.values())
    assert len({file.digest for file in files}) == len({file.address for file in files}) == len(files) == 34 + 5


def test_the_rows_are_those_of_the_library_that_published_them():
    collection = pytest.importorskip(
        "classification_models.weights", reason="image-classifiers is not installed"
    ).WEIGHTS_COLLECTION
    theirs = {
        (row["model"], row["dataset"], row["include_top"]): (row["url"], row["md5"], row["classes"])
        for row in collection
    }
    ours = {
        key: (file.address, file.digest, file.classes) for key, file in PUBLISHED.items() if file.algorithm == "md5"
    }
    assert ours == theirs
