"""Batch normalisation for training, computed in one TensorFlow operation."""

from typing import Any, Final, final

import keras
from keras import layers

from maskwright.rewrite.graph import Graph, LayerCall, Replacement

_MIN_FUSED_CHANNELS: Final = 8  # float32 values in a processor register; the operation is slow for fewer channels


def fused_norm_replacements(network: keras.Model) -> dict[str, Replacement]:
    """Return replacements of batch normalisation by `FusedBatchNormalization`, by layer name; none without TensorFlow.

    The names and weights of the layers are unchanged. The shift of a layer that normalises the images themselves, as in
    the encoders of segmentation_models, is frozen because images are already normalised and because its gradient alone
    takes about a tenth of the time of a training step.
    """
    if keras.backend.backend() != "tensorflow":
        return {}
    images = {id(tensor) for tensor in network.inputs}
    calls = [call for call in Graph(network).calls if _can_fuse(call)]
    return {call.layer.name: _fused(call.layer, freeze_shift=id(call.inputs[0]) in images) for call in calls}


def _can_fuse(call: LayerCall) -> bool:
    layer = call.layer
    if type(layer) is not layers.BatchNormalization or layer.axis not in (-1, 3):
        return False
    return len(call.inputs[0].shape) == 4 and not (layer.synchronized or getattr(layer, "renorm", False))


def _fused(norm: layers.BatchNormalization, *, freeze_shift: bool) -> Replacement:
    def replacement(x: keras.KerasTensor, **arguments: Any) -> keras.KerasTensor:
        fused = FusedBatchNormalization.from_config(norm.get_config())
        y = fused(x, **arguments)
        fused.set_weights(norm.get_weights())
        if freeze_shift and fused.center:
            fused.beta.trainable = False
        return y

    return replacement


@final
class FusedBatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of feature maps (n, h, w, c) in one TensorFlow operation.

    Keras needs about ten passes over a feature map, in float32. This layer needs two or three passes, in the precision
    of the feature map, and is fused with a subsequent ReLU. Statistics are computed in float32.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise ``inputs`` and, in training, update the moving statistics, as in the base class."""
        if keras.backend.backend() != "tensorflow" or not (training and self.trainable) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        if channels < _MIN_FUSED_CHANNELS:
            return self._normalise_few_channels(inputs)
        scale = tf.cast(self.gamma, "float32") if self.scale else tf.ones(channels)
        offset = tf.cast(self.beta, "float32") if self.center else tf.zeros(channels)
        unused = tf.zeros(0)  # the moving statistics are updated below with the momentum of Keras
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=unused, variance=unused, epsilon=self.epsilon, is_training=True
        )
        pixels = tf.cast(tf.size(inputs) // channels, "float32")
        # TensorFlow returns the unbiased variance; Keras uses the biased one.
        self._update_moving_statistics(mean, variance * (pixels - 1) / pixels)
        return y

    def _normalise_few_channels(self, inputs: Any) -> Any:
        """Normalise feature maps with few channels, for which the fused operation is not vectorised."""
        import tensorflow as tf

        def channel_means(maps: Any) -> Any:  # images and rows are averaged first because these axes are long
            return tf.reduce_mean(tf.reduce_mean(maps, axis=(0, 1)), axis=0)

        x = tf.cast(inputs, "float32")
        mean = channel_means(x)
        variance = channel_means(tf.square(x - mean))
        self._update_moving_statistics(mean, variance)
        scale = tf.math.rsqrt(variance + self.epsilon) * (self.gamma if self.scale else 1.0)
        return tf.cast((x - mean) * scale + (self.beta if self.center else 0.0), inputs.dtype)

    def _update_moving_statistics(self, mean: Any, variance: Any) -> None:
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + current * (1 - self.momentum))
