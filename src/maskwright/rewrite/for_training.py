"""Rewrite a network to compute the same function and gradients in fewer passes over feature maps in training."""

import keras

from maskwright.networks.auxiliary_outputs import MASK
from maskwright.rewrite.fast_depthwise import fast_depthwise_replacements
from maskwright.rewrite.fused_norm import fused_norm_replacements
from maskwright.rewrite.graph import Replacement, remove_layer, replace_layers
from maskwright.rewrite.merge_padding import padding_replacements


def rewrite_for_training(network: keras.Model) -> keras.Model:
    """Return a copy of ``network`` that is faster to train, with the same layer names and weights.

    Zero padding is merged into the convolution after it. TensorFlow computes batch normalisation in one fused
    operation, and the gradients of depthwise convolutions in bfloat16 by faster operations. The outputs of deep
    supervision are not upsampled. If nothing can be replaced, ``network`` itself is returned.
    """
    return replace_layers(
        network,
        padding_replacements(network)
        | fused_norm_replacements(network)
        | fast_depthwise_replacements(network)
        | native_resolution_replacements(network),
    )


def native_resolution_replacements(network: keras.Model) -> dict[str, Replacement]:
    """Return the replacements that remove the final upsampling of each deep supervision output, by layer name."""
    stages = [name for name in network.output_names if name.startswith(f"{MASK}_stage")]
    return {f"{name}_upsampling": remove_layer for name in stages if isinstance(network.output, dict)}
