"""Compare networks loaded from smp's state dicts with outputs that smp computed, without smp or torch.

`smp_reference.py` wrote the outputs and the tensors' names and shapes; `seeded_tensors.py` makes the tensors' values.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskwright.weights import load_smp, save_smp
from maskwright.weights.smp.architectures import ARCHITECTURES
from tests.networks.randomise import infer
from tests.peers.seeded_tensors import seeded_images, seeded_pixels, seeded_tensor

with np.load(Path(__file__).with_name("smp_reference.npz")) as stored:
    REFERENCE = dict(stored)
CASES = json.loads(str(REFERENCE["about"]))["cases"]
TOLERANCE = 1e-4  # of the standard deviation of a class's logits
UNUSED = "decoder.blocks.4.attention1.", "decoder.blocks.x_0_4.attention1."  # smp does not use these


def state_dict(name):
    """Return the tensors of a case by the names and shapes that smp's own state dict has."""
    lines = (line.split("|") for line in REFERENCE[f"{name}.tensors"])
    shapes = {tensor: (tuple(map(int, filter(None, sizes.split(",")))), dtype) for tensor, sizes, dtype in lines}
    tensors = {tensor: seeded_tensor(tensor, shape) for tensor, (shape, _) in shapes.items()}
    assert {tensor: (values.shape, values.dtype) for tensor, values in tensors.items()} == shapes
    return tensors


def outputs(network, name):
    """Return the output of ``network`` for the images of a case, (pixels, classes)."""
    channels = CASES[name]["arguments"].get("in_channels", 3)
    values = infer(network, seeded_images(name, (*CASES[name]["size"], channels)))
    return values.reshape(-1, values.shape[-1])


def at_stored_pixels(values, name):
    return values[seeded_pixels(name, CASES[name]["size"], len(REFERENCE[f"{name}.pixels"]))]


def test_every_architecture_has_a_reference():
    assert {case["architecture"] for case in CASES.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_smps_and_tensors_round_trip(name, tmp_path):
    tensors = state_dict(name)
    save_file(tensors, tmp_path / "smp.safetensors")
    network = load_smp(tmp_path / "smp.safetensors", activation="linear")

    pixels, mean, std = (REFERENCE[f"{name}.{kind}"] for kind in ("pixels", "mean", "std"))
    logits = outputs(network, name)
    np.testing.assert_allclose(at_stored_pixels(logits, name) / std, pixels / std, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits.mean(axis=0) / std, mean / std, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits.std(axis=0) / std, np.ones(len(std)), rtol=0, atol=TOLERANCE)

    save_smp(network, tmp_path / "ours.safetensors")
    written = load_file(tmp_path / "ours.safetensors")
    described = {tensor: (values.shape, values.dtype) for tensor, values in written.items()}
    assert described == {tensor: (values.shape, values.dtype) for tensor, values in tensors.items()}
    for tensor, values in tensors.items():
        if not tensor.startswith(UNUSED):
            np.testing.assert_array_equal(written[tensor], values, err_msg=tensor)


@pytest.mark.parametrize(
    ("name", "probabilities"),
    [
        ("unet-resnet18", lambda logits: 1 / (1 + np.exp(-logits))),
        ("unet-resnet18-no-norm", lambda logits: np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)),
    ],
)
def test_default_activation_is_applied_to_smps_logits(name, probabilities, tmp_path):
    save_file(state_dict(name), tmp_path / "smp.safetensors")
    found = at_stored_pixels(outputs(load_smp(tmp_path / "smp.safetensors"), name), name)
    expected = probabilities(REFERENCE[f"{name}.pixels"])
    assert expected.std() > 0.1  # neither 0 nor 1 everywhere
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
