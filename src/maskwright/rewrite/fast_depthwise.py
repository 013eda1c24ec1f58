"""Depthwise convolution whose gradient is fast in bfloat16 on a CPU with TensorFlow."""

from typing import Any, Final, final

import keras
from keras import layers

from maskwright.rewrite.graph import Graph, LayerCall, Replacement

_TILE: Final = 3  # pixels; TensorFlow's filter gradient takes several times as long per weight for larger kernels


def fast_depthwise_replacements(network: keras.Model) -> dict[str, Replacement]:
    """Return replacements of depthwise convolutions in bfloat16 by `FastDepthwiseConv2D`, by layer name.

    The names and weights of the layers are unchanged. Without TensorFlow, nothing is replaced.
    """
    if keras.backend.backend() != "tensorflow":
        return {}
    return {call.layer.name: _fast(call.layer) for call in Graph(network).calls if _can_replace(call)}


def _can_replace(call: LayerCall) -> bool:
    layer = call.layer
    return (
        type(layer) is layers.DepthwiseConv2D
        and layer.compute_dtype == "bfloat16"
        and layer.padding == "same"
        and layer.dilation_rate == (1, 1)
        and layer.depth_multiplier == 1
        and layer.strides[0] == layer.strides[1] <= layer.kernel_size[0] == layer.kernel_size[1]
    )


def _fast(layer: layers.DepthwiseConv2D) -> Replacement:
    def replacement(x: keras.KerasTensor, **arguments: Any) -> keras.KerasTensor:
        fast = FastDepthwiseConv2D.from_config(layer.get_config())
        y = fast(x, **arguments)
        fast.set_weights(layer.get_weights())
        return y

    return replacement


@final
class FastDepthwiseConv2D(layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with same padding, whose gradient in bfloat16 takes a fraction of the time.

    On a CPU, two gradients of TensorFlow are slow in bfloat16, even slower than in float32: that of the input with a
    stride of 2, and that of a kernel larger than 3x3. Here, the first is computed with a stride of 1 after zeros have
    been inserted between the rows and columns, and the second is computed for tiles of 3x3 weights. The results are
    the same sums, in bfloat16.
    """

    def call(self, inputs: Any) -> Any:
        """Convolve each channel of ``inputs`` (n, h, w, c), as in the base class."""
        import tensorflow as tf

        stride, size = self.strides[0], self.kernel_size[0]

        @tf.custom_gradient
        def convolve(x: Any, kernel: Any) -> Any:
            def gradient(dy: Any) -> tuple[Any, Any]:
                return _input_gradient(x, kernel, dy, stride), _kernel_gradient(x, dy, size, stride)

            return _native(x, kernel, stride), gradient

        outputs = convolve(inputs, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs += tf.cast(self.bias, outputs.dtype)
        return self.activation(outputs)


def _native(x: Any, kernel: Any, stride: int) -> Any:
    import tensorflow as tf

    return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=kernel, strides=[1, stride, stride, 1], padding="SAME")


def _input_gradient(x: Any, kernel: Any, dy: Any, stride: int) -> Any:
    """Return the gradient with respect to the input ``x`` of a convolution, given that of its output."""
    import tensorflow as tf

    ones = [1, 1, 1, 1]
    if stride == 1:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=ones, padding="SAME"
        )
    size = kernel.shape[0]
    (count, height, width, channels), (_, rows, columns, _) = tf.unstack(tf.shape(x)), tf.unstack(tf.shape(dy))
    spread = tf.reshape(dy, (count, rows, 1, columns, 1, channels))
    spread = tf.pad(spread, [[0, 0], [0, 0], [0, stride - 1], [0, 0], [0, stride - 1], [0, 0]])
    spread = tf.reshape(spread, (count, rows * stride, columns * stride, channels))
    padded = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=[count, rows * stride + size - 1, columns * stride + size - 1, channels],
        filter=kernel,
        out_backprop=tf.ensure_shape(spread, (None, None, None, dy.shape[-1])),
        strides=ones,
        padding="VALID",
    )
    top, left = _padding_before(height, rows, size, stride), _padding_before(width, columns, size, stride)
    return tf.ensure_shape(padded[:, top : top + height, left : left + width], x.shape)


def _kernel_gradient(x: Any, dy: Any, size: int, stride: int) -> Any:
    """Return the gradient with respect to the kernel (size, size, channels, 1) of a convolution of ``x``."""
    import tensorflow as tf

    strides, shape = [1, stride, stride, 1], [_TILE, _TILE, x.shape[-1], 1]
    if size <= _TILE:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=x, filter_sizes=[size, size, *shape[2:]], out_backprop=dy, strides=strides, padding="SAME"
        )
    tiles = range(0, size, _TILE)
    (_, height, width, _), (_, rows, columns, _) = tf.unstack(tf.shape(x)), tf.unstack(tf.shape(dy))
    extent = [(number - 1) * stride + _TILE for number in (rows, columns)]  # pixels that one tile is applied to
    before = [_padding_before(height, rows, size, stride), _padding_before(width, columns, size, stride)]
    after = [tiles[-1] + needed - side - top for needed, side, top in zip(extent, (height, width), before, strict=True)]
    after = [tf.maximum(after[0], 0), tf.maximum(after[1], 0)]
    padded = tf.pad(x, [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])

    def tile(top: int, left: int) -> Any:
        part = padded[:, top : top + extent[0], left : left + extent[1]]
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=part, filter_sizes=shape, out_backprop=dy, strides=strides, padding="VALID"
        )

    gradient = tf.concat([tf.concat([tile(top, left) for left in tiles], 1) for top in tiles], 0)
    return gradient[:size, :size]


def _padding_before(side: Any, outputs: Any, size: int, stride: int) -> Any:
    """Return the number of zeros that same padding adds before a side of ``side`` pixels."""
    import tensorflow as tf

    return tf.maximum((outputs - 1) * stride + size - side, 0) // 2
