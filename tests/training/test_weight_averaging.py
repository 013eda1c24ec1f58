import keras
import numpy as np

from maskwright.training.weight_averaging import WeightAverage


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])


def weights(of):
    return [keras.ops.convert_to_numpy(weight) for weight in of.trainable_weights]


def test_the_mean_of_added_weights_is_applied_within_the_context_only():
    learning = network()
    average, added = WeightAverage(learning), []
    for number in range(5):
        for weight in learning.trainable_weights:
            weight.assign(weight + number)
        added.append(weights(learning))
        average.add()
    original = weights(learning)
    with average.applied():
        for index, mean in enumerate(weights(learning)):
            np.testing.assert_allclose(mean, np.mean([values[index] for values in added], axis=0), rtol=1e-5)
    for before, after in zip(original, weights(learning), strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_empty_average_changes_nothing():
    learning = network()
    original = weights(learning)
    average = WeightAverage(learning)
    with average.applied():
        for before, now in zip(original, weights(learning), strict=True):
            np.testing.assert_array_equal(before, now)
    assert average.to_arrays() == {}


def test_a_restored_average_continues_exactly():
    learning = network()
    whole, first = WeightAverage(learning), WeightAverage(learning)
    for number in range(6):
        for weight in learning.trainable_weights:
            weight.assign(weight * 0.5 + number)
        whole.add()
        if number < 3:
            first.add()
        else:
            second = WeightAverage(learning)
            second.restore(first.to_arrays())
            second.add()
            first = second
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(array, first.to_arrays()[name])
