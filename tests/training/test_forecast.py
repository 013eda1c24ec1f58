"""Forecast of the number of steps, and its correction by measured steps."""

import pytest

from maskwright.training import forecast as module
from maskwright.training.cost import StepTimes
from maskwright.training.forecast import ForecastCorrection, forecast_steps
from maskwright.training.schedule import Stopwatch

TIMES = StepTimes(reduced=0.1, full=0.4, tracing=5.0, pixel=1e-6, reduced_fraction=0.5)


@pytest.fixture
def forgotten(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "forget_rates", calls.append)
    return calls


def forecast(times=TIMES, seconds=320.0, pixels=0):
    return forecast_steps(times, seconds=seconds, validation_pixels=pixels, is_float32=False)


def correction(now, **changes):
    arguments = {"budget": 600.0, "validation_pixels": 0, "precision": "float32"} | changes
    return ForecastCorrection(TIMES, stopwatch=Stopwatch(0.0, now=lambda: now[0]), **arguments)


def messages_of(correction, now, *, step_seconds, steps=40, is_reduced=True):
    messages = []
    for step in range(1, steps + 1):
        now[0] += step_seconds
        messages.append(correction.after_step(step, is_reduced=is_reduced))
    return [message for message in messages if message]


def test_half_of_the_time_at_each_size_gives_the_sum_of_their_steps():
    # Of 320 s, 5 s are for tracing and 15 s for closing, and validations take 5 % of the training time.
    assert forecast() == int(300 / 1.05 * (0.5 / 0.1 + 0.5 / 0.4))


def test_more_validation_pixels_leave_fewer_steps():
    assert forecast(pixels=10_000_000) < forecast(pixels=1_000_000) < forecast()


def test_a_short_budget_leaves_no_step():
    assert forecast(seconds=10.0) == 0


def test_the_forecast_is_corrected_once_by_measured_steps(forgotten):
    now = [0.0]
    [message] = messages_of(correction(now), now, step_seconds=0.11)
    left = forecast_steps(TIMES.scaled(1.1), seconds=600 - 21 * 0.11, validation_pixels=0, is_float32=True)
    assert message == f"A step takes 0.11 s (0.10 s expected): about {21 + left} steps in total."
    assert forgotten == []


def test_steps_of_full_patches_are_compared_with_their_own_time(forgotten):
    now = [0.0]
    [message] = messages_of(correction(now), now, step_seconds=0.4, is_reduced=False)
    assert "0.40 s (0.40 s expected)" in message
    assert forgotten == []


@pytest.mark.parametrize("step_seconds", [0.05, 0.2])
def test_a_wrong_stored_speed_is_forgotten(forgotten, step_seconds):
    now = [0.0]
    assert len(messages_of(correction(now), now, step_seconds=step_seconds)) == 1
    assert forgotten == ["float32"]


def test_nothing_is_corrected_with_a_fixed_number_of_steps(forgotten):
    now = [0.0]
    assert messages_of(correction(now, budget=None), now, step_seconds=0.5) == []
