"""Masks of files written by segmentation_models 1.0.1 are equal after loading.

Weights and batch normalisation statistics are random. `benchmarks/equality_legacy.py` compares all pairs of
architecture and encoder.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from maskwright.training.load_legacy import load_legacy
from maskwright.weights.segmentation_models.connections import DifferentConnections

PEER_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "SM_FRAMEWORK": "tf.keras",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
TWO_SIZES = [(64, 96), (96, 64)]
CASES = {
    "unet": ("Unet", {"backbone_name": "resnet18"}, TWO_SIZES),
    "unet-transpose": (
        "Unet",
        {
            "backbone_name": "resnet18",
            "input_shape": (64, 96, 4),
            "classes": 3,
            "activation": "softmax",
            "decoder_block_type": "transpose",
            "decoder_filters": (32, 24, 16, 12, 8),
            "decoder_use_batchnorm": False,
        },
        [(64, 96)],
    ),
    "fpn": (
        "FPN",
        {
            "backbone_name": "efficientnetb0",
            "pyramid_block_filters": 48,
            "pyramid_aggregation": "sum",
            "pyramid_dropout": 0.2,
        },
        TWO_SIZES,
    ),
    "linknet": ("Linknet", {"backbone_name": "seresnet18", "classes": 3, "activation": "softmax"}, TWO_SIZES),
    "linknet-densenet": (
        "Linknet",
        {"backbone_name": "densenet121", "decoder_block_type": "transpose", "activation": "linear"},
        [(64, 96)],
    ),
    "pspnet": (
        "PSPNet",
        {
            "backbone_name": "vgg16",
            "input_shape": (48, 96, 3),
            "downsample_factor": 4,
            "psp_conv_filters": 32,
            "psp_pooling_type": "max",
            "psp_use_batchnorm": False,
        },
        [(48, 96)],
    ),
    "pspnet-gated-groups": ("PSPNet", {"backbone_name": "seresnext50", "input_shape": (96, 144, 3)}, [(96, 144)]),
    "unet-nameless": ("Unet", {"backbone_name": "inceptionv3"}, [(64, 96)]),
    "unet-mobile": ("Unet", {"backbone_name": "mobilenetv2"}, [(64, 96)]),
}


def interpreter():
    """Return the interpreter with segmentation_models: this one, or that in MASKWRIGHT_LEGACY_PYTHON."""
    is_installed = find_spec("tf_keras") and find_spec("classification_models") and find_spec("efficientnet")
    found = sys.executable if is_installed else os.environ.get("MASKWRIGHT_LEGACY_PYTHON")
    return found or pytest.skip("requires tf-keras and segmentation-models 1.0.1; set MASKWRIGHT_LEGACY_PYTHON")


@pytest.fixture(scope="module")
def reference_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("legacy")
    jobs = [
        {"name": name, "architecture": architecture, "arguments": arguments, "sizes": sizes}
        for name, (architecture, arguments, sizes) in CASES.items()
    ]
    writer = Path(__file__).with_name("legacy_writer.py")
    command = [interpreter(), str(writer), str(folder)]
    process = subprocess.run(
        command, input=json.dumps(jobs), text=True, env=os.environ | PEER_ENVIRONMENT, capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return folder


def predict(network, images):
    return keras.ops.convert_to_numpy(network(images, training=False))


@pytest.mark.parametrize("name", CASES)
def test_masks_equal_those_of_segmentation_models(reference_files, name):
    batches = np.load(reference_files / f"{name}.npz")
    pairs = [(batches[f"images{size}"], batches[f"masks{size}"]) for size in range(len(CASES[name][2]))]
    assert all(masks.std() > 0.01 for _, masks in pairs)  # constant masks would agree with any weights

    network = load_legacy(reference_files / f"{name}.whole.h5")
    for images, masks in pairs:
        np.testing.assert_allclose(predict(network, images), masks, rtol=0, atol=1e-4)
    for variable in network.variables:
        variable.assign(np.zeros(variable.shape))
    load_legacy(reference_files / f"{name}.weights_only.h5", network)
    images, masks = pairs[0]
    np.testing.assert_allclose(predict(network, images), masks, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "unet-nameless", "pspnet-gated-groups", "fpn"])
def test_changed_input_of_a_layer_is_an_error(reference_files, name, tmp_path):
    file = tmp_path / "rewired.h5"
    shutil.copy(reference_files / f"{name}.whole.h5", file)
    with h5py.File(file) as stored:
        config = json.loads(stored.attrs["model_config"])
    layers = config["config"]["layers"]
    indices = [index for index, layer in enumerate(layers) if layer["class_name"] in ("BatchNormalization", "Add")]
    rng = np.random.default_rng(3)
    for index in rng.choice(indices[1:], 4, replace=False):
        original = layers[index]["inbound_nodes"][0][0][0]
        wrong = rng.choice([layer["name"] for layer in layers[1:index] if layer["name"] != original])
        layers[index]["inbound_nodes"][0][0][0] = wrong
        with h5py.File(file, "a") as stored:
            stored.attrs["model_config"] = json.dumps(config)
        with pytest.raises(DifferentConnections, match=r"rewired\.h5: .* segmentation_models 1\.0\.1\."):
            load_legacy(file)
        layers[index]["inbound_nodes"][0][0][0] = original
