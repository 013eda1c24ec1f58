"""Predictions equal those of smp, timm and torchvision after loading, and those of smp after saving.

MASKWRIGHT_SMP_PYTHON is the interpreter with torch, segmentation_models_pytorch, timm and torchvision.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from maskwright.networks.resnet_v1 import ResNet18V1
from maskwright.weights.smp.load_save import load_smp, save_smp, save_smp_folder
from maskwright.weights.torch.encoders import load_torch_encoder
from tests.networks.randomise import infer

PEER = os.environ.get("MASKWRIGHT_SMP_PYTHON")
pytestmark = pytest.mark.skipif(not PEER, reason="MASKWRIGHT_SMP_PYTHON is not set")

SIZES = [(64, 96), (160, 96)]
SMP = {
    "unet": ("Unet", {"classes": 1}),
    "unet-scse-4-channels": ("Unet", {"classes": 3, "in_channels": 4, "decoder_attention_type": "scse"}),
    "unet-without-norm": ("Unet", {"classes": 2, "decoder_use_norm": False}),
    "unetplusplus": ("UnetPlusPlus", {"classes": 3}),
    "fpn": ("FPN", {"classes": 3}),
    "fpn-cat": ("FPN", {"classes": 3, "decoder_merge_policy": "cat"}),
    "linknet": ("Linknet", {"classes": 3}),
    "deeplab": ("DeepLabV3Plus", {"classes": 3}),
}
RESNETS = {"timm": "resnet18", "torchvision": "resnet18"}


def run_peer(action, folder):
    command = [str(PEER), str(Path(__file__).with_name("smp_peer.py")), action, str(folder)]
    subprocess.run(command, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Return a folder with a folder per case: tensors, images and predictions of the peers."""
    root = tmp_path_factory.mktemp("peers")
    cases = {
        name: ("smp", network, {"encoder_name": "resnet18"} | arguments) for name, (network, arguments) in SMP.items()
    }
    cases |= {library: (library, network, {}) for library, network in RESNETS.items()}
    for name, (library, network, arguments) in cases.items():
        (root / name).mkdir()
        case = {"library": library, "network": network, "arguments": arguments, "sizes": SIZES}
        (root / name / "case.json").write_text(json.dumps(case))
    run_peer("make", root)
    return root


@pytest.fixture(scope="module")
def ours(theirs):
    """Load and save the networks, and add the predictions of the peers with the saved tensors."""
    networks = {name: load_smp(theirs / name / "theirs.safetensors", activation="linear") for name in SMP}
    for name, network in networks.items():
        save_smp(network, theirs / name / "ours.safetensors")
        save_smp_folder(network, theirs / name / "hub")
    run_peer("predict", theirs)
    return networks


def pairs(folder, kind):
    for number in range(len(SIZES)):
        yield tuple(np.load(folder / f"{name}_{number}.npy") for name in ("images", kind))


@pytest.mark.parametrize("name", SMP)
def test_predictions_equal_those_of_smp_in_both_directions(name, theirs, ours):
    for images, expected in pairs(theirs / name, "theirs"):
        np.testing.assert_allclose(infer(ours[name], images), expected, atol=1e-4)
    for kind in ("returned", "hub"):
        for (_, found), (_, expected) in zip(pairs(theirs / name, kind), pairs(theirs / name, "theirs"), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("library", RESNETS)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_probabilities_of_a_classifier_equal_those_of_the_library(library, suffix, theirs):
    network = ResNet18V1(include_top=True)
    load_torch_encoder(network, theirs / library / f"theirs.{suffix}")
    for images, logits in pairs(theirs / library, "exact"):
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(infer(network, images), expected, atol=1e-5)


def test_pickle_and_safetensors_give_the_same_network(theirs, ours):
    network = load_smp(theirs / "unet/theirs.pth", activation="linear")
    for weight, expected in zip(network.weights, ours["unet"].weights, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), np.asarray(expected))


def test_default_activation_gives_the_probabilities_of_smp(theirs):
    for name, probabilities in (("unet", lambda x: 1 / (1 + np.exp(-x))), ("fpn", softmax)):
        network = load_smp(theirs / name / "theirs.safetensors")
        for images, logits in pairs(theirs / name, "exact"):
            np.testing.assert_allclose(infer(network, images), probabilities(logits), atol=1e-4)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
