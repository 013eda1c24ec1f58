"""Shared texts for the docstrings of functions with the same arguments."""

import re
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PLACEHOLDER: Final = re.compile(r"^( *)\{(\w+)\}$", re.MULTILINE)

MODEL_TEXTS: Final[Mapping[str, str]] = {
    "backbone_name": """\
backbone_name: Name of an encoder in the table `backbones()`, a Keras model whose output is a feature map, a
    keras-hub backbone, or an `Encoder`.""",
    "input_shape": "input_shape: Height, width and number of channels of the images; height and width may be None.",
    "classes": "classes: Number of output channels.",
    "activation": "activation: Keras activation of the output, as a name or a function; None means linear.",
    "weights": "weights: Path of a file with the weights of the whole network; with None, no file is loaded.",
    "encoder_weights": """\
encoder_weights: Pretrained weights of the encoder: the name of a data set, such as ``"imagenet"``, or the
    path of a weights file saved from the model that `build_backbone` returns.""",
    "encoder_freeze": "encoder_freeze: Whether to freeze the encoder except for its batch normalisation layers.",
    "encoder_features": """\
encoder_features: Encoder layers whose outputs are the skip connections, as names or indices from deep to shallow;
    ``"default"`` selects the standard layers of the encoder.""",
    "decoder_filters": "decoder_filters: Numbers of filters of the decoder blocks, in a list with one entry per block.",
    "decoder_use_batchnorm": """\
decoder_use_batchnorm: Whether to use batch normalisation in the decoder; without it, the decoder's convolutions
    have a bias.""",
    "attention": """\
attention: ``"scse"`` adds channel and spatial attention to each decoder block; None adds no attention.""",
    "images_of_stride_32": """\
The input consists of images (n, height, width, channels) whose sides are multiples of 32 pixels, preprocessed by the
function that `get_preprocessing` returns for the encoder. The output consists of float32 masks (n, height, width,
classes).""",
    "WrongArgument": "WrongArgument: Another argument has an invalid value.",
    "SkipSizeMismatch": "SkipSizeMismatch: A skip connection differs in size from its decoder block.",
    "MissingWeights": "MissingWeights: A weights argument is neither a file nor the name of published weights.",
    "UnusableWeights": "UnusableWeights: A weights file cannot be read or does not match the network.",
}
"""Texts of the functions in `maskwright.models`."""


def fill_docstring(texts: Mapping[str, str]) -> Callable[[F], F]:
    """Return a decorator that replaces each line ``{name}`` of a docstring with the text of that name.

    A text of several lines is indented like its placeholder. A placeholder without a text causes a KeyError at import.

    >>> @fill_docstring({"size": "size: Pixels per side."})
    ... def square(size):
    ...     '''Create a square.
    ...
    ...     Args:
    ...         {size}
    ...     '''
    >>> print(square.__doc__.splitlines()[3])
            size: Pixels per side.
    """

    def decorate(function: F) -> F:
        if function.__doc__ is not None:  # docstrings are None under python -OO
            function.__doc__ = PLACEHOLDER.sub(lambda match: indent(texts[match[2]], match[1]), function.__doc__)
        return function

    return decorate
