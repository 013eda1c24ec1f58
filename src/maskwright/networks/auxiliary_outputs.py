"""Hypercolumns and the auxiliary training outputs of a decoder: deep supervision and image-level presence.

Sources: Hariharan et al., "Hypercolumns for Object Segmentation and Fine-grained Localization", CVPR 2015;
Lee et al., "Deeply-Supervised Nets", AISTATS 2015. The best entries of the TGS salt competition (2018) combined both
with an image-level classifier.
"""

from collections.abc import Sequence
from typing import Final

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.head import Activation, mask_head

MASK: Final = "mask"
PRESENCE: Final = "presence"


def hypercolumn_features(feature_maps: Sequence[keras.KerasTensor], *, scales: Sequence[int]) -> keras.KerasTensor:
    """Upsample each feature map bilinearly by its scale to the size of the last one, and concatenate all of them."""
    upsampled = [
        x if scale == 1 else BilinearUpsampling2D(scale, name=f"hypercolumn_upsampling{level}")(x)
        for level, (x, scale) in enumerate(zip(feature_maps, scales, strict=True))
    ]
    return layers.Concatenate(name="hypercolumn_concat")(upsampled)


def deep_supervision_masks(
    feature_maps: Sequence[keras.KerasTensor], *, scales: Sequence[int], classes: int, activation: Activation
) -> dict[str, keras.KerasTensor]:
    """Create an output from each feature map: a 1x1 convolution, bilinear upsampling by its scale, and the activation.

    The name of the i-th output is ``mask_stage{i}``; the output and its logits are float32.
    """
    masks = {}
    for level, (x, scale) in enumerate(zip(feature_maps, scales, strict=True)):
        name = f"{MASK}_stage{level}"
        upsampling = BilinearUpsampling2D(scale, dtype="float32", name=f"{name}_upsampling")
        masks[name] = mask_head(
            x, classes, activation=activation, size=1, upsampling=upsampling, name=f"{name}_conv", output_name=name
        )
    return masks


def presence_head(features: keras.KerasTensor) -> keras.KerasTensor:
    """Compute the float32 probability (n, 1) that an image contains any foreground from the means of its channels."""
    x = layers.GlobalAveragePooling2D(name=f"{PRESENCE}_pool")(features)
    return layers.Dense(1, activation="sigmoid", dtype="float32", name=PRESENCE)(x)


def mask_only(network: keras.Model) -> keras.Model:
    """Return a model for inference without auxiliary outputs, which shares its weights with ``network``.

    A network whose output is not a dictionary is returned unchanged.

    Raises:
        WrongArgument: The output is a dictionary without the key ``"mask"``.

    >>> from maskwright.networks import ResNet18, build_unet
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> network = build_unet(encoder, 1, ["stage4_unit1_relu1"], classification_head=True)
    >>> list(network.output)
    ['mask', 'presence']
    >>> mask_only(network).output_shape
    (None, 64, 96, 1)
    """
    outputs = network.output
    if not isinstance(outputs, dict):
        return network
    if MASK not in outputs:
        raise wrong_argument("network", network, expected=f"a network with an output {MASK!r}")
    return keras.Model(network.input, outputs[MASK], name=network.name)
