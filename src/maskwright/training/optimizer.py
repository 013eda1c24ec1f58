"""AdamW, by one operation of TensorFlow for each variable where that is the backend."""

from typing import Any, final

import keras


@final
class FusedAdamW(keras.optimizers.AdamW):
    """Keras' `AdamW` whose step is one pass over each variable on TensorFlow; elsewhere it is Keras' own.

    Keras takes some twelve operations a variable, which cost memory traffic in every step, and more than half of the
    time that tracing takes. Numbers, names and order of the variables are those of Keras.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As Keras' own."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        place = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, "float32")
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[place]),
            v=_handle(self._velocities[place]),
            beta1_power=tf.pow(tf.constant(self.beta_1, "float32"), step),
            beta2_power=tf.pow(tf.constant(self.beta_2, "float32"), step),
            lr=tf.cast(learning_rate, "float32"),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, "float32"),
        )


def _handle(variable: Any) -> Any:
    """Where TensorFlow keeps a variable; Keras hands out its own variables or TensorFlow's."""
    return variable.value.handle if isinstance(variable, keras.Variable) else variable.handle
