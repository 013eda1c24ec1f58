"""Candidates of the plan, and the plans of slow and fast machines."""

import pytest

from maskwright import models
from maskwright.data.fingerprint import Fingerprint
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training import pretrained
from maskwright.training.candidates import FROM_SCRATCH, PRETRAINED, REFERENCE_RATES, candidates_by_work
from maskwright.training.count_work import step_work
from maskwright.training.muon import Muon
from maskwright.training.plan import Facts, plan_recipe
from maskwright.training.pretrained import with_encoder_weights
from maskwright.training.recipe import Recipe
from maskwright.training.step_work import StepRates

ACCELERATOR = StepRates(  # 500 times as fast on large arrays, with 10 microseconds for each layer
    **{name: rate / 500 for name, rate in REFERENCE_RATES.model_dump().items()} | {"layers": 1e-4, "tracing": 0.02}
)


def recipe(**sections):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"}} | sections)


def planned(rates, *, size=(360, 480), count=100, **sections):
    data = Fingerprint((size,) * count, 0.4, 0.25, {"background": 0.7, "cell": 0.3}, 40.0, True)
    return plan_recipe(recipe(**sections), Facts(data, rates))[0]


@pytest.mark.parametrize("candidate", PRETRAINED + FROM_SCRATCH, ids=lambda candidate: candidate.backbone)
def test_the_work_of_a_candidate_is_that_of_its_network(candidate):
    network = models.Unet(candidate.backbone, encoder_weights=None, decoder_filters=candidate.decoder_filters)
    network = rewrite_for_training(network)
    network.compile(optimizer=Muon(1e-3) if candidate in FROM_SCRATCH else "sgd", loss="mse")
    network.optimizer.build(network.trainable_variables)
    assert tuple(step_work(network, patch=(256, 320), batch_size=1)) == pytest.approx(candidate.work, rel=0.05)


def test_larger_networks_need_more_time():
    for candidates in (PRETRAINED, FROM_SCRATCH):
        needed = [next(s for s in range(60, 10**7, 60) if c in by_work(candidates, s)) for c in candidates]
        assert needed == sorted(set(needed))


def by_work(candidates, seconds):
    return candidates_by_work(candidates, REFERENCE_RATES, seconds=seconds)


def test_without_a_time_the_smallest_candidate_is_chosen():
    assert candidates_by_work(PRETRAINED, ACCELERATOR, seconds=None) == [PRETRAINED[0]]


def test_a_fast_machine_gets_the_network_of_a_long_training():
    slow, fast = (planned(rates, training={"time_budget": 600}) for rates in (REFERENCE_RATES, ACCELERATOR))
    assert (slow.network.backbone, fast.network.backbone) == ("resnet18", "resnet34")
    assert slow.training.learning_rate > fast.training.learning_rate
    assert slow.training.batch_size < fast.training.batch_size


def test_small_patches_are_trained_in_large_batches():
    network = {"encoder_weights": "imagenet"}
    small = planned(REFERENCE_RATES, size=(64, 64), count=1000, network=network, training={"time_budget": 600})
    usual = planned(REFERENCE_RATES, network=network, training={"time_budget": 600})
    assert (small.training.batch_size, usual.training.batch_size) == (32, 4)


def test_a_batch_is_not_larger_than_all_images():
    few = planned(ACCELERATOR, size=(64, 64), count=5, training={"time_budget": 600})
    assert few.training.batch_size == 5


def test_the_largest_suitable_encoder_with_local_weights_is_chosen(monkeypatch, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"")
    local = {"efficientnetlite0"}
    monkeypatch.setattr(pretrained, "find_local", lambda name, dataset: file if name in local else None)
    hours = recipe(training={"time_budget": 100 * 3600})
    assert with_encoder_weights(hours).backbone == "efficientnetlite0"
    local.add(PRETRAINED[-1].backbone)
    assert with_encoder_weights(hours).backbone == PRETRAINED[-1].backbone
    assert with_encoder_weights(recipe(training={"time_budget": 600})).backbone != PRETRAINED[-1].backbone
    assert with_encoder_weights(recipe(network={"backbone": "efficientnetlite0"})).backbone is None
