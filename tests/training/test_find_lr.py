"""The learning-rate range test on losses whose best learning rate is known."""

from itertools import repeat

import numpy as np
import pytest

from maskwright.training.find_lr import LossDidNotFall, LrCurve, lr_range_test, smooth


class Parabola:
    """Gradient descent on x**2 / 2, which diverges at rates above 2 and converges fastest at 1."""

    def __init__(self, x=10.0):
        self.x, self.rate, self.rates = x, 0.0, []

    def set_learning_rate(self, rate):
        self.rate = rate
        self.rates.append(rate)

    def step(self, images, masks):
        loss = self.x**2 / 2
        self.x -= self.rate * self.x
        return loss


BATCHES = repeat((None, None))


def test_rates_increase_geometrically_until_the_loss_diverges():
    parabola = Parabola()
    curve = lr_range_test(parabola.step, parabola.set_learning_rate, BATCHES, steps=80, lowest=1e-4, highest=100.0)
    ratios = np.array(parabola.rates[1:]) / parabola.rates[:-1]
    np.testing.assert_allclose(ratios, (1e6) ** (1 / 79), rtol=1e-6)
    assert 2 < parabola.rates[-1] < 100  # it stopped soon after divergence
    assert len(curve.learning_rates) == len(curve.losses) == len(curve.smoothed_losses)


def test_the_suggested_rate_is_at_the_steepest_decrease():
    rates = np.geomspace(1e-5, 1, 101)
    centre = 10**-2.5
    losses = 2 - 1 / (1 + np.exp(-4 * np.log(rates / centre))) + 5 * np.maximum(0, np.log10(rates) + 1) ** 2
    curve = LrCurve(tuple(rates), tuple(losses), tuple(losses))
    assert curve.suggested == pytest.approx(centre, rel=0.05)


def test_a_loss_that_never_decreases_is_an_error():
    rates = tuple(np.geomspace(1e-5, 1, 50))
    losses = tuple(np.linspace(1, 2, 50))
    with pytest.raises(LossDidNotFall, match=r"1e-05 to 1;.*`maskwright check`.*training.loss"):
        _ = LrCurve(rates, losses, smooth(losses)).suggested


def test_a_loss_of_nan_ends_the_test():
    losses = iter([1.0, 0.9, float("nan")])
    curve = lr_range_test(lambda images, masks: next(losses), lambda rate: None, BATCHES, steps=50)
    assert curve.losses == (1.0, 0.9)


def test_the_moving_average_is_bias_corrected():
    assert smooth([1.0, 0.0])[1] == pytest.approx((0.9 * 0.1) / (1 - 0.81))
