"""What the data decides: each rule on both sides of what it turns on, and what was given stands."""

import pytest
import yaml

from maskwright.data.fingerprint import Fingerprint
from maskwright.data.grouping import Groups
from maskwright.training.plan import DEFAULT_SECONDS, GIVEN, RULES, as_begun, decide, split_decision
from maskwright.training.recipe import Recipe


def data(**changed):
    usual = {
        "sizes": ((360, 480),) * 100,
        "mean": 0.4,
        "spread": 0.25,
        "shares": {"background": 0.7, "cell": 0.28, "wall": 0.02},
        "object_pixels": 30.0,
        "upright": True,
    }
    return Fingerprint(**usual | changed)


def recipe(**sections):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"} | sections.pop("data", {})} | sections)


def decided(field, found=None, **sections):
    complete, decisions = decide(recipe(**sections), found or data())
    section, name = field.split(".")
    decision = {each.field: each for each in decisions}[field]
    assert getattr(getattr(complete, section), name) == decision.value
    return decision.value, decision.reason


def test_ordinary_data_gets_what_was_measured_to_be_good():
    complete, decisions = decide(recipe(), data())
    weights = {"background": 0.63, "cell": 1.0, "wall": 3.74}  # the roots of 0.28 / 0.7, 1 and 0.28 / 0.02
    expected = recipe().changed("training", patch=(256, 320), time_budget=DEFAULT_SECONDS, class_weights=weights)
    expected = expected.changed("training", batch_size=4, learning_rate=2e-3, optimizer="muon")
    expected = expected.changed("augmentation", rotation=0.0)
    assert complete == expected.changed("network", backbone="resnet18", decoder_filters=(128, 96, 64, 32, 16))
    assert [each.field for each in decisions] == list(RULES)
    assert all(each.reason and each.reason != GIVEN for each in decisions)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("data.normalisation", "encoder"),
        ("training.patch", (64, 96)),
        ("training.batch_size", 3),
        ("training.loss", {"lovasz": 1.0}),
        ("training.foreground", 0.5),
        ("training.optimizer", "adamw"),
        ("training.learning_rate", 1e-4),
        ("augmentation.rotation", 3.0),
        ("training.class_weights", {"cell": 2.0}),
        ("network.backbone", "resnet50"),
        ("network.decoder_filters", (8, 8, 8, 8, 8)),
        ("augmentation.flip", "none"),
        ("augmentation.brightness", 0.0),
        ("training.time_budget", 90.0),
    ],
)
def test_what_is_given_stands_whatever_the_data(field, given):
    odd = data(spread=0.01, shares={"background": 1.0, "cell": 0.0}, object_pixels=500.0, upright=False)
    section, name = field.split(".")
    assert decided(field, odd, **{section: {name: given}}) == (given, GIVEN)


def test_epochs_and_a_custom_augmentation_take_the_place_of_fields():
    _, decisions = decide(recipe(training={"epochs": 3}, augmentation={"custom": "mine"}), data())
    by_field = {each.field: (each.value, each.reason) for each in decisions}
    assert by_field["training.epochs"] == (3, GIVEN)
    assert by_field["augmentation.custom"] == ("mine", GIVEN)
    assert not by_field.keys() & {
        "training.time_budget",
        "augmentation.flip",
        "augmentation.rotation",
        "augmentation.brightness",
    }


def test_a_class_that_is_not_there_weighs_nothing_and_two_classes_weigh_alike():
    weights, _ = decided("training.class_weights", data(shares={"road": 0.8, "car": 0.19, "sign": 0.01, "bus": 0.0}))
    assert weights == {"road": 0.49, "car": 1.0, "sign": 4.36}
    assert decided("training.class_weights", data(shares={"background": 0.9, "cell": 0.1}))[0] is None


@pytest.mark.parametrize(
    ("sections", "backbone", "first_filters"),
    [
        ({"training": {"time_budget": 1200}}, "resnet18", 128),
        ({"training": {"time_budget": 7200}}, "resnet34", 256),
        ({"training": {"epochs": 9}}, "resnet34", 256),
        ({"network": {"encoder_weights": "imagenet"}}, "resnet34", 256),
        ({"network": {"backbone": "resnet34"}}, "resnet34", 256),
        ({"network": {"architecture": "fpn"}}, "resnet18", 256),
    ],
)
def test_a_short_training_from_nothing_gets_a_small_network(sections, backbone, first_filters):
    complete, _ = decide(recipe(**sections), data())
    assert (complete.network.backbone, complete.network.decoder_filters[0]) == (backbone, first_filters)
    assert Recipe.from_dict(complete.model_dump()) == complete  # as a run that goes on reads it


@pytest.mark.parametrize(
    ("sizes", "objects", "patch", "reason"),
    [
        ((101, 101), 30, (128, 128), "holds the median image, 101 x 101"),
        ((30, 700), 30, (64, 704), "holds the median image, 30 x 700"),
        ((600, 800), 129, (320, 448), "the median image, 600 x 800, whose parts are about 129 pixels wide"),
        ((600, 800), 128, (256, 320), "in the shape of the median image"),
        ((800, 600), None, (320, 256), "in the shape of the median image, 800 x 600"),
    ],
)
def test_a_patch_holds_the_image_or_what_surrounds_an_object(sizes, objects, patch, reason):
    value, told = decided("training.patch", data(sizes=(sizes,) * 9, object_pixels=objects))
    assert value == patch
    assert reason in told


@pytest.mark.parametrize(
    ("count", "training", "batch", "reason"),
    [
        (100, {"time_budget": 7200}, 8, "hold about 211 patches"),
        (100, {"time_budget": 600}, 4, "10 minutes from nothing: more and smaller steps"),
        (1, {"epochs": 9}, 3, "hold no more than 3"),
        (100, {"patch": (512, 512), "epochs": 9}, 2, "as many pixels a step as 8 patches of 256 x 320"),
        (100, {"patch": (1024, 1024)}, 2, "or two patches"),
        (100, {"patch": (64, 64), "epochs": 9}, 8, "hold about 4219 patches"),
    ],
)
def test_a_batch_is_smaller_where_patches_are_large_or_few(count, training, batch, reason):
    value, told = decided("training.batch_size", data(sizes=((360, 480),) * count), training=training)
    assert value == batch
    assert reason in told


def test_a_batch_is_shared_out_evenly():
    value, reason = decided("training.batch_size", data(), training={"time_budget": 600, "devices": 3})
    assert (value, reason.split("; ")[1]) == (3, "a multiple of 3 devices")
    assert decided("training.batch_size", data(), training={"time_budget": 600, "devices": 8})[0] == 8


def test_one_small_image_still_makes_a_batch_of_two():
    assert decided("training.batch_size", data(sizes=((40, 40),)))[0] == 2


def test_patches_look_for_a_class_that_is_rare():
    rare = {"background": 0.9995, "cell": 0.0005}
    assert decided("training.foreground", data(shares=rare)) == (
        0.33,
        "cell has 0.05 % of the pixels: random patches seldom show it",
    )
    assert decided("training.foreground", data(shares={"background": 0.999, "cell": 0.001}))[0] == 0.0
    small = data(shares=rare, sizes=((100, 100),) * 50)
    assert decided("training.foreground", small) == (0.0, "a patch holds a whole image")


def test_the_loss_is_told_with_the_rarest_class():
    value, reason = decided("training.loss")
    assert value == {"cross_entropy": 1.0, "dice": 1.0}
    assert reason == "each pixel counts, and each class: wall has 2 % of the pixels"


@pytest.mark.parametrize(
    ("upright", "flip"), [(True, "horizontal"), (False, "horizontal_and_vertical"), (None, "horizontal")]
)
def test_images_are_turned_upside_down_where_up_is_nothing(upright, flip):
    assert decided("augmentation.flip", data(upright=upright))[0] == flip


@pytest.mark.parametrize(("spread", "brightness"), [(0.25, 0.2), (0.1, 0.2), (0.05, 0.1), (0.0061, 0.012)])
def test_brightness_moves_with_the_pixels(spread, brightness):
    assert decided("augmentation.brightness", data(spread=spread))[0] == brightness


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [({}, "muon"), ({"encoder_weights": "imagenet"}, "adamw"), ({"custom": "mine"}, "adamw")],
)
def test_muon_learns_what_begins_from_nothing(network, optimizer):
    assert decided("training.optimizer", network=network)[0] == optimizer


def test_learnt_weights_bring_their_normalisation():
    assert decided("data.normalisation", network={"encoder_weights": "imagenet"}) == (
        "encoder",
        "the weights imagenet were learnt with it",
    )
    assert decided("data.normalisation") == ("measured", "100 training images: mean 0.4, spread 0.25")


def test_the_recipe_of_a_run_decides_the_same_again(tmp_path):
    complete, decisions = decide(recipe(data={"images": "/i", "masks": "/m"}), data(upright=False))
    text = complete.to_yaml(reasons={each.field: each.reason for each in decisions})
    (tmp_path / "recipe.yaml").write_text(text)
    assert "  # Here: classes lie as often above as below the middle.\n  flip: " in text
    again, given = decide(Recipe.load(tmp_path / "recipe.yaml"), data(spread=0.01, object_pixels=400))
    assert again == complete
    assert {each.reason for each in given} == {GIVEN}
    assert yaml.safe_load(text)["augmentation"]["flip"] == "horizontal_and_vertical"


def test_a_run_that_goes_on_says_so():
    complete, _ = decide(recipe(training={"epochs": 2}), data())
    fields = {each.field: each.value for each in as_begun(complete)}
    assert fields["training.epochs"] == 2
    assert "training.time_budget" not in fields
    assert {each.reason for each in as_begun(complete)} == {"as the run began"}


def test_the_split_is_told_in_groups_and_images():
    groups = Groups({"a1": "a", "a2": "a", "b1": "b", "c1": "c"}, "by file names")
    told = split_decision(recipe(), groups, ["a1", "a2"])
    assert (told.value, told.reason) == ("1 of 3 groups, 2 of 4 images", "images are kept together by file names")
    alone = Groups({"a": "a", "b": "b"}, "where their pixels are equal")
    told = split_decision(recipe(data={"validation_share": 0.5}), alone, ["a"])
    assert told.value == "1 of 2 images"
    assert told.reason == "given; images are kept together where their pixels are equal"
