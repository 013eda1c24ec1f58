"""Muon: orthogonalised momentum for large convolution kernels, AdamW for all other variables.

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
"""Coefficients of the Newton-Schulz iteration by Jordan et al.; singular values converge to between 0.7 and 1.2."""
_ITERATIONS: Final = 5
_MAX_BLOCK_COLUMNS: Final = 64
_MIN_SIDE: Final = 16  # rows and columns of a kernel; for smaller ones AdamW is as good
_MOMENTUM: Final = 0.95
_EPSILON: Final = 1e-30  # keeps divisions by a zero norm finite
_ADAMW_RMS: Final = 0.2
"""Typical root mean square of an AdamW update at a learning rate of 1, by Liu et al."""


def orthogonalise(matrix: Any, *, scale: Any = 1.0) -> Any:
    """Return approximately ``scale`` times the orthogonal matrix nearest to ``matrix``, (rows, columns), float32.

    Singular values above about a hundredth of the matrix norm converge to about 1, smaller ones stay below. Blocks of
    columns, see `block_shape`, are orthogonalised separately, which takes a fraction of the time.

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
    """Orthogonalise matrices (n, rows, columns) by the standard iteration, which is stable at any precision."""
    squares = ops.sum(ops.square(blocks), axis=(1, 2), keepdims=True)
    a, b, c = _COEFFICIENTS
    x = blocks * ops.rsqrt(squares + _EPSILON)
    for _ in range(_ITERATIONS):
        gram = ops.matmul(ops.transpose(x, (0, 2, 1)), x)
        x = a * x + ops.matmul(x, b * gram + c * ops.matmul(gram, gram))
    return x * scale


def iterate_on_gram_matrices(blocks: Any, scale: Any) -> Any:
    """Orthogonalise matrices (n, rows, columns) by an iteration on their smaller Gram matrices, and one final product.

    The iteration amplifies rounding errors of zero singular values up to 20 000 times, so it needs exact float32.
    """
    transposed = ops.transpose(blocks, (0, 2, 1))
    if blocks.shape[1] < blocks.shape[2]:
        return ops.matmul(_compiled_factor()(ops.matmul(blocks, transposed), scale), blocks)
    return ops.matmul(blocks, _compiled_factor()(ops.matmul(transposed, blocks), scale))


def _orthogonalising_factor(gram: Any, scale: Any) -> Any:
    """Return the factors (n, m, m) that make matrices with these Gram matrices orthogonal, times ``scale``."""
    squared_norm = ops.trace(gram, axis1=1, axis2=2)[:, None, None] + _EPSILON  # exceeds all squared singular values
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
    """Return `_orthogonalising_factor`; on TensorFlow it is traced once for all kernels, which saves seconds."""
    if keras.backend.backend() != "tensorflow":
        return _orthogonalising_factor
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None)), tf.TensorSpec(())
    not_inlined = {"_noinline": True}  # otherwise it is optimised again for each kernel
    traced: Callable[[Any, Any], Any] = tf.function(
        _orthogonalising_factor,
        input_signature=signature,
        autograph=False,
        experimental_attributes=not_inlined,
    )
    return traced


@lru_cache(maxsize=1)
def _is_matmul_exact() -> bool:
    """Whether float32 products are computed in float32; accelerators use fewer digits by default."""
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
    """Return rows and columns of the blocks in which a kernel of ``shape`` is orthogonalised: at most 64 columns.

    Khaled et al., "MuonBP: faster Muon via block-periodic orthogonalization" (2025), without the periodic
    orthogonalisation of the whole matrix.

    >>> block_shape((3, 3, 256, 512)), block_shape((7, 7, 3, 96)), block_shape((3, 3, 16, 67))
    ((2304, 64), (147, 48), (144, 67))
    """
    columns = shape[-1]
    width = max(width for width in range(1, _MAX_BLOCK_COLUMNS + 1) if columns % width == 0)
    return math.prod(shape[:-1]), width if width >= _MIN_SIDE else columns


@final
class Muon(FusedAdamW):
    """Muon for convolution kernels of at least 16 rows and filters, `FusedAdamW` for all other variables.

    The update of a kernel, reshaped to a matrix whose columns are its last axis, is the orthogonalised momentum of its
    gradients, so that rare directions of the gradient have the same weight as frequent ones. It has the root mean
    square of an AdamW update, so that both share one learning rate: Liu et al., "Muon is scalable for LLM training"
    (2025).

    Args:
        learning_rate: As for `FusedAdamW`, like ``options``.
        adamw_variables: Paths of kernels that AdamW updates nevertheless, such as those of a network's heads.
    """

    def __init__(self, learning_rate: float, *, adamw_variables: Collection[str] = (), **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.adamw_variables = frozenset(adamw_variables)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the momentum of each variable, and the velocity of those that AdamW updates."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None if self._is_orthogonalised(variable) else self.add_variable_from_reference(variable, "velocity")
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        if self._velocities[index] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        rate, decay_factor = self._rate_and_decay_factor(index, learning_rate)
        gradient, shape = ops.cast(gradient, "float32"), variable.shape
        momentum = self._momentums[index] * _MOMENTUM + gradient  # its scale cancels in the orthogonalisation
        self.assign(self._momentums[index], momentum)
        nesterov = ops.reshape(momentum * _MOMENTUM + gradient, (-1, shape[-1]))
        step = orthogonalise(nesterov, scale=rate * (_ADAMW_RMS * math.sqrt(max(block_shape(shape)))))
        decayed = variable if decay_factor is None else variable * decay_factor
        self.assign(variable, decayed - ops.reshape(step, shape))

    def _is_orthogonalised(self, variable: Any) -> bool:
        """Whether a variable is a large enough convolution kernel that is not left to AdamW."""
        shape = variable.shape
        is_large = len(shape) == 4 and min(math.prod(shape[:-1]), shape[-1]) >= _MIN_SIDE
        return is_large and variable.path not in self.adamw_variables
