"""Weights and graphs of trained networks for other input channels, and networks that cannot be adapted."""

import numpy as np
import pytest

from maskwright.training.adapt_network import copy_weights, network_from
from maskwright.training.network import build_network
from maskwright.training.start_from import read_start
from maskwright.training.start_network import Start, UnsupportedNetwork
from tests.networks.randomise import infer, randomise
from tests.training.start_runs import IMAGES, SMALL, bundle_of, recipe_of


def test_input_channels_are_adapted_from_one_to_three_and_back(tmp_path):
    """Without normalisation of its input, the network treats a gray image like three equal channels."""
    names, options = ("-", "cell"), {**SMALL, "backbone": "resnet18_v1"}

    def network(channels):
        return build_network(recipe_of("x", **options).network, bundle_of(*names, channels=channels))

    gray, start = IMAGES[..., :1], randomise(network(1), seed=3)
    rgb, again = network(3), network(1)
    copy_weights(Start(tmp_path, start, bundle_of(*names, channels=1), None), rgb, bundle_of(*names))
    copy_weights(Start(tmp_path, rgb, bundle_of(*names), None), again, bundle_of(*names, channels=1))
    before = infer(start, gray)
    np.testing.assert_allclose(infer(rgb, np.repeat(gray, 3, axis=-1)), before, atol=1e-5)
    np.testing.assert_allclose(infer(again, gray), before, atol=1e-5)


def test_other_weights_are_errors(runs):
    wider = build_network(recipe_of("x", **SMALL | {"decoder_filters": [16, 8, 8, 8, 16]}).network, bundle_of("-", "a"))
    with pytest.raises(UnsupportedNetwork, match=r"found the shape .* of decoder_stage4"):
        copy_weights(runs["three"], wider, bundle_of("-", "a"))
    deeper = build_network(recipe_of("x", **SMALL | {"attention": "scse"}).network, bundle_of("-", "a"))
    with pytest.raises(UnsupportedNetwork, match=r"layers with weights; expected \d+ as in the recipe"):
        copy_weights(runs["three"], deeper, bundle_of("-", "a"))


@pytest.mark.parametrize(
    ("trained", "new", "match"),
    [
        ({"channels": 4}, {}, "found 4 input channels; expected 3, as in the new data, or a network for gray or RGB"),
        ({}, {"coord_channels": ("row",)}, "found 3 input channels; expected 4"),
    ],
)
def test_other_input_channels_are_an_error(tmp_path, trained, new, match):
    network, options = recipe_of("x", **SMALL).network, {"trained": bundle_of("-", "a", **trained)}
    start = Start(tmp_path, build_network(network, options["trained"]), options["trained"], None)
    bundle = bundle_of("-", "a", **new)
    with pytest.raises(UnsupportedNetwork, match=match):
        copy_weights(start, build_network(network, bundle), bundle)


def test_layers_before_the_head_of_a_file_compute_in_the_precision_of_training(files):
    _, start = read_start(recipe_of(files["folder"] / "ours.keras"))
    network = network_from(start, bundle_of("-", "a", channels=1), precision="mixed_bfloat16")
    policies = {layer.name: layer.dtype_policy.name for layer in network.layers if layer.weights}
    assert policies.pop("final_conv") == "float32"
    assert set(policies.values()) == {"mixed_bfloat16"}
    assert network.output.dtype == "float32"
    assert network.input_shape[-1] == 1
