"""One table of encoders: name -> how to build it, where decoders tap it, what pixels it expects."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import keras
from keras import layers

from maskwright.errors import one_of, wrong_argument
from maskwright.networks import resnet, resnet_v1, resnext, senet
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
    """An encoder.

    Attributes:
        build: Called as ``build(input_shape=(height, width, channels), **options)``, height and width possibly None;
            returns the encoder without a classifier, with random weights.
        skips: The layers a decoder joins, deep to shallow: 1/16, 1/8, 1/4 and 1/2 of the image; the VGGs go on to the
            full size, the ConvNeXts end at 1/4, their first step.
        preprocessing: Makes the pixels ``build``'s network takes from RGB in 0-255.
        parameters: Numbers in the encoder, for three channels, those that are not trained included.
        weights: Data sets that weights are published for.
        options: What more ``build`` takes: ``"first_unit"`` (see `build_resnet`), ``"output_stride"`` (see
            `build_resnet_v1`).
        norm: What decoders on it normalise with.
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
    """Encoders by name, which print as a table: name, parameters, data sets that weights are published for."""

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
        names, numbers = (max(len(line[column]) for line in cells) for column in (0, 1))
        return "\n".join(f"{name:<{names}}  {number:>{numbers}}  {weights}" for name, number, weights in cells)


def _pre_activation(build: Build, parameters: int, *more_weights: str) -> Backbone:
    build = partial(build, input_shape=(None, None, 3), include_top=False, first_unit="projection")
    skips = "stage4_unit1_relu1", "stage3_unit1_relu1", "stage2_unit1_relu1", "relu0"
    return Backbone(build, skips, RAW, parameters, ("imagenet", *more_weights), frozenset({"first_unit"}))


def _torch(build: Build, parameters: int) -> Backbone:
    options = frozenset({"output_stride"})
    return Backbone(build, resnet_v1.RESNET_V1_SKIPS, IMAGENET, parameters, options=options, norm=torch_batch_norm)


def _of_keras(skips: tuple[str, ...], preprocessing: Preprocessing, **parameters: int) -> dict[str, Backbone]:
    """A row for each name of `APPLICATIONS` and its number of parameters."""
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
    }
)


def backbones() -> BackboneTable:
    """The encoders, by name; printed, a table of their parameters and of the data sets weights are published for.

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
    """What makes the pixels that the encoder ``name`` takes from RGB images in 0-255.

    Raises:
        UnknownChoice: no encoder has this name.

    >>> import numpy as np
    >>> get_preprocessing("mobilenet")(np.array([[0, 255, 0]], "uint8"))
    array([[-1.,  1., -1.]], dtype=float32)
    """
    return one_of("name", name, BACKBONES).preprocessing


def build_backbone(name: str, *, input_shape: ImageShape = (None, None, 3), **options: object) -> keras.Model:
    """The encoder called ``name``, without a classifier: prepared images to features at 1/32 of their size.

    Args:
        name: One of `backbones()`.
        input_shape: Height, width and channels; height and width may be None.
        **options: ``first_unit`` of the pre-activation ResNets ("projection", see `build_resnet`), ``output_stride`` of
            the encoders that end in ``_v1`` (32 or 16).

    Raises:
        UnknownChoice: no encoder has this name, or ``first_unit`` is unknown.
        WrongArgument: ``input_shape`` or an option cannot be used.

    >>> build_backbone("resnet18", input_shape=(64, 64, 3)).output_shape
    (None, 2, 2, 512)
    """
    row = one_of("name", name, BACKBONES)
    _check_options(options, taken=row.options, encoder=name)
    return row.build(input_shape=input_shape, **options)


def freeze_encoder(encoder: keras.Model) -> None:
    """Make every layer of ``encoder`` untrainable but its batch normalisations, which go on following the new images.

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
    """What a decoder is put on: ``model`` ends in features; ``norm`` is what decoders on it normalise with."""

    model: keras.Model
    known_skips: tuple[str, ...] | None = None
    norm: Norm = batch_norm

    @property
    def skips(self) -> tuple[str, ...]:
        """Names of the layers a decoder joins, deep to shallow; found by `skips_by_stride` where nobody named them."""
        return skips_by_stride(self.model) if self.known_skips is None else self.known_skips


def encoder_of(
    backbone: str | keras.Model | Encoder,
    *,
    input_shape: ImageShape = (None, None, 3),
    argument: str = "backbone_name",
    **options: object,
) -> Encoder:
    """The encoder that a name or a network means.

    Args:
        backbone: One of `backbones()`; or any Keras model whose output is a map; or a backbone of keras-hub with
            ``pyramid_outputs``: level P5, or the deepest, becomes the end and those before it the skip connections. A
            network keeps its weights and shares them with what is built on it. An `Encoder` is returned as it is.
        input_shape: Height, width and channels of a named encoder; a network has its own.
        argument: What the user calls ``backbone``, for the errors.
        **options: Of a named encoder, see `build_backbone`.

    Raises:
        UnknownChoice: no encoder has this name.
        WrongArgument: a level of the pyramid is the output of no layer, or another argument cannot be used.

    >>> encoder_of("resnet18").skips[-1]
    'relu0'
    """
    if isinstance(backbone, Encoder):
        return backbone
    if not isinstance(backbone, keras.Model):
        row = one_of(argument, backbone, BACKBONES)
        _check_options(options, taken=row.options, encoder=backbone)
        return Encoder(row.build(input_shape=input_shape, **options), row.skips, row.norm)
    _check_options(options, taken=frozenset(), encoder=backbone.name)
    levels = getattr(backbone, "pyramid_outputs", {}).items()
    pyramid = {int(level[1:]): tensor for level, tensor in levels if PYRAMID_LEVEL.fullmatch(level)}
    return _encoder_of_pyramid(backbone, pyramid, argument=argument) if pyramid else Encoder(backbone)


def _encoder_of_pyramid(backbone: keras.Model, pyramid: Mapping[int, keras.KerasTensor], *, argument: str) -> Encoder:
    end = 5 if 5 in pyramid else max(pyramid)
    joined = [id(pyramid[level]) for level in sorted(pyramid, reverse=True) if level < end]
    names = {id(getattr(layer, "output", None)): layer.name for layer in backbone.layers}
    if not names.keys() >= set(joined):
        expected = "a backbone whose pyramid_outputs are outputs of its layers"
        raise wrong_argument(argument, backbone.name, expected=expected)
    encoder = keras.Model(backbone.input, pyramid[end], name=backbone.name)
    return Encoder(encoder, tuple(names[tensor] for tensor in joined))


def _check_options(options: Mapping[str, object], *, taken: frozenset[str], encoder: str) -> None:
    for option, value in options.items():
        if option not in taken:
            takers = ", ".join(name for name, row in BACKBONES.items() if option in row.options) or "no encoder"
            raise wrong_argument(option, value, expected=f"an encoder that takes it ({takers}), not {encoder}")
