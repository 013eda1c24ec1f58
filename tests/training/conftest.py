"""Trained networks from which training starts, as runs and as files of each kind."""

import pytest

from maskwright.models import Unet
from maskwright.networks.blocks import torch_batch_norm
from maskwright.networks.resnet_v1 import RESNET_V1_SKIPS, ResNet18V1
from maskwright.networks.unet import build_unet
from maskwright.training.start_from import read_start
from maskwright.weights.smp.load_save import save_smp
from tests.networks.randomise import randomise
from tests.training.start_runs import SMALL, bundle_of, recipe_of, write_run
from tests.weights.legacy_files import layers_of, write_weights


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Runs with three classes and with one class, as starting points."""
    folder = tmp_path_factory.mktemp("start")
    three = write_run(folder / "three", bundle_of("-", "cell", "fibre", scale=0.5))
    one = write_run(folder / "one", bundle_of("-", "cell"), seed=2)
    return {name: read_start(recipe_of(path))[1] for name, path in (("three", three), ("one", one))}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A file of each kind, with three output channels, and the networks in them."""
    folder = tmp_path_factory.mktemp("files")
    ours = randomise(Unet("resnet18", classes=3, activation="softmax", decoder_filters=SMALL["decoder_filters"]))
    ours.save(folder / "ours.keras")
    write_weights(folder / "old.h5", layers_of(ours))
    filters = SMALL["decoder_filters"]
    smp = build_unet(
        ResNet18V1(), 3, RESNET_V1_SKIPS, activation="softmax", decoder_filters=filters, norm=torch_batch_norm
    )
    save_smp(randomise(smp), folder / "smp.safetensors")
    return {"ours.keras": ours, "old.h5": ours, "smp.safetensors": smp, "folder": folder}
