"""What a decoder may end in beyond one mask: a hypercolumn before the head, and further outputs to train with.

Sources: Hariharan et al., "Hypercolumns for Object Segmentation and Fine-grained Localization", CVPR 2015;
Lee et al., "Deeply-Supervised Nets", AISTATS 2015; together with an image-level classifier they are what the best
of the TGS salt competition (2018) trained.
"""

from collections.abc import Sequence
from typing import Final

import keras
from keras import layers

from maskwright.errors import wrong_argument
from maskwright.networks.bilinear_upsampling import BilinearUpsampling2D
from maskwright.networks.head import Activation, mask_head

MASK: Final = "mask"
PRESENT: Final = "present"


def hypercolumn_of(maps: Sequence[keras.KerasTensor], *, scales: Sequence[int]) -> keras.KerasTensor:
    """All ``maps``, each enlarged bilinearly by its scale to the size of the last, one behind the other in channels."""
    enlarged = [
        x if scale == 1 else BilinearUpsampling2D(scale, name=f"hypercolumn_upsampling{level}")(x)
        for level, (x, scale) in enumerate(zip(maps, scales, strict=True))
    ]
    return layers.Concatenate(name="hypercolumn_concat")(enlarged)


def stage_masks(
    maps: Sequence[keras.KerasTensor], *, scales: Sequence[int], classes: int, activation: Activation
) -> dict[str, keras.KerasTensor]:
    """For deep supervision: a mask of each of ``maps``, a 1x1 convolution enlarged bilinearly by its scale.

    The mask of the i-th is called ``mask_stage{i}``; it and its logits are float32.
    """
    masks = {}
    for level, (x, scale) in enumerate(zip(maps, scales, strict=True)):
        name = f"{MASK}_stage{level}"
        enlarge = BilinearUpsampling2D(scale, dtype="float32", name=f"{name}_upsampling")
        masks[name] = mask_head(
            x, classes, activation=activation, size=1, upsampling=enlarge, name=f"{name}_conv", output_name=name
        )
    return masks


def presence(features: keras.KerasTensor) -> keras.KerasTensor:
    """The probability (n, 1), in float32, that an image holds anything at all, of its features' means."""
    x = layers.GlobalAveragePooling2D(name=f"{PRESENT}_pool")(features)
    return layers.Dense(1, activation="sigmoid", dtype="float32", name=PRESENT)(x)


def mask_only(network: keras.Model) -> keras.Model:
    """The network that gives the mask alone: what is saved and predicted with after training with further outputs.

    It shares its weights with ``network``. A network whose one output is not a dictionary is returned as it is.

    Raises:
        WrongArgument: the network's outputs are named, and none is called ``"mask"``.

    >>> from maskwright.networks import ResNet18, build_unet
    >>> encoder = ResNet18(include_top=False, input_shape=(64, 96, 3))
    >>> network = build_unet(encoder, 1, ["stage4_unit1_relu1"], empty_head=True)
    >>> list(network.output)
    ['mask', 'present']
    >>> mask_only(network).output_shape
    (None, 64, 96, 1)
    """
    outputs = network.output
    if not isinstance(outputs, dict):
        return network
    if MASK not in outputs:
        raise wrong_argument("network", network, expected=f"a network with an output called {MASK!r}")
    return keras.Model(network.input, outputs[MASK], name=network.name)
