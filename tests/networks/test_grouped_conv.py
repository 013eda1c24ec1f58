"""Outputs and gradients of the grouped convolution against torch."""

import keras
import numpy as np
import pytest

from maskwright.networks import grouped_conv
from maskwright.networks.grouped_conv import GroupedConv2D
from tests.networks.randomise import infer


def layer_and_images(groups: int, *, stride: int = 1) -> tuple[GroupedConv2D, np.ndarray]:
    """Three channels in and two out for each group, unequal numbers on purpose."""
    rng = np.random.default_rng(groups)
    layer = GroupedConv2D(2 * groups, 3, groups=groups, strides=stride)
    layer.build((None, None, None, 3 * groups))
    layer.set_weights([rng.normal(size=(3, 3, 3, 2 * groups)), rng.normal(size=2 * groups)])
    return layer, rng.normal(size=(2, 7, 6, 3 * groups)).astype("float32")


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (5, 2), (8, 1), (16, 2)])
@pytest.mark.parametrize("slow", [False, True], ids=["whole", "pieces"])
def test_output_equals_that_of_torch_grouped_convolution(groups, stride, slow, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is not installed")
    monkeypatch.setattr(grouped_conv, "splitting_is_faster", lambda: slow)
    layer, images = layer_and_images(groups, stride=stride)
    kernel, bias = (torch.from_numpy(weight) for weight in layer.get_weights())
    kernel = kernel.permute(3, 2, 0, 1)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(images).permute(0, 3, 1, 2), kernel, bias, stride=stride, groups=groups
    )
    np.testing.assert_allclose(infer(layer, images), expected.permute(0, 2, 3, 1), atol=1e-5)


def test_training_step_is_equal_with_and_without_splits(monkeypatch):
    moved = []
    for slow in (False, True):
        monkeypatch.setattr(grouped_conv, "splitting_is_faster", lambda slow=slow: slow)
        layer, images = layer_and_images(16)
        network = keras.Sequential([keras.Input((None, None, 48)), layer])
        network.compile("sgd", "mse")
        network.train_on_batch(images, np.ones((2, 5, 4, 32)))
        moved.append(layer.get_weights()[0])
    np.testing.assert_allclose(*moved, atol=1e-6)
    assert abs(moved[0] - layer_and_images(16)[0].get_weights()[0]).max() > 1e-4


def test_layer_runs_in_half_precision_and_is_saved(tmp_path):
    layer, images = layer_and_images(16)
    half = GroupedConv2D(32, 3, groups=16, dtype="mixed_bfloat16")
    half.build(images.shape)
    half.set_weights(layer.get_weights())
    rough = infer(half, images)
    assert str(rough.dtype) == "bfloat16"
    np.testing.assert_allclose(rough.astype("float32"), infer(layer, images), atol=0.2)

    network = keras.Sequential([keras.Input((7, 6, 48)), layer])
    network.save(tmp_path / "grouped.keras")
    again = keras.saving.load_model(tmp_path / "grouped.keras")
    np.testing.assert_array_equal(infer(again, images), infer(network, images))
