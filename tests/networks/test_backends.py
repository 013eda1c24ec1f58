"""A network saved on one backend predicts the same on the others."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from maskwright.models import Unet
from maskwright.networks import build_resnet, build_unet
from maskwright.networks.backbones import BACKBONES
from maskwright.networks.unet import BlockType
from tests.networks.randomise import difference, infer, randomise

SKIPS = BACKBONES["resnet34"].skips
HERE = keras.backend.backend()
MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def small(*, block_type: BlockType = "upsampling", use_batchnorm: bool = True, **resnet: Any) -> keras.Model:
    encoder = build_resnet(units=(1, 1, 1, 1), include_top=False, input_shape=(None, None, 3), **resnet)
    return build_unet(encoder, 2, SKIPS, (32, 32, 16, 16, 8), block_type=block_type, use_batchnorm=use_batchnorm)


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "resnet34": lambda: Unet("resnet34"),
    "bottleneck": lambda: small(block="bottleneck"),
    "squeeze": lambda: small(squeeze_excitation=True, first_unit="projection"),
    "transpose": lambda: small(block_type="transpose"),
    "biased": lambda: small(block_type="transpose", use_batchnorm=False),
}
SAVED_AGAIN = "transpose"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with each saved network and its output for the same images on the current backend."""
    here = tmp_path_factory.mktemp("networks")
    images = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype("float32")
    np.save(here / "images.npy", images)
    for name, build in NETWORKS.items():
        network = randomise(build())
        network.save(here / f"{name}.keras")
        np.save(here / f"{name}.npy", infer(network, images))
    return here


@pytest.fixture(scope="module", params=sorted(set(MODULES) - {HERE}))
def other(request: pytest.FixtureRequest, folder: Path) -> str:
    """Name of another backend, after a process with it has predicted with every saved network."""
    backend = str(request.param)
    if importlib.util.find_spec(MODULES[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    root = Path(__file__).parents[2]
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = (
        "1"  # JAX compiles the initialiser of every shape; without optimisation this takes a third of the time
    )
    command = [sys.executable, "-m", "tests.networks.predict_saved", str(folder), SAVED_AGAIN]
    subprocess.run(command, check=True, cwd=root, env=env)
    return backend


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_network_predicts_the_same_on_another_backend(name, other, folder):
    ours, theirs = np.load(folder / f"{name}.npy"), np.load(folder / f"{name}.{other}.npy")
    assert ours.shape[:3] == (2, 64, 64)
    assert np.abs(ours - theirs).max() < 1e-4  # difference of probabilities
    assert difference(ours, theirs) < 1e-4  # relative to the variation between pixels


def test_network_saved_on_another_backend_predicts_the_same_here(other, folder):
    images, theirs = np.load(folder / "images.npy"), np.load(folder / other / f"{SAVED_AGAIN}.npy")
    ours = infer(keras.saving.load_model(folder / other / f"{SAVED_AGAIN}.keras"), images)
    assert np.abs(ours - theirs).max() < 1e-4
    assert difference(ours, theirs) < 1e-4
    assert difference(theirs, np.load(folder / f"{SAVED_AGAIN}.npy")) > 1  # the randomised weights, not the saved ones
