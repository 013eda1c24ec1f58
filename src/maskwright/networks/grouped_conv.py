"""A grouped convolution that can be trained on a CPU."""

from typing import Any, Final

import keras
from keras import ops

# On a CPU XLA, by which both of these compute a grouped convolution, needs a hundred times longer for its gradient
# than for those of its pieces. One layer, 4 maps of 56 x 56 x 128, 32 groups, two cores, milliseconds a training step,
# whole and in 32 pieces: TensorFlow 4200 and 24, JAX 3900 and 94; but torch 120 and 630.
SLOW_WHOLE: Final = ("tensorflow", "jax")
PIECES: Final = 8  # a step takes no longer than in one piece a group, and a network compiles in half the time


@keras.saving.register_keras_serializable("maskwright")
class GroupedConv2D(keras.layers.Conv2D):
    """``Conv2D(groups=...)``, computed piece by piece where the backend is slow to differentiate it whole.

    Arguments, weights and values are those of `keras.layers.Conv2D`, channels last: images (n, height, width, channels)
    and a kernel (size, size, channels / groups, filters). A piece is a few groups, convolved as one with zeros between
    them.

    >>> layer = GroupedConv2D(8, 3, groups=4)
    >>> tuple(layer(ops.ones((1, 5, 5, 8))).shape), tuple(layer.kernel.shape)
    ((1, 3, 3, 8), (3, 3, 2, 8))
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve each group of channels with its part of the kernel."""
        if not whole_is_slow():
            return super().convolution_op(inputs, kernel)
        count = PIECES if self.groups % PIECES == 0 else self.groups
        convolve = super().convolution_op
        pieces = zip(ops.split(inputs, count, axis=-1), ops.split(kernel, count, axis=-1), strict=True)
        results = [convolve(piece, block_diagonal(part, groups=self.groups // count)) for piece, part in pieces]
        return ops.concatenate(results, axis=-1)


def block_diagonal(kernel: Any, *, groups: int) -> Any:
    """The kernel (size, size, channels, filters) of the ordinary convolution that does what ``groups`` groups do.

    >>> kernel = ops.reshape(ops.convert_to_tensor([1, 2, 3, 4]), (1, 1, 2, 2))
    >>> ops.convert_to_numpy(block_diagonal(kernel, groups=2))[0, 0].tolist()
    [[1, 0], [3, 0], [0, 2], [0, 4]]
    """
    *size, channels, filters = kernel.shape
    by_group = ops.reshape(kernel, (*size, 1, channels, groups, filters // groups))
    own = ops.reshape(ops.eye(groups, dtype=kernel.dtype), (groups, 1, groups, 1))
    return ops.reshape(by_group * own, (*size, groups * channels, filters))


def whole_is_slow() -> bool:
    """Whether this backend computes on a CPU and is one of `SLOW_WHOLE`."""
    return keras.backend.backend() in SLOW_WHOLE and keras.distribution.list_devices()[0].startswith("cpu")
