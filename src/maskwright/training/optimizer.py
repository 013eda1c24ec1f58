"""AdamW with a rate of its own for the encoder, by one operation a variable where TensorFlow computes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class _Step:
    """One step: the rates that the encoder and all others learn at, each with what decay leaves of a weight."""

    encoder: tuple[Any, Any]
    others: tuple[Any, Any]
    adam: Mapping[str, Any]


class FusedAdamW(keras.optimizers.Adam):
    """Adam with decoupled weight decay, whose step is one pass over each variable on TensorFlow.

    Keras' own `AdamW` takes some twelve operations a variable there, which cost memory traffic in every step, and more
    than half of the time that tracing takes. Numbers are those of Keras, and so are names and order of the variables.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019); rates by depth: Howard and Ruder (2018).

    Args:
        learning_rate: Of all variables but the encoder's.
        decay: Weight decay, as a share of the learning rate.
        encoder: Names of the layers that learn at `encoder_rate` times the learning rate, which is 1 until it is
            assigned; at 0 they stand still.
    """

    def __init__(
        self, learning_rate: float, *, decay: float = 0.0, encoder: Collection[str] = (), **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay
        self.encoder = frozenset(encoder)
        self.encoder_rate = self.add_variable((), initializer="ones", name="encoder_rate")
        self._steps: list[_Step] | None = None  # the one that is being taken, once it is known

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """One step of all variables."""
        self._steps = []
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._steps = None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        place = self._get_variable_index(variable)
        rate, kept = self._rate_and_decay(place, learning_rate)
        if kept is not None:
            self.assign(variable, variable * kept)
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, rate)
            return
        import tensorflow as tf

        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[place]),
            v=_handle(self._velocities[place]),
            lr=rate,
            grad=tf.cast(gradient, "float32"),
            **self._step_of(learning_rate).adam,
        )

    def _rate_and_decay(self, place: int, learning_rate: Any) -> tuple[Any, Any]:
        """The rate at which a variable learns, and the share of it that decay leaves; None where it does not decay."""
        known, step = self._trainable_variables[place], self._step_of(learning_rate)
        rate, kept = step.encoder if known.path.split("/")[0] in self.encoder else step.others
        return rate, kept if self.decay and self._use_weight_decay(known) else None

    def _step_of(self, learning_rate: Any) -> _Step:
        """What all variables have in common in the step at ``learning_rate``; of `apply`, computed once."""
        if self._steps:
            return self._steps[0]
        others = keras.ops.cast(learning_rate, "float32")
        encoder = others * keras.ops.cast(self.encoder_rate, "float32")
        adam = self._adam() if keras.backend.backend() == "tensorflow" else {}
        step = _Step((encoder, 1 - encoder * self.decay), (others, 1 - others * self.decay), adam)
        if self._steps is not None:
            self._steps.append(step)
        return step

    def _adam(self) -> dict[str, Any]:
        """Constants of TensorFlow's operation, and powers of them."""
        import tensorflow as tf

        taken = tf.cast(self.iterations + 1, "float32")
        betas = {"beta1": tf.constant(self.beta_1, "float32"), "beta2": tf.constant(self.beta_2, "float32")}
        powers = {f"{name}_power": tf.pow(beta, taken) for name, beta in betas.items()}
        return betas | powers | {"epsilon": tf.constant(self.epsilon, "float32")}


def _handle(variable: Any) -> Any:
    """Where TensorFlow keeps a variable; Keras hands out its own variables or TensorFlow's."""
    return variable.value.handle if isinstance(variable, keras.Variable) else variable.handle
