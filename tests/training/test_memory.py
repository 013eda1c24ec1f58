"""Estimated memory of training, and batches that fit into it."""

from dataclasses import dataclass, replace

import pytest

from maskwright import models
from maskwright.training.memory import NotEnoughMemory, fit_memory, memory_bytes
from maskwright.training.plan import GIVEN, Decision
from maskwright.training.recipe import Recipe


@dataclass(frozen=True)
class Data:
    """The part of the prepared data that matters here."""

    recipe: Recipe
    decisions: tuple[Decision, ...]
    cache_bytes: int = 0


@pytest.fixture(scope="module")
def network():
    return models.Unet("resnet18", encoder_weights=None, classes=2, decoder_filters=(16, 16, 8, 8, 8))


@pytest.fixture
def prepared(tmp_path):
    training = {"batch_size": 16, "patch_size": [256, 256]}
    recipe = Recipe.from_dict({"data": {"images": tmp_path, "masks": tmp_path}, "training": training}, source="test")
    return Data(recipe, (Decision("training.batch_size", 16, "area of 4 patches"),))


def needed(network, batch):
    return memory_bytes(network, patch=(256, 256), batch_size=batch, cache_bytes=0)


def test_a_batch_that_fits_is_kept(network, prepared):
    assert fit_memory(prepared, network, available=needed(network, 16) / 0.89) is prepared


def test_a_batch_is_halved_until_it_fits(network, prepared):
    fitted = fit_memory(prepared, network, available=needed(network, 4) / 0.89)
    assert fitted.recipe.training.batch_size == 4
    [decision] = fitted.decisions
    assert decision.value == 4
    assert decision.reason.startswith("16 patches need")


def test_a_given_batch_is_refused_instead(network, prepared):
    given = replace(prepared, decisions=(Decision("training.batch_size", 16, GIVEN),))
    with pytest.raises(NotEnoughMemory, match=r"batch of 16 patches of 256 x 256 pixels.*training\.batch_size"):
        fit_memory(given, network, available=needed(network, 4) / 0.89)


def test_a_network_that_never_fits_is_refused(network, prepared):
    with pytest.raises(NotEnoughMemory, match="batch of 1 patches"):
        fit_memory(prepared, network, available=1e9)
