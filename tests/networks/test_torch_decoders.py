"""Decoders of segmentation_models_pytorch: sizes, saving, training, precision and initialisation."""

import keras
import numpy as np
import pytest

from maskwright.networks.deeplabv3plus import build_deeplabv3plus
from maskwright.networks.smp_fpn import build_smp_fpn
from maskwright.networks.smp_linknet import build_smp_linknet
from maskwright.networks.unetplusplus import build_unetplusplus
from tests.networks.randomise import infer, randomise
from tests.networks.tiny import SKIPS, decoder_layers, noise, tiny_encoder

BUILDS = {
    "unetplusplus": lambda encoder: build_unetplusplus(encoder, 2, SKIPS, decoder_filters=(9, 8, 7, 5, 4)),
    "deeplabv3plus": lambda encoder: build_deeplabv3plus(encoder, 2, SKIPS[2:3], decoder_channels=16),
    "smp_fpn": lambda encoder: build_smp_fpn(encoder, 2, SKIPS[:3], pyramid_channels=8, segmentation_channels=32),
    "smp_linknet": lambda encoder: build_smp_linknet(encoder, 2, SKIPS),
}
decoders = pytest.mark.parametrize("name", BUILDS)


@decoders
def test_variable_sizes_accept_any_multiple_of_32(name):
    network = BUILDS[name](tiny_encoder(None, None))
    assert (network.name, network.output_shape) == (name, (None, None, None, 2))
    for size in ((32, 96), (64, 32)):
        assert infer(network, noise(*size)).shape == (2, *size, 2)


@decoders
def test_saved_network_predicts_the_same(name, tmp_path):
    network = randomise(BUILDS[name](tiny_encoder(None, None)))
    network.save(tmp_path / "network.keras")
    images = noise(64, 32)
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(infer(again, images), infer(network, images), rtol=1e-6)


@decoders
def test_training_step_changes_every_kernel_of_the_decoder(name):
    encoder = tiny_encoder(64, 96)
    network = BUILDS[name](encoder)
    kernels = [layer.kernel for layer in decoder_layers(network, encoder).values() if hasattr(layer, "kernel")]
    before = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    network.compile(keras.optimizers.SGD(1.0), "binary_crossentropy", run_eagerly=True)
    masks = np.random.default_rng(5).integers(0, 2, (2, 64, 96, 2)).astype("float32")
    assert np.isfinite(network.train_on_batch(noise(64, 96), masks))
    moved = [
        np.abs(keras.ops.convert_to_numpy(kernel) - old).max() for kernel, old in zip(kernels, before, strict=True)
    ]
    assert min(moved) > 0


@decoders
def test_convolutions_are_he_uniform_and_the_head_is_glorot_uniform(name):
    encoder = tiny_encoder(64, 96)
    found = decoder_layers(BUILDS[name](encoder), encoder).values()
    convs = [layer for layer in found if type(layer) is keras.layers.Conv2D and layer.name != "final_conv"]
    assert {type(conv.kernel_initializer) for conv in convs} == {keras.initializers.HeUniform}
    (head,) = (layer for layer in found if layer.name == "final_conv")
    assert (type(head.kernel_initializer), head.use_bias) == (keras.initializers.GlorotUniform, True)


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@decoders
@pytest.mark.usefixtures("mixed_precision")
def test_layers_after_the_last_convolution_are_float32(name):
    encoder = tiny_encoder(64, 96)
    network = BUILDS[name](encoder)
    names = [layer.name for layer in network.layers]
    precision = [layer.compute_dtype for layer in network.layers]
    head = names.index("final_conv")
    assert set(precision[:head]) == {"float16"}
    assert set(precision[head:]) == {"float32"}
    assert infer(network, noise(64, 96)).dtype == np.float32
