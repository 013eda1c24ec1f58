"""Preprocessing of the encoders: values by hand, and against the layers inside Keras networks."""

import keras
import numpy as np
import pytest
from keras import applications

from maskwright.errors import UnknownChoice, WrongArgument
from maskwright.networks import BACKBONES
from maskwright.networks.backbones import get_preprocessing
from maskwright.networks.preprocessing import RAW, Preprocessing

PIXEL = np.array([[10, 100, 250]], "uint8")
BY_HAND = {
    "resnet34": [[10, 100, 250]],
    "seresnet18": [[10, 100, 250]],
    "resnext50": [[10, 100, 250]],
    "vgg16": [[250 - 103.939, 100 - 116.779, 10 - 123.68]],
    "densenet121": [[(10 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (250 / 255 - 0.406) / 0.225]],
    "inceptionv3": [[10 / 127.5 - 1, 100 / 127.5 - 1, 250 / 127.5 - 1]],
    "efficientnetv2s": [[10 / 128 - 1, 100 / 128 - 1, 250 / 128 - 1]],
}
SAME = {
    "vgg16": ("vgg19",),
    "densenet121": ("senet154", "seresnet50", "seresnext101", "efficientnetb7", "efficientnetv2b0", "resnet50_v1"),
    "inceptionv3": ("inceptionresnetv2", "mobilenet", "mobilenetv2"),
    "resnet34": ("resnet152", "seresnet34", "resnext101"),
    "efficientnetv2s": ("efficientnetv2m", "efficientnetv2l"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_preprocessing_of_a_pixel_by_hand(name):
    given = PIXEL.copy()
    prepared = get_preprocessing(name)(given)
    np.testing.assert_allclose(prepared, BY_HAND[name], rtol=1e-5)
    assert prepared.dtype == np.float32
    np.testing.assert_array_equal(given, PIXEL)


@pytest.mark.parametrize(("name", "relative"), [(name, other) for name in SAME for other in SAME[name]])
def test_variants_of_a_family_have_the_same_preprocessing(name, relative):
    assert get_preprocessing(relative) == get_preprocessing(name)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mobilenetv3small", applications.MobileNetV3Small),
        ("convnexttiny", applications.ConvNeXtTiny),
    ],
)
def test_preprocessing_equals_the_layers_inside_the_keras_network(name, make):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3)).astype("float32")
    network = make(weights=None, include_top=False, input_shape=(32, 32, 3))
    prepared = pixels
    for layer in network.layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            prepared = layer(prepared)
    np.testing.assert_allclose(get_preprocessing(name)(pixels), np.asarray(prepared), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_unit_mean_and_std_give_the_same_result(name):
    preprocessing = get_preprocessing(name)
    ordered = PIXEL[..., ::-1] if preprocessing.channels == "BGR" else PIXEL
    unit = (ordered / 255 - np.array(preprocessing.unit_mean)) / np.array(preprocessing.unit_std)
    np.testing.assert_allclose(unit, preprocessing(PIXEL), rtol=1e-5, atol=1e-5)


def test_equal_treatment_of_channels_accepts_any_number():
    pixels = np.ones((2, 3, 13))
    assert RAW(pixels).shape == (2, 3, 13)
    assert Preprocessing(scale=2.0, std=(4.0,))(pixels).max() == 0.5


@pytest.mark.parametrize("name", ["vgg16", "densenet121"])
@pytest.mark.parametrize("shape", [(4, 5, 1), ()])
def test_rgb_preprocessing_of_other_channel_counts_is_an_error(name, shape):
    with pytest.raises(WrongArgument, match=r"^pixels=\(.*\): expected .*\(\.\.\., 3\)\.$"):
        get_preprocessing(name)(np.zeros(shape))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownChoice, match=r"^name='mobilnet' .*'mobilenet'\?$"):
        get_preprocessing("mobilnet")
