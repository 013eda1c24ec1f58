"""The finder on a loss whose best rate is known, and its command on drawn data."""

from itertools import repeat

import numpy as np
import pytest

from maskwright.training.find_lr import Curve, NoRate, smoothed, try_rates


class Bowl:
    """Plain gradient descent on x**2 / 2: at rates above 2 it diverges, and it falls fastest a little below 1."""

    def __init__(self, x=10.0):
        self.x, self.rate, self.rates = x, 0.0, []

    def set_rate(self, rate):
        self.rate = rate
        self.rates.append(rate)

    def step(self, images, masks):
        loss = self.x**2 / 2
        self.x -= self.rate * self.x
        return loss


BATCHES = repeat((None, None))


def test_rates_rise_evenly_until_the_loss_has_gone_up():
    bowl = Bowl()
    curve = try_rates(bowl.step, bowl.set_rate, BATCHES, steps=80, lowest=1e-4, highest=100.0)
    ratios = np.array(bowl.rates[1:]) / bowl.rates[:-1]
    np.testing.assert_allclose(ratios, (1e6) ** (1 / 79), rtol=1e-6)
    assert 2 < bowl.rates[-1] < 100  # it went no further than it had to
    assert len(curve.rates) == len(curve.losses) == len(curve.smooth)


def test_the_suggested_rate_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-5, 1, 101)
    centre = 10**-2.5
    losses = 2 - 1 / (1 + np.exp(-4 * np.log(rates / centre))) + 5 * np.maximum(0, np.log10(rates) + 1) ** 2
    curve = Curve(tuple(rates), tuple(losses), tuple(losses))
    assert curve.suggested == pytest.approx(centre, rel=0.05)


def test_a_loss_that_never_falls_has_no_rate():
    rates = tuple(np.geomspace(1e-5, 1, 50))
    losses = tuple(np.linspace(1, 2, 50))
    with pytest.raises(NoRate, match=r"at no learning rate from 1e-05 to 1; look at the masks"):
        _ = Curve(rates, losses, smoothed(losses)).suggested


def test_a_loss_that_is_no_number_ends_the_search():
    losses = iter([1.0, 0.9, float("nan")])
    curve = try_rates(lambda images, masks: next(losses), lambda rate: None, BATCHES, steps=50)
    assert curve.losses == (1.0, 0.9)


def test_the_average_is_corrected_for_its_beginning():
    assert smoothed([1.0, 0.0])[1] == pytest.approx((0.9 * 0.1) / (1 - 0.81))
