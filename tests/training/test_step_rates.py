"""Work of a training step, rates of this machine, and their cache."""

import json

import keras
import numpy as np
import pytest

from maskwright import models
from maskwright.training import step_rates
from maskwright.training.count_work import step_work
from maskwright.training.muon import Muon
from maskwright.training.step_rates import cached_rates, find_rates, fit_rates, forget_rates, rates_file
from maskwright.training.step_work import StepRates, StepWork

RATES = StepRates(**dict.fromkeys(StepWork._fields, 1e-9), tracing=0.01)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_multiply_adds_of_convnext_are_those_published():
    """Liu et al., "A ConvNet for the 2020s", table 1: ConvNeXt-T takes 4.5 billion multiply-adds for 224 x 224 pixels;
    most of them are in dense layers."""
    network = keras.applications.ConvNeXtTiny(weights=None)
    work = step_work(network, patch=(224, 224), batch_size=1)
    assert work.convolution + work.pointwise + work.depthwise == pytest.approx(4.45e9, rel=0.01)


def test_work_grows_with_the_pixels_of_the_batch_but_not_the_constant_part():
    network = models.Unet("resnet18", encoder_weights=None, classes=2, decoder_filters=(16, 16, 8, 8, 8))
    small = step_work(network, patch=(64, 64), batch_size=2)
    large = step_work(network, patch=(128, 64), batch_size=4)
    assert (large.layers, large.parameters) == (small.layers, small.parameters)
    assert large.convolution == 4 * small.convolution
    assert large.values == pytest.approx(4 * small.values, rel=0.05)


def test_muon_adds_work_for_large_kernels_only():
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(32, 3)(image)))
    network.compile(optimizer=Muon(1e-3), loss="mse")
    network.optimizer.build(network.trainable_variables)
    # A kernel of 27 rows and 32 columns is orthogonalised by its 27 x 27 Gram matrix; the other one has 4 columns.
    assert step_work(network, patch=(8, 8), batch_size=1).orthogonalised == 2 * 27 * 32 * 27 + 17 * 27**3


def test_fit_finds_the_seconds_of_each_kind():
    generator = np.random.default_rng(0)
    true = StepWork(*generator.uniform(1e-9, 1e-6, len(StepWork._fields)))
    works = [StepWork(*row) for row in generator.uniform(1e3, 1e6, (12, len(true)))]
    fitted = fit_rates(works, [work.seconds(true) for work in works])
    np.testing.assert_allclose(fitted, true, rtol=1e-6)


def test_rates_are_measured_once_and_cached(monkeypatch):
    calls = []
    monkeypatch.setattr(step_rates, "measure_rates", lambda precision: calls.append(precision) or RATES)
    assert cached_rates("float32") is None
    assert find_rates("float32") == find_rates("float32") == cached_rates("float32") == RATES
    assert calls == ["float32"]
    assert cached_rates("mixed_bfloat16") is None
    forget_rates("float32")
    assert cached_rates("float32") is None


@pytest.mark.parametrize("content", ["", "{", json.dumps(RATES.model_dump() | {"layers": -1}), '{"layers": NaN}'])
def test_a_damaged_cache_is_replaced(monkeypatch, content):
    monkeypatch.setattr(step_rates, "measure_rates", lambda precision: RATES)
    file = rates_file("float32")
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert cached_rates("float32") is None
    assert find_rates("float32") == RATES
    assert StepRates.read_file(file) == RATES


def test_without_a_cache_folder_rates_are_still_measured(monkeypatch, cache):
    monkeypatch.setattr(step_rates, "measure_rates", lambda precision: RATES)
    (cache / "maskwright").write_text("a file in place of the folder")
    assert find_rates("float32") == RATES


def test_measured_steps_have_a_part_in_proportion_to_the_pixels_and_a_constant_part():
    rates = step_rates.measure_rates("float32")
    network = models.Unet("resnet18", encoder_weights=None, classes=2, decoder_filters=(16, 16, 8, 8, 8))
    small, large = (rates.step_seconds(step_work(network, patch=(side, side), batch_size=4)) for side in (64, 256))
    assert 2 * small < large < 16 * small  # there are 16 times as many pixels
    assert rates.convolution > 0
