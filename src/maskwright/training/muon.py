"""Muon: large kernels of convolutions learn by orthogonal steps, everything else by AdamW.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final, final

import keras
from keras import ops

from maskwright.training.optimizer import FusedAdamW

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, by Jordan et al.: singular values grow, small ones fast, to between 0.7 and 1.2."""
_ITERATIONS: Final = 5
_WIDEST: Final = 64  # columns of a block
_LEAST: Final = 16  # rows and columns from which on it matters
_MOMENTUM: Final = 0.95
_NOTHING: Final = 1e-30  # keeps a quotient by nothing finite
_LIKE_ADAM: Final = 0.2
"""The root of the mean square of what AdamW usually adds at a rate of 1, by Liu et al."""


def orthogonalised(matrix: Any, *, scale: Any = 1.0) -> Any:
    """``scale`` times the orthogonal matrix nearest to ``matrix``, (rows, columns) in float32, roughly.

    Singular values from a hundredth or so of the matrix's norm on end near 1, smaller ones below. Each of the blocks of
    columns that `block_sides` tells is orthogonal by itself, which takes a fraction of the time that the whole would.

    >>> stretched = ops.diag(ops.convert_to_tensor([3.0, 1.0, 0.2]))
    >>> float(ops.max(ops.abs(orthogonalised(stretched) - ops.eye(3)))) < 0.35
    True
    """
    rows, columns = matrix.shape
    _, width = block_sides(matrix.shape)
    split = ops.transpose(ops.reshape(matrix, (rows, columns // width, width)), (1, 0, 2))
    iterate = by_products if _products_are_exact() else by_matrices
    answer = iterate(split, ops.cast(scale, "float32"))
    return ops.reshape(ops.transpose(answer, (1, 0, 2)), (rows, columns))


def by_matrices(split: Any, scale: Any) -> Any:
    """Matrices (n, rows, columns) made orthogonal by the iteration on themselves, which is safe in any precision."""
    squares = ops.sum(ops.square(split), axis=(1, 2), keepdims=True)
    a, b, c = _COEFFICIENTS
    x = split * ops.rsqrt(squares + _NOTHING)
    for _ in range(_ITERATIONS):
        gram = ops.matmul(ops.transpose(x, (0, 2, 1)), x)
        x = a * x + ops.matmul(x, b * gram + c * ops.matmul(gram, gram))
    return x * scale


def by_products(split: Any, scale: Any) -> Any:
    """The same by the iteration on the matrices' products with themselves, which are smaller, and at last one product.

    What rounding makes of a singular value of nothing grows up to 20 000 times: it takes all of float32.
    """
    turned = ops.transpose(split, (0, 2, 1))
    if split.shape[1] < split.shape[2]:
        return ops.matmul(_factor_of()(ops.matmul(split, turned), scale), split)
    return ops.matmul(split, _factor_of()(ops.matmul(turned, split), scale))


def _factor(gram: Any, scale: Any) -> Any:
    """What makes ``scale`` times orthogonal the matrices whose products with themselves are ``gram``, (n, m, m)."""
    size = ops.trace(gram, axis1=1, axis2=2)[:, None, None] + _NOTHING  # squared norms: above all singular values
    gram = gram / size
    (a, b, c), one = _COEFFICIENTS, ops.eye(ops.shape(gram)[-1])
    step = a * one + b * gram + c * ops.matmul(gram, gram)
    factor = step * (scale * ops.rsqrt(size))
    for _ in range(_ITERATIONS - 1):
        gram = ops.matmul(ops.matmul(step, gram), step)
        step = a * one + b * gram + c * ops.matmul(gram, gram)
        factor = ops.matmul(factor, step)
    return factor


@lru_cache(maxsize=1)
def _factor_of() -> Callable[[Any, Any], Any]:
    """`_factor`, on TensorFlow traced once and not for every kernel, which takes seconds."""
    if keras.backend.backend() != "tensorflow":
        return _factor
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None)), tf.TensorSpec(())
    once = {"_noinline": True}  # nor optimised anew for every kernel
    traced: Callable[[Any, Any], Any] = tf.function(
        _factor, input_signature=signature, autograph=False, experimental_attributes=once
    )
    return traced


@lru_cache(maxsize=1)
def _products_are_exact() -> bool:
    """Whether float32 is multiplied as such, and not in fewer digits, as accelerators do unless told otherwise."""
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


def block_sides(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of what is orthogonal by itself in a kernel of ``shape``: blocks of up to 64 columns.

    Khaled et al., "MuonBP: faster Muon via block-periodic orthogonalization" (2025), without the periods: the whole
    is never made orthogonal.

    >>> block_sides((3, 3, 256, 512)), block_sides((7, 7, 3, 96)), block_sides((3, 3, 16, 67))
    ((2304, 64), (147, 48), (144, 67))
    """
    columns = shape[-1]
    width = max(width for width in range(1, _WIDEST + 1) if columns % width == 0)
    return math.prod(shape[:-1]), width if width >= _LEAST else columns


@final
class Muon(FusedAdamW):
    """Muon for kernels of convolutions of at least 16 rows and filters, `FusedAdamW` for whatever else learns.

    A step of a kernel, as a matrix whose columns are its last axis, is its gradients' running mean made orthogonal:
    what shows seldom in the gradient moves it as far as what always does. It is as large as a step of AdamW, so that
    one learning rate goes with both: Liu et al., "Muon is scalable for LLM training" (2025).

    Args:
        learning_rate: As of `FusedAdamW`, and so are ``options``.
        plain: Paths of variables that learn by AdamW all the same, as those that make a network's answers should.
    """

    def __init__(self, learning_rate: float, *, plain: Collection[str] = (), **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.plain = frozenset(plain)

    def build(self, variables: Sequence[Any]) -> None:
        """Make room for the momentum of each variable, and for the squares of those that go by AdamW."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None if self._is_kernel(one) else self.add_variable_from_reference(one, "velocity") for one in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        place = self._get_variable_index(variable)
        if self._velocities[place] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        rate, kept = self._rate_and_decay(place, learning_rate)
        gradient, shape = ops.cast(gradient, "float32"), variable.shape
        momentum = self._momentums[place] * _MOMENTUM + gradient  # how large does not matter
        self.assign(self._momentums[place], momentum)
        ahead = ops.reshape(momentum * _MOMENTUM + gradient, (-1, shape[-1]))  # Nesterov's
        step = orthogonalised(ahead, scale=rate * (_LIKE_ADAM * math.sqrt(max(block_sides(shape)))))
        left = variable if kept is None else variable * kept
        self.assign(variable, left - ops.reshape(step, shape))

    def _is_kernel(self, variable: Any) -> bool:
        """Whether a variable is a matrix of filters, large enough, that is not to be left to AdamW."""
        shape = variable.shape
        large = len(shape) == 4 and min(math.prod(shape[:-1]), shape[-1]) >= _LEAST
        return large and variable.path not in self.plain
