"""Muon: the kernels of convolutions learn by orthogonal steps, everything else by AdamW.

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
"""Of the Newton-Schulz iteration, by Jordan et al.: small singular values grow fast, all end between 0.7 and 1.2."""
_ITERATIONS: Final = 5
_BLOCK: Final = 64  # columns
_LEAST: Final = 16  # rows and columns of a kernel for which it matters
_MOMENTUM: Final = 0.95
_LIKE_ADAM: Final = 0.2


def orthogonalised(matrix: Any, *, block: int = _BLOCK, scale: Any = 1.0) -> Any:
    """The orthogonal matrix nearest to ``matrix``, (rows, columns) in float32, roughly: its singular values near 1.

    Where ``block`` divides the columns, each block of so many is orthogonal by itself, which takes a fraction of the
    time: Khaled et al., "MuonBP: faster Muon via block-periodic orthogonalization" (2025). The iteration runs on the
    products of columns, or rows, with each other, which are small, and not on the matrix.

    Args:
        matrix: Of known shape.
        block: Columns of a block.
        scale: What the answer is multiplied by.

    >>> stretched = ops.diag(ops.convert_to_tensor([3.0, 1.0, 0.2]))
    >>> float(ops.max(ops.abs(orthogonalised(stretched) - ops.eye(3)))) < 0.35
    True
    """
    rows, columns = matrix.shape
    _, width = block_sides(matrix.shape, block=block)
    split = ops.transpose(ops.reshape(matrix, (rows, columns // width, width)), (1, 0, 2))
    turned = ops.transpose(split, (0, 2, 1))
    wide = rows < width
    gram = ops.matmul(split, turned) if wide else ops.matmul(turned, split)
    factor = _factor_of()(gram, ops.cast(scale, "float32"))
    answer = ops.matmul(factor, split) if wide else ops.matmul(split, factor)
    return ops.reshape(ops.transpose(answer, (1, 0, 2)), (rows, columns))


def _factor(gram: Any, scale: Any) -> Any:
    """What makes ``scale`` times orthogonal the matrices whose products with themselves are ``gram``, (n, m, m)."""
    size = ops.trace(gram, axis1=1, axis2=2)[:, None, None] + 1e-30  # squared norms: above all singular values
    gram = gram / size
    (a, b, c), one = _COEFFICIENTS, ops.eye(ops.shape(gram)[-1])
    factor = one * (scale * ops.rsqrt(size))
    for _ in range(_ITERATIONS):
        step = a * one + b * gram + c * ops.matmul(gram, gram)
        factor, gram = ops.matmul(factor, step), ops.matmul(ops.matmul(step, gram), step)
    return factor


@lru_cache(maxsize=1)
def _factor_of() -> Callable[[Any, Any], Any]:
    """`_factor`, on TensorFlow traced once and not for every kernel, which takes seconds."""
    if keras.backend.backend() != "tensorflow":
        return _factor
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None)), tf.TensorSpec(())
    once = {"_noinline": True}  # nor optimised anew for every kernel
    traced: Callable[[Any, Any], Any] = tf.function(_factor, input_signature=signature, experimental_attributes=once)
    return traced


def block_sides(shape: Sequence[int], *, block: int = _BLOCK) -> tuple[int, int]:
    """Rows and columns of what is orthogonal by itself in a kernel of ``shape``.

    >>> block_sides((3, 3, 256, 512)), block_sides((7, 7, 3, 64))
    ((2304, 64), (147, 64))
    """
    columns = shape[-1]
    return math.prod(shape[:-1]), block if columns % block == 0 else columns


@final
class Muon(FusedAdamW):
    """Muon for kernels of convolutions, `FusedAdamW` for whatever else learns.

    A step of a kernel, as a matrix with a column for each filter, is its gradients' running mean made orthogonal, so
    that what seldom shows in the gradient is learnt as fast as what always does. It has the size of a step of AdamW, so
    that both go with one learning rate: Liu et al., "Muon is scalable for LLM training" (2025).

    Args:
        learning_rate: As of `FusedAdamW`, and so are ``options``.
        heads: Names of layers that learn by AdamW all the same: those that make a network's answers.
    """

    def __init__(self, learning_rate: float, *, heads: Collection[str] = (), **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.heads = frozenset(heads)

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
        rate, kept = self._rate_and_decay(variable, learning_rate)
        gradient, shape = ops.cast(gradient, "float32"), variable.shape
        momentum = self._momentums[place] * _MOMENTUM + gradient  # how large does not matter
        self.assign(self._momentums[place], momentum)
        ahead = ops.reshape(momentum * _MOMENTUM + gradient, (-1, shape[-1]))  # Nesterov's
        step = orthogonalised(ahead, scale=rate * (_LIKE_ADAM * math.sqrt(max(block_sides(shape)))))
        left = variable if kept is None else variable * kept
        self.assign(variable, left - ops.reshape(step, shape))

    def _is_kernel(self, variable: Any) -> bool:
        """Whether a variable is a matrix of filters, large enough, and not of a head."""
        shape = variable.shape
        sides = (math.prod(shape[:-1]), shape[-1]) if len(shape) == 4 else (0, 0)
        return min(sides) >= _LEAST and variable.path.split("/")[0] not in self.heads
