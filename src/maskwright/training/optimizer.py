"""AdamW with a rate of its own for the encoder, by one operation a variable where TensorFlow computes."""

from collections.abc import Collection
from typing import Any

import keras


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

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        place = self._get_variable_index(variable)
        rate, kept = self._rate_and_decay(place, variable, learning_rate)
        if kept is not None:
            self.assign(variable, variable * kept)
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, rate)
            return
        import tensorflow as tf

        step = tf.cast(self.iterations + 1, "float32")
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[place]),
            v=_handle(self._velocities[place]),
            beta1_power=tf.pow(tf.constant(self.beta_1, "float32"), step),
            beta2_power=tf.pow(tf.constant(self.beta_2, "float32"), step),
            lr=tf.cast(rate, "float32"),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, "float32"),
        )

    def _rate_and_decay(self, place: int, variable: Any, learning_rate: Any) -> tuple[Any, Any]:
        """The rate at which a variable learns, and the share of it that decay leaves; None where it does not decay."""
        known = self._trainable_variables[place]
        rate = keras.ops.cast(learning_rate, variable.dtype)
        if known.path.split("/")[0] in self.encoder:
            rate = rate * keras.ops.cast(self.encoder_rate, variable.dtype)
        decays = self.decay and self._use_weight_decay(known)
        return rate, (1 - rate * self.decay) if decays else None


def _handle(variable: Any) -> Any:
    """Where TensorFlow keeps a variable; Keras hands out its own variables or TensorFlow's."""
    return variable.value.handle if isinstance(variable, keras.Variable) else variable.handle
