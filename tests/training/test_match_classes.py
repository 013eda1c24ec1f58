"""Classes of a trained network and of new data: which channels of the head are kept, and renamed classes."""

from pathlib import Path

import numpy as np
import pytest

from maskwright.training.adapt_network import copy_weights
from maskwright.training.match_classes import WrongRenaming, check_new_names, describe_head, with_renamed_classes
from maskwright.training.network import build_network
from maskwright.training.start_network import Start
from tests.networks.randomise import infer
from tests.training.start_runs import IMAGES, SMALL, bundle_of, recipe_of


def continued(start, bundle):
    """The network of the small recipe with the weights of ``start``."""
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    copy_weights(start, network, bundle)
    return network


def test_the_same_classes_in_another_order_are_predicted_equally(runs):
    bundle = bundle_of("fibre", "-", "cell")
    before, after = infer(runs["three"].network, IMAGES), infer(continued(runs["three"], bundle), IMAGES)
    np.testing.assert_allclose(after, before[..., [2, 0, 1]], atol=1e-6)
    assert describe_head(runs["three"].bundle, bundle, {}) == "head kept for fibre, background, cell"


def test_fewer_classes_keep_the_ratio_of_their_probabilities(runs):
    before = infer(runs["three"].network, IMAGES)
    bundle = bundle_of("-", "fibre")  # softmax to sigmoid
    after = infer(continued(runs["three"], bundle), IMAGES)
    np.testing.assert_allclose(after[..., 0], before[..., 2] / (before[..., 0] + before[..., 2]), atol=1e-5)


def test_a_new_class_has_a_new_channel_and_leaves_the_others(runs):
    bundle = bundle_of("-", "cell", "thread", "dust")
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    fresh = network.get_layer("final_conv").get_weights()
    copy_weights(runs["three"], network, bundle)
    old, new = (each.get_layer("final_conv").get_weights() for each in (runs["three"].network, network))
    for trained, initial, found in zip(old, fresh, new, strict=True):
        np.testing.assert_array_equal(found, np.concatenate([trained[..., :2], initial[..., 2:]], axis=-1))
    before, after = infer(runs["three"].network, IMAGES), infer(network, IMAGES)
    np.testing.assert_allclose(after[..., 1] / after[..., 0], before[..., 1] / before[..., 0], rtol=1e-3)
    assert describe_head(runs["three"].bundle, bundle, {}) == "head kept for background, cell; new for thread, dust"


def test_a_sigmoid_becomes_an_equal_softmax_and_is_restored(runs, tmp_path):
    before = infer(runs["one"].network, IMAGES)[..., 0]
    bundle = bundle_of("cell", "-", "dust")
    network = continued(runs["one"], bundle)
    after = infer(network, IMAGES)
    np.testing.assert_allclose(after[..., 0] / (after[..., 0] + after[..., 1]), before, atol=1e-5)
    back = continued(Start(tmp_path, network, bundle, None), bundle_of("-", "cell"))
    np.testing.assert_allclose(infer(back, IMAGES)[..., 0], before, atol=1e-6)


def test_a_sigmoid_of_another_class_is_not_kept(runs):
    bundle = bundle_of("-", "dust")
    network = build_network(recipe_of("x", **SMALL).network, bundle)
    fresh = network.get_layer("final_conv").get_weights()
    copy_weights(runs["one"], network, bundle)
    for initial, found in zip(fresh, network.get_layer("final_conv").get_weights(), strict=True):
        np.testing.assert_array_equal(found, initial)
    assert describe_head(runs["one"].bundle, bundle, {}) == "new for background, dust"


@pytest.mark.parametrize(("name", "activation"), [("three", "softmax"), ("one", "sigmoid")])
def test_a_renamed_class_keeps_its_channel(runs, name, activation):
    renamed = {"cell": "nucleus"}
    bundle = bundle_of("-", "nucleus", "fibre") if activation == "softmax" else bundle_of("-", "nucleus")
    trained = with_renamed_classes(runs[name].bundle, renamed, source=runs[name].file)
    start = Start(runs[name].file, runs[name].network, trained, None)
    np.testing.assert_allclose(infer(continued(start, bundle), IMAGES), infer(start.network, IMAGES), atol=1e-6)
    assert describe_head(trained, bundle, renamed).startswith("head kept for background, nucleus (was cell)")


def test_two_classes_can_swap_their_names():
    renamed = {"cell": "fibre", "fibre": "cell"}
    labels = with_renamed_classes(bundle_of("-", "cell", "fibre"), renamed, source=Path("run")).labels
    assert [label.name for label in labels] == ["background", "fibre", "cell"]


@pytest.mark.parametrize(
    ("renamed", "match"),
    [
        ({"cel": "nucleus"}, r"{cel: nucleus}: run has no class cel .*expected one of .*: cell, fibre\."),
        ({"background": "sky"}, r"{background: sky}: run has no class background .*except the background: cell, fibre"),
        ({"cell": "fibre"}, r"{cell: fibre}: run also has a class fibre; expected a new name for fibre, too"),
    ],
)
def test_an_unknown_old_name_and_one_name_for_two_classes_are_errors(renamed, match):
    with pytest.raises(WrongRenaming, match=match):
        with_renamed_classes(bundle_of("-", "cell", "fibre"), renamed, source=Path("run"))


def test_a_new_name_that_the_data_does_not_have_is_an_error():
    bundle = bundle_of("-", "nucleus", "fibre")
    check_new_names({"cell": "nucleus"}, bundle, source=Path("masks"))
    with pytest.raises(WrongRenaming, match=r"masks in masks have no class nucleos; expected one .*: nucleus, fibre"):
        check_new_names({"cell": "nucleos"}, bundle, source=Path("masks"))
