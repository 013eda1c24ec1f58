"""The table of encoders: every row keeps the same promises."""

from collections import Counter

import keras
import numpy as np
import pytest

from maskwright.errors import UnknownChoice
from maskwright.networks import BACKBONES, backbones, build_backbone
from tests.networks.randomise import answer, randomise

# (units of each stage, 3x3 pairs or bottlenecks, gated), written down apart from the code.
SHAPES = {
    "resnet18": ((2, 2, 2, 2), "basic", False),
    "resnet34": ((3, 4, 6, 3), "basic", False),
    "resnet50": ((3, 4, 6, 3), "bottleneck", False),
    "resnet101": ((3, 4, 23, 3), "bottleneck", False),
    "resnet152": ((3, 8, 36, 3), "bottleneck", False),
    "seresnet18": ((2, 2, 2, 2), "basic", True),
    "seresnet34": ((3, 4, 6, 3), "basic", True),
}


def parameters_by_hand(name: str) -> int:
    """Parameters of the projection form without a top, counted unit by unit; a batch normalisation has 4 a channel."""
    units, block, gated = SHAPES[name]
    total = 3 * 3 + (7 * 7 * 3 * 64 + 4 * 64)  # bn_data has no scale
    inside = 64
    for count, filters in zip(units, (64, 128, 256, 512), strict=True):
        width = filters if block == "basic" else 4 * filters
        for number in range(count):
            total += 4 * inside + (inside * width if number == 0 else 0)
            if block == "basic":
                total += 9 * inside * filters + 4 * filters + 9 * filters * filters
            else:
                total += inside * filters + 4 * filters + 9 * filters * filters + 4 * filters + filters * width
            if gated:
                hidden = width // 16
                total += width * hidden + hidden + hidden * width + width
            inside = width
    return total + 4 * inside


@pytest.fixture(scope="module", params=SHAPES)
def encoder(request: pytest.FixtureRequest) -> keras.Model:
    return build_backbone(request.param, input_shape=(64, 32, 3))


def test_the_table_has_these_rows_in_this_order():
    assert backbones() == list(SHAPES)


def test_an_encoder_has_its_units_and_parameters(encoder):
    assert encoder.count_params() == parameters_by_hand(encoder.name)
    adds = Counter(layer.name.split("_")[0] for layer in encoder.layers if layer.name.endswith("_add"))
    assert tuple(adds[f"stage{stage}"] for stage in (1, 2, 3, 4)) == SHAPES[encoder.name][0]


def test_its_skips_are_sixteenths_eighths_quarters_and_halves(encoder):
    skips = BACKBONES[encoder.name].skips
    assert skips == ("stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0")
    assert [encoder.get_layer(skip).output.shape[1:3] for skip in skips] == [(4, 2), (8, 4), (16, 8), (32, 16)]
    assert encoder.output_shape[1:3] == (2, 1)


def test_it_takes_raw_rgb(encoder):
    assert (BACKBONES[encoder.name].channels, BACKBONES[encoder.name].pixel_range) == ("RGB", (0.0, 255.0))


def test_its_config_holds_all_of_it(encoder):
    again = keras.Model.from_config(encoder.get_config())
    again.set_weights(randomise(encoder).get_weights())
    images = np.random.default_rng(2).normal(size=(1, 64, 32, 3)).astype("float32")
    np.testing.assert_allclose(answer(again, images), answer(encoder, images), rtol=1e-6)


def test_first_unit_is_passed_on():
    network = build_backbone("resnet18", first_unit="identity")
    assert "stage1_unit1_sc" not in {layer.name for layer in network.layers}


def test_an_unknown_encoder_is_told_the_nearest():
    with pytest.raises(UnknownChoice, match=r"^name='seresnet43' .*resnet18, .*Did you mean 'seresnet34'\?"):
        build_backbone("seresnet43")
