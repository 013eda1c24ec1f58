"""Skip connections found by stride: graphs by hand, and the skips of segmentation_models."""

from functools import partial

import keras
import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks import BACKBONES
from maskwright.networks.skips import skip_with_stride, skips_by_stride

conv = partial(layers.Conv2D, kernel_size=3, padding="same")


def halved_thrice(*, sides: tuple[int | None, int | None] = (None, None)) -> keras.Model:
    """Build a model with strides 2, 4 and 8, a gate of one pixel at 4, and several kinds of activations."""
    source = x = keras.Input((*sides, 3))
    x = layers.ReLU(name="half_first")(conv(4, strides=2)(x))
    x = layers.PReLU(shared_axes=[1, 2], name="half_last")(conv(4)(x))
    x = conv(6, strides=2, activation="relu", name="quarter_first")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.Activation("gelu", name="quarter_last")(x)
    x = layers.BatchNormalization()(layers.Activation("linear", name="no_activation")(x))
    x = layers.ReLU(name="end")(conv(8, strides=2)(layers.ZeroPadding2D()(x)[:, 1:-1, 1:-1]))
    return keras.Model(source, x)


@pytest.mark.parametrize("sides", [(None, None), (64, 96), (None, 32)])
def test_skips_are_the_last_activations_before_each_halving(sides):
    assert skips_by_stride(halved_thrice(sides=sides)) == ("quarter_last", "half_last")


def test_sequential_model_has_a_full_size_skip_only_with_an_activation():
    network = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            conv(4, activation="relu", name="full"),
            layers.MaxPooling2D(),
            conv(4, activation="relu", name="half"),
            layers.MaxPooling2D(),
        ]
    )
    assert skips_by_stride(network) == ("half", "full")


def test_stride_without_an_activation_gives_its_last_layer():
    source = keras.Input((None, None, 3))
    x = layers.BatchNormalization(name="normalised")(conv(4, strides=2)(source))
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x))
    assert skips_by_stride(network) == ("normalised",)


def test_first_stride_of_4_gives_no_skip_at_stride_2():
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 4, strides=4, activation="relu", name="patches")(source)
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x))
    assert skips_by_stride(network) == ("patches",)


def test_later_stride_of_4_is_an_error():
    source = keras.Input((None, None, 3))
    x = conv(4, strides=2, activation="relu")(source)
    x = conv(4, strides=4, activation="relu")(x)
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x), name="leaps")
    expected = r"^backbone='leaps': expected .* 2, 8, 16\.$"
    with pytest.raises(WrongArgument, match=expected):
        skips_by_stride(network)


def test_sides_that_do_not_halve_exactly_are_an_error():
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(source)  # 256 becomes 127
    with pytest.raises(WrongArgument, match=r"^backbone=.*strides none\."):
        skips_by_stride(keras.Model(source, layers.Conv2D(4, 3, strides=2)(x)))


def test_nested_encoder_is_an_error_that_names_it():
    inner = halved_thrice()
    inner.name = "inner"
    outer = keras.Sequential([keras.Input((None, None, 3)), layers.Rescaling(1 / 255), inner])
    with pytest.raises(WrongArgument, match=r"nested .*'inner' itself\.$"):
        skips_by_stride(outer)


def test_several_outputs_or_a_classifier_are_an_error():
    network = halved_thrice()
    with pytest.raises(WrongArgument, match=r"^backbone=.*one output"):
        skips_by_stride(keras.Model(network.input, [network.output, network.get_layer("half_last").output]))
    with pytest.raises(WrongArgument, match="include_top=False"):
        skips_by_stride(keras.Model(network.input, layers.GlobalMaxPooling2D()(network.output)))


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "mobilenet"])
def test_skips_of_segmentation_models_are_found(name):
    row = BACKBONES[name]
    assert skips_by_stride(row.build(input_shape=(None, None, 3))) == row.skips


def test_other_skips_have_the_strides_of_segmentation_models():
    network = BACKBONES["resnet50"].build(input_shape=(64, 96, 3))
    found = skips_by_stride(network)
    assert found == ("stage4_unit1_relu2", "stage3_unit1_relu2", "stage2_unit1_relu2", "relu0")
    assert [network.get_layer(skip).output.shape[1:3] for skip in found] == [(4, 6), (8, 12), (16, 24), (32, 48)]


def test_skip_is_selected_by_its_stride():
    network = halved_thrice()
    assert skip_with_stride(network, ["quarter_first", "half_first"], stride=4, argument="encoder") == "quarter_first"
    with pytest.raises(WrongArgument, match=r"^encoder='.*': expected .* 1/8 "):
        skip_with_stride(network, ["quarter_first", "half_first"], stride=8, argument="encoder")
