"""Skip connections found by stride: graphs drawn by hand, and the reference library's own choices."""

from functools import partial

import keras
import pytest
from keras import layers

from maskwright.errors import WrongArgument
from maskwright.networks import BACKBONES
from maskwright.networks.skips import skip_at, skips_by_stride

conv = partial(layers.Conv2D, kernel_size=3, padding="same")


def halved_thrice(*, sides: tuple[int | None, int | None] = (None, None)) -> keras.Model:
    """Strides 2, 4 and 8, a gate of one pixel at 4, and activations of several kinds."""
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
def test_the_last_activation_before_each_halving_whatever_sides_are_known(sides):
    assert skips_by_stride(halved_thrice(sides=sides)) == ("quarter_last", "half_last")


def test_a_sequential_is_read_too_and_full_size_counts_where_it_has_an_activation():
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


def test_a_stride_without_an_activation_gives_its_last_layer():
    source = keras.Input((None, None, 3))
    x = layers.BatchNormalization(name="normalised")(conv(4, strides=2)(source))
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x))
    assert skips_by_stride(network) == ("normalised",)


def test_a_first_step_of_four_leaves_no_skip_at_half():
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 4, strides=4, activation="relu", name="patches")(source)
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x))
    assert skips_by_stride(network) == ("patches",)


def test_a_later_step_of_four_is_refused():
    source = keras.Input((None, None, 3))
    x = conv(4, strides=2, activation="relu")(source)
    x = conv(4, strides=4, activation="relu")(x)
    network = keras.Model(source, conv(4, strides=2, activation="relu")(x), name="leaps")
    expected = r"^backbone='leaps': expected an encoder whose map is halved step by step; .* the strides 2, 8, 16\.$"
    with pytest.raises(WrongArgument, match=expected):
        skips_by_stride(network)


def test_sides_that_do_not_halve_exactly_are_refused():
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(source)  # 256 becomes 127
    with pytest.raises(WrongArgument, match="halved step by step"):
        skips_by_stride(keras.Model(source, layers.Conv2D(4, 3, strides=2)(x)))


def test_a_nested_encoder_is_told_to_be_given_itself():
    inner = halved_thrice()
    inner.name = "inner"
    outer = keras.Sequential([keras.Input((None, None, 3)), layers.Rescaling(1 / 255), inner])
    with pytest.raises(WrongArgument, match=r"inside a nested model cannot be joined: give 'inner' itself\.$"):
        skips_by_stride(outer)


def test_a_model_of_several_outputs_or_with_a_classifier_is_refused():
    network = halved_thrice()
    with pytest.raises(WrongArgument, match="one output, a map"):
        skips_by_stride(keras.Model(network.input, [network.output, network.get_layer("half_last").output]))
    with pytest.raises(WrongArgument, match="include_top=False"):
        skips_by_stride(keras.Model(network.input, layers.GlobalMaxPooling2D()(network.output)))


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "mobilenet"])
def test_the_reference_librarys_choices_are_found(name):
    row = BACKBONES[name]
    assert skips_by_stride(row.build(input_shape=(None, None, 3))) == row.skips


def test_where_the_choice_differs_the_stride_does_not():
    network = BACKBONES["resnet50"].build(input_shape=(64, 96, 3))
    found = skips_by_stride(network)
    assert found == ("stage4_unit1_relu2", "stage3_unit1_relu2", "stage2_unit1_relu2", "relu0")
    assert [network.get_layer(skip).output.shape[1:3] for skip in found] == [(4, 6), (8, 12), (16, 24), (32, 48)]


def test_a_skip_is_picked_by_its_stride():
    network = halved_thrice()
    assert skip_at(network, ["quarter_first", "half_first"], stride=4, argument="encoder") == "quarter_first"
    with pytest.raises(WrongArgument, match=r"^encoder='.*': expected an encoder with a layer to join at 1/8 of "):
        skip_at(network, ["quarter_first", "half_first"], stride=8, argument="encoder")
