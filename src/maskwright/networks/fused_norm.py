"""Batch normalisation that TensorFlow computes in one pass of its own, for networks that learn."""

from typing import Any, final

import keras
from keras import layers

from maskwright.networks.graph import Graph, Step, replaced


def fuse_norms(network: keras.Model) -> keras.Model:
    """A copy of ``network`` that normalises by `FusedBatchNormalization`; ``network`` itself where that gains nothing.

    Layers keep their names and weights.
    """
    if keras.backend.backend() != "tensorflow":
        return network
    norms = [call.layer for call in Graph(network).calls if _can_be_fused(call.layer)]
    return replaced(network, {norm.name: _fused(norm) for norm in norms})


def _can_be_fused(layer: keras.Layer) -> bool:
    return type(layer) is layers.BatchNormalization and layer.axis in (-1, 3) and not layer.synchronized


def _fused(norm: layers.BatchNormalization) -> Step:
    def step(x: keras.KerasTensor, **arguments: Any) -> keras.KerasTensor:
        fused = FusedBatchNormalization.from_config(norm.get_config())
        made = fused(x, **arguments)
        fused.set_weights(norm.get_weights())
        return made

    return step


@final
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' `BatchNormalization` of maps (n, h, w, c), by one operation of TensorFlow where it normalises by the batch.

    Keras takes some ten passes over the map, in float32; this takes two or three, in the map's own precision, and is
    fused with a ReLU behind it. Sums are kept in float32.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As Keras' own."""
        if not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        scale = tf.cast(self.gamma, "float32") if self.scale else tf.ones(channels)
        offset = tf.cast(self.beta, "float32") if self.center else tf.zeros(channels)
        nothing = tf.zeros(0)  # the moving averages are kept below, as Keras keeps them
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=nothing, variance=nothing, epsilon=self.epsilon, is_training=True
        )
        pixels = tf.cast(tf.size(inputs) // channels, "float32")
        variance *= (pixels - 1) / pixels  # TensorFlow's is that of a sample, Keras keeps that of the batch
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return y
