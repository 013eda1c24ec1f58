"""Implement the optimizer Muon: orthogonalised momentum for large convolution kernels, AdamW for other variables.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). `keras.optimizers.Muon` is not used
because it orthogonalises 2-D kernels only, while the kernels of convolutions are 4-D.
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final, final

import keras
from keras import ops

from maskwright.training.optimizer import FusedAdamW

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration (Jordan et al.), with which singular values converge to [0.7, 1.2]."""
_ITERATIONS: Final = 5
_MAX_BLOCK_COLUMNS: Final = 64
_MIN_SIDE: Final = 16  # rows and columns; AdamW performs equally well for smaller kernels
_MOMENTUM: Final = 0.95
_EPSILON: Final = 1e-30  # avoids division by a zero norm
_ADAMW_RMS: Final = 0.2
"""Typical root mean square of an AdamW update at a learning rate of 1 (Liu et al.)."""


def orthogonalise(matrix: Any, *, scale: Any = 1.0) -> Any:
    """Return approximately ``scale`` times the orthogonal matrix nearest to ``matrix``.

    Singular values above about a hundredth of the matrix norm converge to about 1, and smaller ones stay below 1.
    Blocks of columns (see `block_shape`) are orthogonalised separately, which takes a fraction of the time needed for
    the whole matrix.

    Args:
        matrix: Matrix (rows, columns) of type float32.
        scale: Factor by which the orthogonal matrix is multiplied.

    >>> stretched = ops.diag(ops.convert_to_tensor([3.0, 1.0, 0.2]))
    >>> float(ops.max(ops.abs(orthogonalise(stretched) - ops.eye(3)))) < 0.35
    True
    """
    rows, columns = matrix.shape
    _, width = block_shape(matrix.shape)
    blocks = ops.transpose(ops.reshape(matrix, (rows, columns // width, width)), (1, 0, 2))
    iterate = iterate_on_gram_matrices if _is_matmul_exact() else iterate_on_matrices
    result = iterate(blocks, ops.cast(scale, "float32"))
    return ops.reshape(ops.transpose(result, (1, 0, 2)), (rows, columns))


def iterate_on_matrices(blocks: Any, scale: Any) -> Any:
    """Orthogonalise matrices (n, rows, columns) by the standard iteration, which is stable in any precision."""
    squares = ops.sum(ops.square(blocks), axis=(1, 2), keepdims=True)
    a, b, c = _COEFFICIENTS
    x = blocks * ops.rsqrt(squares + _EPSILON)
    for _ in range(_ITERATIONS):
        gram = ops.matmul(ops.transpose(x, (0, 2, 1)), x)
        x = a * x + ops.matmul(x, b * gram + c * ops.matmul(gram, gram))
    return x * scale


def iterate_on_gram_matrices(blocks: Any, scale: Any) -> Any:
    """Orthogonalise matrices (n, rows, columns) by an iteration on their smaller Gram matrices.

    The iteration amplifies rounding errors of zero singular values by a factor of up to 20 000, so that products must
    be computed in full float32 precision.
    """
    transposed = ops.transpose(blocks, (0, 2, 1))
    if blocks.shape[1] < blocks.shape[2]:
        return ops.matmul(_compiled_factor()(ops.matmul(blocks, transposed), scale), blocks)
    return ops.matmul(blocks, _compiled_factor()(ops.matmul(transposed, blocks), scale))


def _orthogonalising_factor(gram: Any, scale: Any) -> Any:
    """Return factors (n, m, m), times ``scale``, that orthogonalise matrices whose Gram matrices are ``gram``."""
    squared_norm = ops.trace(gram, axis1=1, axis2=2)[:, None, None] + _EPSILON  # exceeds every squared singular value
    gram = gram / squared_norm
    (a, b, c), identity = _COEFFICIENTS, ops.eye(ops.shape(gram)[-1])
    step = a * identity + b * gram + c * ops.matmul(gram, gram)
    factor = step * (scale * ops.rsqrt(squared_norm))
    for _ in range(_ITERATIONS - 1):
        gram = ops.matmul(ops.matmul(step, gram), step)
        step = a * identity + b * gram + c * ops.matmul(gram, gram)
        factor = ops.matmul(factor, step)
    return factor


@lru_cache(maxsize=1)
def _compiled_factor() -> Callable[[Any, Any], Any]:
    """Return `_orthogonalising_factor`, which is traced only once for all kernels on TensorFlow to save time."""
    if keras.backend.backend() != "tensorflow":
        return _orthogonalising_factor
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None)), tf.TensorSpec(())
    not_inlined = {"_noinline": True}  # otherwise the function is optimised again for each kernel
    traced: Callable[[Any, Any], Any] = tf.function(
        _orthogonalising_factor,
        input_signature=signature,
        autograph=False,
        experimental_attributes=not_inlined,
    )
    return traced


@lru_cache(maxsize=1)
def _is_matmul_exact() -> bool:
    """Return whether float32 products are computed in full precision, which is not the default on accelerators."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return not tf.config.list_physical_devices("GPU")
        case "jax":
            import jax

            return bool(jax.default_backend() == "cpu")
        case _:
            import torch

            return bool(torch.get_float32_matmul_precision() == "highest")


def block_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return the numbers of rows and columns of the blocks in which a kernel of ``shape`` is orthogonalised.

    A block has at most 64 columns if the number of columns has a suitable divisor. Blocks were proposed by Khaled et
    al., "MuonBP: faster Muon via block-periodic orthogonalization" (2025). The periodic orthogonalisation of the whole
    matrix is omitted.

    >>> block_shape((3, 3, 256, 512)), block_shape((7, 7, 3, 96)), block_shape((3, 3, 16, 67))
    ((2304, 64), (147, 48), (144, 67))
    """
    columns = shape[-1]
    width = max(width for width in range(1, _MAX_BLOCK_COLUMNS + 1) if columns % width == 0)
    return math.prod(shape[:-1]), width if width >= _MIN_SIDE else columns


@final
class Muon(FusedAdamW):
    """Update convolution kernels of at least 16 rows and filters by Muon, and all other variables by `FusedAdamW`.

    A kernel is reshaped to a matrix whose columns are the last axis. The update of the kernel is the orthogonalised
    momentum of the gradients, so that rare directions of the gradient have the same weight as frequent ones. The update
    has the root mean square of an AdamW update, so that one learning rate is suitable for both (Liu et al., "Muon is
    scalable for LLM training", 2025).

    Args:
        learning_rate: Learning rate of all variables outside the encoder, as for `FusedAdamW`.
        adamw_variables: Paths of kernels that are updated by AdamW regardless of size, such as those of output layers.
        options: Other keyword arguments, which are passed to `FusedAdamW`.
    """

    def __init__(self, learning_rate: float, *, adamw_variables: Collection[str] = (), **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.adamw_variables = frozenset(adamw_variables)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the momentum of each variable, and the velocity of each variable that is updated by AdamW."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None if self.is_orthogonalised(variable) else self.add_variable_from_reference(variable, "velocity")
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        index = self._get_variable_index(variable)
        if self._velocities[index] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        rate, decay_factor = self._rate_and_decay_factor(index, learning_rate)
        gradient, shape = ops.cast(gradient, "float32"), variable.shape
        momentum = self._momentums[index] * _MOMENTUM + gradient  # the scale of the momentum has no effect on the step
        self.assign(self._momentums[index], momentum)
        nesterov = ops.reshape(momentum * _MOMENTUM + gradient, (-1, shape[-1]))
        step = orthogonalise(nesterov, scale=rate * (_ADAMW_RMS * math.sqrt(max(block_shape(shape)))))
        decayed = variable if decay_factor is None else variable * decay_factor
        self.assign(variable, decayed - ops.reshape(step, shape))

    def is_orthogonalised(self, variable: Any) -> bool:
        """Return whether a variable is a large convolution kernel that is not in `adamw_variables`."""
        shape = variable.shape
        is_large = len(shape) == 4 and min(math.prod(shape[:-1]), shape[-1]) >= _MIN_SIDE
        return is_large and variable.path not in self.adamw_variables
