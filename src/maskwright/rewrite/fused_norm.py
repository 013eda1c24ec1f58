"""Batch normalisation that TensorFlow computes in one pass of its own, for networks that learn."""

from typing import Any, Final, final

import keras
from keras import layers

from maskwright.rewrite.graph import Call, Graph, Step, replaced

_FEW: Final = 8  # channels: what a processor's registers hold of float32


def fuse_norms(network: keras.Model) -> keras.Model:
    """A copy of ``network`` that normalises by `FusedBatchNormalization`; ``network`` itself where that gains nothing.

    Layers keep their names and weights. One that normalises the images themselves, as the article's encoders do, no
    longer learns its shift: images come normalised, and that gradient alone takes as long as a tenth of a step.
    """
    return replaced(network, norm_steps(network))


def norm_steps(network: keras.Model) -> dict[str, Step]:
    """What `fuse_norms` does in place of layers of ``network``."""
    if keras.backend.backend() != "tensorflow":
        return {}
    images = {id(tensor) for tensor in network.inputs}
    norms = [call for call in Graph(network).calls if _can_be_fused(call)]
    return {norm.layer.name: _fused(norm.layer, of_images=id(norm.inputs[0]) in images) for norm in norms}


def _can_be_fused(call: Call) -> bool:
    layer = call.layer
    if type(layer) is not layers.BatchNormalization or layer.axis not in (-1, 3):
        return False
    return len(call.inputs[0].shape) == 4 and not (layer.synchronized or getattr(layer, "renorm", False))


def _fused(norm: layers.BatchNormalization, *, of_images: bool) -> Step:
    def step(x: keras.KerasTensor, **arguments: Any) -> keras.KerasTensor:
        fused = FusedBatchNormalization.from_config(norm.get_config())
        made = fused(x, **arguments)
        fused.set_weights(norm.get_weights())
        if of_images and fused.center:
            fused.beta.trainable = False
        return made

    return step


@final
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' `BatchNormalization` of maps (n, h, w, c), by one operation of TensorFlow where the batch decides.

    Keras takes some ten passes over the map, in float32; this takes two or three, in the map's own precision, and is
    fused with a ReLU behind it. Sums are kept in float32.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As Keras' own."""
        if keras.backend.backend() != "tensorflow" or not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        if channels < _FEW:
            return self._of_few_channels(inputs)
        scale = tf.cast(self.gamma, "float32") if self.scale else tf.ones(channels)
        offset = tf.cast(self.beta, "float32") if self.center else tf.zeros(channels)
        nothing = tf.zeros(0)  # the moving averages are kept below, as Keras keeps them
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=nothing, variance=nothing, epsilon=self.epsilon, is_training=True
        )
        pixels = tf.cast(tf.size(inputs) // channels, "float32")
        self._remember(mean, variance * (pixels - 1) / pixels)  # TensorFlow's is that of a sample, not of the batch
        return y

    def _of_few_channels(self, inputs: Any) -> Any:
        """The same for images, whose few channels the operation would take one number at a time."""
        import tensorflow as tf

        def mean_of(maps: Any) -> Any:  # rows first: those are long
            return tf.reduce_mean(tf.reduce_mean(maps, axis=(0, 1)), axis=0)

        x = tf.cast(inputs, "float32")
        mean = mean_of(x)
        variance = mean_of(tf.square(x - mean))
        self._remember(mean, variance)
        scale = tf.math.rsqrt(variance + self.epsilon) * (self.gamma if self.scale else 1.0)
        return tf.cast((x - mean) * scale + (self.beta if self.center else 0.0), inputs.dtype)

    def _remember(self, mean: Any, variance: Any) -> None:
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
