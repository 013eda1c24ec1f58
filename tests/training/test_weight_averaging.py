import keras
import numpy as np

from maskwright.training.weight_averaging import Average


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])


def weights(of):
    return [keras.ops.convert_to_numpy(weight) for weight in of.trainable_weights]


def test_the_mean_of_what_was_added_stands_in_for_the_weights_and_makes_way_again():
    learning = network()
    average, seen = Average(learning), []
    for number in range(5):
        for weight in learning.trainable_weights:
            weight.assign(weight + number)
        seen.append(weights(learning))
        average.add()
    own = weights(learning)
    with average.in_place():
        for place, mean in enumerate(weights(learning)):
            np.testing.assert_allclose(mean, np.mean([one[place] for one in seen], axis=0), rtol=1e-5)
    for before, after in zip(own, weights(learning), strict=True):
        np.testing.assert_array_equal(before, after)


def test_nothing_is_changed_where_nothing_was_added():
    learning = network()
    own = weights(learning)
    average = Average(learning)
    with average.in_place():
        for before, now in zip(own, weights(learning), strict=True):
            np.testing.assert_array_equal(before, now)
    assert average.to_arrays() == {}


def test_it_goes_on_from_what_a_checkpoint_kept():
    learning = network()
    whole, first = Average(learning), Average(learning)
    for number in range(6):
        for weight in learning.trainable_weights:
            weight.assign(weight * 0.5 + number)
        whole.add()
        if number < 3:
            first.add()
        else:
            second = Average(learning)
            second.restore(first.to_arrays())
            second.add()
            first = second
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(array, first.to_arrays()[name])
