"""Table of encoders, with builder, skip connections, preprocessing, number of parameters and published weights."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks import efficientnet_lite, resnet, resnet_v1, resnext, senet
from maskwright.networks.argument_checks import ImageShape
from maskwright.networks.blocks import Norm, batch_norm, torch_batch_norm
from maskwright.networks.keras_applications import build_application
from maskwright.networks.preprocessing import (
    BGR_MEANS,
    IMAGENET,
    MINUS_ONE_TO_ALMOST_ONE,
    MINUS_ONE_TO_ONE,
    RAW,
    Preprocessing,
)
from maskwright.networks.skips import skips_by_stride

Build = Callable[..., keras.Model]
PYRAMID_LEVEL: Final = re.compile(r"P\d+")


@dataclass(frozen=True)
class Backbone:
    """Description of an encoder.

    Attributes:
        build: Function that builds the encoder without a classifier and with random weights. It is called as
            ``build(input_shape=(height, width, channels), **options)``; height and width may be None.
        skips: Names of the layers whose outputs are the skip connections, from deep to shallow, at 1/16, 1/8, 1/4 and
            1/2 of the image size. A VGG also has one at full size; a ConvNeXt has none at 1/2.
        preprocessing: Preprocessing that the encoder requires, for RGB images with values in 0-255.
        parameters: Number of trainable and non-trainable parameters for three input channels.
        weights: Names of the data sets on which published weights were trained.
        options: Names of further arguments of ``build``: ``"first_unit"`` (see `build_resnet`) or ``"output_stride"``
            (see `build_resnet_v1`).
        norm: Factory of the normalisation layers of a decoder that is built on this encoder.
    """

    build: Build
    skips: tuple[str, ...]
    preprocessing: Preprocessing
    parameters: int
    weights: tuple[str, ...] = ("imagenet",)
    options: frozenset[str] = frozenset()
    norm: Norm = batch_norm


@final
class BackboneTable(Mapping[str, Backbone]):
    """Mapping from names to encoders, whose ``repr`` is a table of names, parameter counts and published weights."""

    def __init__(self, rows: Mapping[str, Backbone]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Backbone:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        cells = [("backbone", "parameters", "weights")]
        cells += [(name, f"{row.parameters:,}", ", ".join(row.weights)) for name, row in self.items()]
        name_width, count_width = (max(len(line[column]) for line in cells) for column in (0, 1))
        return "\n".join(f"{name:<{name_width}}  {count:>{count_width}}  {weights}" for name, count, weights in cells)


def _pre_activation(build: Build, parameters: int, *more_weights: str) -> Backbone:
    build = partial(build, input_shape=(None, None, 3), include_top=False, first_unit="projection")
    skips = "stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"
    return Backbone(build, skips, RAW, parameters, ("imagenet", *more_weights), frozenset({"first_unit"}))


def _torch(build: Build, parameters: int) -> Backbone:
    options = frozenset({"output_stride"})
    return Backbone(build, resnet_v1.RESNET_V1_SKIPS, IMAGENET, parameters, options=options, norm=torch_batch_norm)


def _lite(build: Build, depth: float, parameters: int) -> Backbone:
    return Backbone(build, efficientnet_lite.efficientnet_lite_skips(depth), MINUS_ONE_TO_ONE, parameters)


def _of_keras(skips: tuple[str, ...], preprocessing: Preprocessing, **parameters: int) -> dict[str, Backbone]:
    """Return a table row for each encoder of `APPLICATIONS`, given its number of parameters."""
    return {
        name: Backbone(partial(build_application, name), skips, preprocessing, number)
        for name, number in parameters.items()
    }


_VGG: Final = ("block2_conv2", "block1_conv2")
_INCEPTION: Final = ("activation_4", "activation_2")
_EXPANSIONS: Final = ("block6a_expand_activation", "block4a_expand_activation")
_DENSENET: Final = ("pool4_conv", "pool3_conv", "pool2_conv", "conv1_relu")

BACKBONES: Final = BackboneTable(
    {
        "resnet18": _pre_activation(resnet.ResNet18, 11_186_889),
        "resnet34": _pre_activation(resnet.ResNet34, 21_302_473),
        "resnet50": _pre_activation(resnet.ResNet50, 23_546_057, "imagenet11k-places365ch"),
        "resnet101": _pre_activation(resnet.ResNet101, 42_590_409),
        "resnet152": _pre_activation(resnet.ResNet152, 58_280_137, "imagenet11k"),
        "seresnet18": _pre_activation(resnet.SEResNet18, 11_275_969),
        "seresnet34": _pre_activation(resnet.SEResNet34, 21_463_669),
        "seresnet50": Backbone(senet.SEResNet50, senet.SENET_SKIPS, IMAGENET, 26_092_144),
        "seresnet101": Backbone(senet.SEResNet101, senet.SENET_SKIPS, IMAGENET, 47_383_216),
        "seresnet152": Backbone(senet.SEResNet152, senet.SENET_SKIPS, IMAGENET, 64_924_272),
        "seresnext50": Backbone(senet.SEResNeXt50, senet.SENET_SKIPS, IMAGENET, 25_579_120),
        "seresnext101": Backbone(senet.SEResNeXt101, senet.SENET_SKIPS, IMAGENET, 47_044_272),
        "senet154": Backbone(senet.SENet154, senet.SENET_SKIPS, IMAGENET, 113_287_536),
        "resnext50": Backbone(resnext.ResNeXt50, resnext.RESNEXT_SKIPS, RAW, 23_048_137),
        "resnext101": Backbone(resnext.ResNeXt101, resnext.RESNEXT_SKIPS, RAW, 42_266_569),
        **_of_keras(("block5_conv3", "block4_conv3", "block3_conv3", *_VGG), BGR_MEANS, vgg16=14_714_688),
        **_of_keras(("block5_conv4", "block4_conv4", "block3_conv4", *_VGG), BGR_MEANS, vgg19=20_024_384),
        **_of_keras(_DENSENET, IMAGENET, densenet121=7_037_504, densenet169=12_642_880, densenet201=18_321_984),
        **_of_keras(("mixed7", "mixed2", *_INCEPTION), MINUS_ONE_TO_ONE, inceptionv3=21_802_784),
        **_of_keras(("block17_20_ac", "block35_10_ac", *_INCEPTION), MINUS_ONE_TO_ONE, inceptionresnetv2=54_336_736),
        **_of_keras(tuple(f"conv_pw_{unit}_relu" for unit in (11, 5, 3, 1)), MINUS_ONE_TO_ONE, mobilenet=3_228_864),
        **_of_keras(
            tuple(f"block_{unit}_expand_relu" for unit in (13, 6, 3, 1)), MINUS_ONE_TO_ONE, mobilenetv2=2_257_984
        ),
        **_of_keras(
            ("activation_11", "activation_1", "re_lu_2", "activation"), MINUS_ONE_TO_ONE, mobilenetv3small=939_120
        ),
        **_of_keras(
            ("activation_13", "activation_1", "re_lu_5", "re_lu_1"), MINUS_ONE_TO_ONE, mobilenetv3large=2_996_352
        ),
        **_of_keras(
            (*_EXPANSIONS, "block3a_expand_activation", "block2a_expand_activation"),
            IMAGENET,
            efficientnetb0=4_049_564,
            efficientnetb1=6_575_232,
            efficientnetb2=7_768_562,
            efficientnetb3=10_783_528,
            efficientnetb4=17_673_816,
            efficientnetb5=28_513_520,
            efficientnetb6=40_960_136,
            efficientnetb7=64_097_680,
        ),
        **_of_keras((*_EXPANSIONS, "block2b_add", "block1a_project_activation"), IMAGENET, efficientnetv2b0=5_919_312),
        **_of_keras(
            (*_EXPANSIONS, "block2c_add", "block1b_add"),
            IMAGENET,
            efficientnetv2b1=6_931_124,
            efficientnetv2b2=8_769_374,
            efficientnetv2b3=12_930_622,
        ),
        **_of_keras((*_EXPANSIONS, "block2d_add", "block1b_add"), MINUS_ONE_TO_ALMOST_ONE, efficientnetv2s=20_331_360),
        **_of_keras((*_EXPANSIONS, "block2e_add", "block1c_add"), MINUS_ONE_TO_ALMOST_ONE, efficientnetv2m=53_150_388),
        **_of_keras((*_EXPANSIONS, "block2g_add", "block1d_add"), MINUS_ONE_TO_ALMOST_ONE, efficientnetv2l=117_746_848),
        **_of_keras(("add_14", "add_5", "add_2"), IMAGENET, convnexttiny=27_820_128),
        **_of_keras(
            ("add_32", "add_5", "add_2"),
            IMAGENET,
            convnextsmall=49_454_688,
            convnextbase=87_566_464,
            convnextlarge=196_230_336,
            convnextxlarge=348_147_968,
        ),
        "resnet18_v1": _torch(resnet_v1.ResNet18V1, 11_186_112),
        "resnet34_v1": _torch(resnet_v1.ResNet34V1, 21_301_696),
        "resnet50_v1": _torch(resnet_v1.ResNet50V1, 23_561_152),
        "resnet101_v1": _torch(resnet_v1.ResNet101V1, 42_605_504),
        "resnet152_v1": _torch(resnet_v1.ResNet152V1, 58_295_232),
        "efficientnetlite0": _lite(efficientnet_lite.EfficientNetLite0, 1.0, 2_998_304),
        "efficientnetlite1": _lite(efficientnet_lite.EfficientNetLite1, 1.1, 3_774_624),
        "efficientnetlite2": _lite(efficientnet_lite.EfficientNetLite2, 1.2, 4_413_488),
        "efficientnetlite3": _lite(efficientnet_lite.EfficientNetLite3, 1.4, 6_496_128),
        "efficientnetlite4": _lite(efficientnet_lite.EfficientNetLite4, 1.8, 11_259_376),
    }
)


def backbones() -> BackboneTable:
    """Return the table of encoders, which prints names, numbers of parameters and data sets with published weights.

    No network is built.

    >>> backbones()
    backbone           parameters  weights
    resnet18           11,186,889  imagenet
    ...
    >>> "vgg16" in backbones()
    True
    """
    return BACKBONES


def get_preprocessing(name: str) -> Preprocessing:
    """Return the preprocessing of the encoder ``name`` for RGB images with values in 0-255.

    Raises:
        UnknownChoice: No encoder has this name.

    >>> import numpy as np
    >>> get_preprocessing("mobilenet")(np.array([[0, 255, 0]], "uint8"))
    array([[-1.,  1., -1.]], dtype=float32)
    """
    return one_of("name", name, BACKBONES).preprocessing


def build_backbone(name: str, *, input_shape: ImageShape = (None, None, 3), **options: object) -> keras.Model:
    """Build the encoder ``name`` without a classifier; its features have 1/32 of the height and width of the images.

    Args:
        name: Name of an encoder in the table `backbones()`.
        input_shape: Height, width and number of channels of the images; height and width may be None.
        **options: Options of the encoder: ``first_unit`` for a pre-activation ResNet (``"projection"`` by default, see
            `build_resnet`), or ``output_stride`` (32 or 16) for an encoder whose name ends in ``_v1``.

    Raises:
        UnknownChoice: No encoder has this name, or ``first_unit`` is unknown.
        WrongArgument: ``input_shape`` or an option is invalid.

    >>> build_backbone("resnet18", input_shape=(64, 64, 3)).output_shape
    (None, 2, 2, 512)
    """
    row = one_of("name", name, BACKBONES)
    _check_options(options, allowed=row.options, encoder=name)
    return row.build(input_shape=input_shape, **options)


def freeze_encoder(encoder: keras.Model) -> None:
    """Freeze all layers of ``encoder`` except batch normalisation layers, which adapt to new images.

    >>> encoder = build_backbone("resnet18", input_shape=(64, 64, 3))
    >>> freeze_encoder(encoder)
    >>> {type(layer).__name__ for layer in encoder.layers if layer.trainable_weights}
    {'BatchNormalization'}
    """
    for layer in encoder.layers:
        if not isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


@dataclass(frozen=True)
class Encoder:
    """An encoder, with the information that is needed to build a decoder on it.

    Attributes:
        model: Keras model whose output is a feature map.
        known_skips: Names of the layers whose outputs are the skip connections, from deep to shallow. If None, the
            layers are found by `skips_by_stride`.
        norm: Factory of the normalisation layers of a decoder that is built on this encoder.
    """

    model: keras.Model
    known_skips: tuple[str, ...] | None = None
    norm: Norm = batch_norm

    @property
    def skips(self) -> tuple[str, ...]:
        """Names of the layers whose outputs are the skip connections, from deep to shallow."""
        return skips_by_stride(self.model) if self.known_skips is None else self.known_skips


def encoder_of(
    backbone: str | keras.Model | Encoder,
    *,
    input_shape: ImageShape = (None, None, 3),
    argument: str = "backbone_name",
    **options: object,
) -> Encoder:
    """Return the `Encoder` for the name of an encoder or for a network.

    Args:
        backbone: Name of an encoder in the table `backbones()`, a Keras model whose output is a feature map, or a
            keras-hub backbone with ``pyramid_outputs``. The pyramid level P5 or, without it, the deepest level is the
            output, and the shallower levels are the skip connections. The weights of a network are shared with all
            networks built on it. An `Encoder` is returned unchanged.
        input_shape: Height, width and number of channels of the images for a named encoder; ignored for a network.
        argument: Name of the argument ``backbone`` in error messages.
        **options: Options of a named encoder, as for `build_backbone`.

    Raises:
        UnknownChoice: No encoder has this name.
        WrongArgument: A pyramid level is not the output of a layer, or another argument has an invalid value.

    >>> encoder_of("resnet18").skips[-1]
    'relu0'
    """
    if isinstance(backbone, Encoder):
        return backbone
    if not isinstance(backbone, keras.Model):
        row = one_of(argument, backbone, BACKBONES)
        _check_options(options, allowed=row.options, encoder=backbone)
        return Encoder(row.build(input_shape=input_shape, **options), row.skips, row.norm)
    _check_options(options, allowed=frozenset(), encoder=backbone.name)
    levels = getattr(backbone, "pyramid_outputs", {}).items()
    pyramid = {int(level[1:]): tensor for level, tensor in levels if PYRAMID_LEVEL.fullmatch(level)}
    return _encoder_of_pyramid(backbone, pyramid, argument=argument) if pyramid else Encoder(backbone)


def _encoder_of_pyramid(backbone: keras.Model, pyramid: Mapping[int, keras.KerasTensor], *, argument: str) -> Encoder:
    deepest = 5 if 5 in pyramid else max(pyramid)
    skips = [id(pyramid[level]) for level in sorted(pyramid, reverse=True) if level < deepest]
    names = {id(getattr(layer, "output", None)): layer.name for layer in backbone.layers}
    if not names.keys() >= set(skips):
        expected = "a backbone with pyramid_outputs that are outputs of its layers"
        raise wrong_argument(argument, backbone.name, expected=expected)
    encoder = keras.Model(backbone.input, pyramid[deepest], name=backbone.name)
    return Encoder(encoder, tuple(names[tensor] for tensor in skips))


def _check_options(options: Mapping[str, object], *, allowed: frozenset[str], encoder: str) -> None:
    for option, value in options.items():
        if option not in allowed:
            supported = ", ".join(name for name, row in BACKBONES.items() if option in row.options) or "no encoder"
            raise wrong_argument(option, value, expected=f"an encoder with this option ({supported}), not {encoder}")
