"""Implement AdamW with a separate learning rate for the encoder, and with a fused update of variables on TensorFlow."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class _StepFactors:
    """Learning rates and weight decay factors of one step, for the encoder and for other variables, and Adam's
    constants."""

    encoder: tuple[Any, Any]
    others: tuple[Any, Any]
    adam: Mapping[str, Any]


class FusedAdamW(keras.optimizers.Adam):
    """Adam with decoupled weight decay, which updates each variable in a single pass on TensorFlow.

    On TensorFlow, `AdamW` of Keras runs about twelve operations for each variable, which cause memory traffic in every
    step and take more than half of the tracing time. The results, the names of the variables and their order are the
    same as in Keras.

    Decoupled weight decay was proposed by Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), and
    learning rates that depend on the layer by Howard and Ruder, "Universal language model fine-tuning for text
    classification" (2018).

    Args:
        learning_rate: Learning rate of all variables outside the encoder.
        decay: Weight decay, as a fraction of the learning rate.
        encoder: Names of the layers of the encoder. The learning rate of these layers is multiplied by the variable
            `encoder_lr_multiplier`, which is initially 1. With a multiplier of 0, the layers are frozen.
        options: Other keyword arguments, which are passed to `keras.optimizers.Adam`.
    """

    def __init__(
        self, learning_rate: float, *, decay: float = 0.0, encoder: Collection[str] = (), **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay
        self.encoder = frozenset(encoder)
        self.encoder_lr_multiplier = self.add_variable((), initializer="ones", name="encoder_lr_multiplier")
        self._factors: _StepFactors | None = None
        self._is_applying = False

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update all variables once by their gradients."""
        self._is_applying = True
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._is_applying, self._factors = False, None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        index = self._get_variable_index(variable)
        rate, decay_factor = self._rate_and_decay_factor(index, learning_rate)
        if decay_factor is not None:
            self.assign(variable, variable * decay_factor)
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, rate)
            return
        import tensorflow as tf

        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            lr=rate,
            grad=tf.cast(gradient, "float32"),
            **self._step_factors(learning_rate).adam,
        )

    def _rate_and_decay_factor(self, index: int, learning_rate: Any) -> tuple[Any, Any]:
        """Return the learning rate and the weight decay factor (None without weight decay) of a variable."""
        variable, factors = self._trainable_variables[index], self._step_factors(learning_rate)
        rate, decay_factor = factors.encoder if variable.path.split("/")[0] in self.encoder else factors.others
        return rate, decay_factor if self.decay and self._use_weight_decay(variable) else None

    def _step_factors(self, learning_rate: Any) -> _StepFactors:
        """Return the factors that all variables share in a step, which are computed only once within `apply`."""
        if self._factors is not None:
            return self._factors
        others = keras.ops.cast(learning_rate, "float32")
        encoder = others * keras.ops.cast(self.encoder_lr_multiplier, "float32")
        adam = self._adam_constants() if keras.backend.backend() == "tensorflow" else {}
        factors = _StepFactors((encoder, 1 - encoder * self.decay), (others, 1 - others * self.decay), adam)
        if self._is_applying:
            self._factors = factors
        return factors

    def _adam_constants(self) -> dict[str, Any]:
        """Return the constants of the fused TensorFlow operation and the powers of these constants for the current
        step."""
        import tensorflow as tf

        steps = tf.cast(self.iterations + 1, "float32")
        betas = {"beta1": tf.constant(self.beta_1, "float32"), "beta2": tf.constant(self.beta_2, "float32")}
        powers = {f"{name}_power": tf.pow(beta, steps) for name, beta in betas.items()}
        return betas | powers | {"epsilon": tf.constant(self.epsilon, "float32")}


def _handle(variable: Any) -> Any:
    """Return the resource handle of a variable, which Keras passes to an optimizer either as a Keras variable or as a
    TensorFlow variable."""
    return variable.value.handle if isinstance(variable, keras.Variable) else variable.handle
