"""Entries of the catalogue of published files."""

import re
from importlib import import_module
from inspect import getsource

import pytest

from maskwright.networks.backbones import BACKBONES
from maskwright.networks.keras_applications import APPLICATIONS
from maskwright.weights.catalogue import PUBLISHED


@pytest.mark.parametrize("key", PUBLISHED, ids=lambda key: f"{key[0]}-{key[1]}-{'top' if key[2] else 'no_top'}")
def test_entry_has_consistent_name_digest_and_address(key):
    model, dataset, top = key
    file = PUBLISHED[key]
    assert model in BACKBONES
    assert dataset in BACKBONES[model].weights
    assert file.address.startswith("https://")
    assert file.address.endswith(f"/{file.name}")
    if model in APPLICATIONS:
        assert (dataset, top) == ("imagenet", False)
        return
    assert (model, dataset, not top) in PUBLISHED
    if file.algorithm == "md5":
        assert file.name == f"{model}_{dataset}_{file.classes}{'' if top else '_no_top'}.h5"
        assert re.fullmatch("[0-9a-f]{32}", file.digest)
    else:
        assert file.name == f"{model.removesuffix('_v1')}-{file.digest}.pth"
        assert re.fullmatch("[0-9a-f]{8}", file.digest)
    assert file.address.startswith(("https://github.com/qubvel/", "https://download.pytorch.org/models/"))


def test_digests_are_unique():
    files = set(PUBLISHED.values())
    assert len({file.address for file in files}) == len(files) == 34 + 5 + len(APPLICATIONS)
    digests = [file.digest for file in files if file.digest]
    assert len(set(digests)) == len(digests) == len(files) - 2


class DownloadRequested(Exception):
    """Raised with the arguments of a download by Keras."""


@pytest.mark.parametrize("name", ["vgg16", "mobilenet", "mobilenetv3small", "efficientnetb0", "convnexttiny"])
def test_keras_downloads_the_same_file(name, monkeypatch):
    def raise_request(file, address, *, cache_subdir, file_hash=""):
        raise DownloadRequested(file, address, cache_subdir, file_hash)

    monkeypatch.setattr(import_module("keras.src.utils.file_utils"), "get_file", raise_request)
    with pytest.raises(DownloadRequested) as raised:
        APPLICATIONS[name].build(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
    file = PUBLISHED[name, "imagenet", False]
    assert raised.value.args == (file.name, file.address, "models", file.digest)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_digest_is_that_in_the_source_of_keras(name):
    build = APPLICATIONS[name].build
    source = getsource(import_module(getattr(build, "func", build).__module__))
    assert f'"{PUBLISHED[name, "imagenet", False].digest}"' in source


def test_entries_equal_those_of_image_classifiers():
    collection = pytest.importorskip(
        "classification_models.weights", reason="image-classifiers is not installed"
    ).WEIGHTS_COLLECTION
    theirs = {
        (row["model"], row["dataset"], row["include_top"]): (row["url"], row["md5"], row["classes"])
        for row in collection
    }
    ours = {
        key: (file.address, file.digest, file.classes)
        for key, file in PUBLISHED.items()
        if file.name.endswith(".h5") and key[0] not in APPLICATIONS
    }
    assert ours == theirs
