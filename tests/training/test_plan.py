"""Each planning rule on both sides of its threshold; given fields keep their values."""

import pytest
import yaml

from maskwright.data.fingerprint import Fingerprint
from maskwright.data.grouping import Groups
from maskwright.training.plan import GIVEN, decisions_of_run, plan_recipe, split_decision
from maskwright.training.planning_rules import DEFAULT_SECONDS, RULES, Facts
from maskwright.training.recipe import ProgressiveResize, Recipe


def data(**changed):
    usual = {
        "sizes": ((360, 480),) * 100,
        "mean": 0.4,
        "std": 0.25,
        "class_fractions": {"background": 0.7, "cell": 0.28, "wall": 0.02},
        "object_width": 30.0,
        "vertically_asymmetric": True,
    }
    return Facts(Fingerprint(**usual | changed))


def recipe(**sections):
    return Recipe.from_dict({"data": {"images": "i", "masks": "m"} | sections.pop("data", {})} | sections)


def planned(field, found=None, **sections):
    complete, decisions = plan_recipe(recipe(**sections), found or data())
    section, name = field.split(".")
    decision = {each.field: each for each in decisions}[field]
    assert getattr(getattr(complete, section), name) == decision.value
    return decision.value, decision.reason


def test_the_plan_of_ordinary_data():
    complete, decisions = plan_recipe(recipe(), data())
    weights = {"background": 0.63, "cell": 1.0, "wall": 3.74}  # square roots of 0.28 / 0.7, 1 and 0.28 / 0.02
    expected = recipe().changed("training", patch_size=(256, 320), time_budget=DEFAULT_SECONDS, class_weights=weights)
    expected = expected.changed("training", batch_size=4, learning_rate=2e-3, optimizer="muon")
    expected = expected.changed("augmentation", rotation=0.0)
    assert complete == expected.changed("network", backbone="resnet18", decoder_filters=(128, 96, 64, 32, 16))
    assert [each.field for each in decisions] == list(RULES)
    assert all(each.reason and each.reason != GIVEN for each in decisions)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("data.normalisation", "encoder"),
        ("training.patch_size", (64, 96)),
        ("training.batch_size", 3),
        ("training.loss", {"lovasz": 1.0}),
        ("training.foreground_oversampling", 0.5),
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
def test_given_fields_keep_their_values(field, given):
    odd = data(
        std=0.01, class_fractions={"background": 1.0, "cell": 0.0}, object_width=500.0, vertically_asymmetric=False
    )
    section, name = field.split(".")
    assert planned(field, odd, **{section: {name: given}}) == (given, GIVEN)


def test_epochs_and_a_custom_augmentation_replace_planned_fields():
    _, decisions = plan_recipe(recipe(training={"epochs": 3}, augmentation={"custom": "mine"}), data())
    by_field = {each.field: (each.value, each.reason) for each in decisions}
    assert by_field["training.epochs"] == (3, GIVEN)
    assert by_field["augmentation.custom"] == ("mine", GIVEN)
    assert not by_field.keys() & {
        "training.time_budget",
        "augmentation.flip",
        "augmentation.rotation",
        "augmentation.brightness",
    }


def test_absent_classes_and_two_classes_have_no_weights():
    weights, _ = planned(
        "training.class_weights", data(class_fractions={"road": 0.8, "car": 0.19, "sign": 0.01, "bus": 0.0})
    )
    assert weights == {"road": 0.49, "car": 1.0, "sign": 4.36}
    assert planned("training.class_weights", data(class_fractions={"background": 0.9, "cell": 0.1}))[0] is None


@pytest.mark.parametrize(
    ("sections", "backbone", "first_filters"),
    [
        ({"training": {"time_budget": 1200}}, "resnet18", 128),
        ({"training": {"time_budget": 7200}}, "resnet34", 256),
        ({"training": {"epochs": 9}}, "resnet34", 256),
        ({"network": {"encoder_weights": "imagenet"}}, "efficientnetlite0", 256),
        ({"network": {"encoder_weights": "imagenet", "backbone": "resnet34"}}, "resnet34", 256),
        ({"network": {"backbone": "resnet34"}}, "resnet34", 256),
        ({"network": {"architecture": "fpn"}}, "resnet18", 256),
    ],
)
def test_a_short_training_from_scratch_gets_a_small_network(sections, backbone, first_filters):
    complete, _ = plan_recipe(recipe(**sections), data())
    assert (complete.network.backbone, complete.network.decoder_filters[0]) == (backbone, first_filters)
    assert Recipe.from_dict(complete.model_dump()) == complete  # as a resumed run reads it


@pytest.mark.parametrize(
    ("sizes", "objects", "patch", "reason"),
    [
        ((101, 101), 30, (128, 128), "the median image 101 x 101"),
        ((30, 700), 30, (64, 704), "the median image 30 x 700"),
        ((600, 800), 129, (320, 448), "median image 600 x 800; object width 129"),
        ((600, 800), 128, (256, 320), "median image 600 x 800; object width 128"),
        ((800, 600), None, (320, 256), "median image 800 x 600"),
    ],
)
def test_a_patch_covers_the_median_image_or_the_context_of_objects(sizes, objects, patch, reason):
    value, text = planned("training.patch_size", data(sizes=(sizes,) * 9, object_width=objects))
    assert value == patch
    assert reason in text


@pytest.mark.parametrize(
    ("width", "given", "expected", "is_given"),
    [
        (19, {"scale": 0.5}, None, False),
        (20, {"scale": 0.5}, ProgressiveResize(scale=0.5), False),
        (19, {"until": 0.5}, ProgressiveResize(until=0.5), True),
        (20, None, None, True),
    ],
)
def test_progressive_resizing_is_given_by_null_or_its_end_not_by_its_scale(width, given, expected, is_given):
    value, reason = planned(
        "training.progressive_resize", data(object_width=width), training={"progressive_resize": given}
    )
    assert value == expected
    assert (reason == GIVEN) == is_given


@pytest.mark.parametrize(
    ("count", "training", "batch", "reason"),
    [
        (100, {"time_budget": 14400}, 8, "area of about 211 patches"),
        (100, {"time_budget": 600}, 4, "about 4,500 patches in 10 min: "),
        (1, {"epochs": 9}, 3, "area of 3 patches"),
        (100, {"patch_size": (512, 512), "epochs": 9}, 2, "8 patches of 256 x 320"),
        (100, {"patch_size": (1024, 1024)}, 2, "2 to 16 patches"),
        (100, {"patch_size": (128, 128), "epochs": 9}, 16, "8 patches of 256 x 320"),
        (100, {"patch_size": (192, 192), "time_budget": 600}, 9, "4 patches of 256 x 320"),
        (100, {"patch_size": (64, 64), "epochs": 9}, 16, "2 to 16 patches"),
    ],
)
def test_the_batch_has_the_usual_area_unless_there_are_few_patches(count, training, batch, reason):
    value, text = planned("training.batch_size", data(sizes=((360, 480),) * count), training=training)
    assert value == batch
    assert reason in text


def test_the_batch_size_is_a_multiple_of_the_devices():
    value, reason = planned("training.batch_size", data(), training={"time_budget": 600, "devices": 3})
    assert (value, reason.split("; ")[1]) == (3, "a multiple of 3 devices")
    assert planned("training.batch_size", data(), training={"time_budget": 600, "devices": 8})[0] == 8


def test_one_small_image_gives_a_batch_of_two():
    assert planned("training.batch_size", data(sizes=((40, 40),)))[0] == 2


def test_a_rare_class_is_oversampled_unless_patches_cover_the_image():
    rare = {"background": 0.9995, "cell": 0.0005}
    assert planned("training.foreground_oversampling", data(class_fractions=rare)) == (
        0.33,
        "cell is rare, 0.05 % of the pixels",
    )
    assert (
        planned("training.foreground_oversampling", data(class_fractions={"background": 0.999, "cell": 0.001}))[0]
        == 0.0
    )
    small = data(class_fractions=rare, sizes=((100, 100),) * 50)
    assert planned("training.foreground_oversampling", small) == (0.0, "a patch covers a whole image")


def test_the_reason_for_the_loss_names_the_rarest_class():
    value, reason = planned("training.loss")
    assert value == {"cross_entropy": 1.0, "dice": 1.0}
    assert "rarest class wall: 2 % of the pixels" in reason


@pytest.mark.parametrize(
    ("asymmetric", "flip"), [(True, "horizontal"), (False, "horizontal_and_vertical"), (None, "horizontal")]
)
def test_vertical_flips_need_vertically_symmetric_masks(asymmetric, flip):
    assert planned("augmentation.flip", data(vertically_asymmetric=asymmetric))[0] == flip


@pytest.mark.parametrize(("std", "brightness"), [(0.25, 0.2), (0.1, 0.2), (0.05, 0.1), (0.0061, 0.012)])
def test_the_brightness_change_is_reduced_for_low_contrast(std, brightness):
    assert planned("augmentation.brightness", data(std=std))[0] == brightness


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [({}, "muon"), ({"encoder_weights": "imagenet"}, "adamw"), ({"custom": "mine"}, "adamw")],
)
def test_muon_is_chosen_for_trainings_from_scratch_only(network, optimizer):
    assert planned("training.optimizer", network=network)[0] == optimizer


def test_pretrained_weights_determine_the_normalisation():
    assert planned("data.normalisation", network={"encoder_weights": "imagenet"}) == (
        "encoder",
        "normalisation of the imagenet weights",
    )
    assert planned("data.normalisation") == ("dataset", "mean 0.4, std 0.25 of 100 training images")


def test_planning_a_planned_recipe_changes_nothing(tmp_path):
    complete, decisions = plan_recipe(recipe(data={"images": "/i", "masks": "/m"}), data(vertically_asymmetric=False))
    text = complete.to_yaml(reasons={each.field: each.reason for each in decisions})
    (tmp_path / "recipe.yaml").write_text(text)
    assert "upper and lower halves of the masks are alike.\n  flip: " in text
    repeated, decisions = plan_recipe(Recipe.load(tmp_path / "recipe.yaml"), data(std=0.01, object_width=400))
    assert repeated == complete
    assert {each.reason for each in decisions} == {GIVEN}
    assert yaml.safe_load(text)["augmentation"]["flip"] == "horizontal_and_vertical"


def test_decisions_of_a_resumed_run_are_those_of_its_recipe():
    complete, decisions = plan_recipe(recipe(training={"epochs": 2}), data())
    fields = {each.field: each.value for each in decisions_of_run(complete)}
    assert fields["training.epochs"] == 2
    assert "training.time_budget" not in fields
    assert not {each.reason for each in decisions_of_run(complete)} & {each.reason for each in decisions}


def test_the_split_is_described_in_groups_and_images():
    groups = Groups({"a1": "a", "a2": "a", "b1": "b", "c1": "c"}, "by file names")
    decision = split_decision(recipe(), groups, ["a1", "a2"])
    assert (decision.value, decision.reason) == (
        "1 of 3 groups, 2 of 4 images",
        "grouped by file names",
    )
    alone = Groups({"a": "a", "b": "b"}, "by identical pixels")
    decision = split_decision(recipe(data={"validation_fraction": 0.5}), alone, ["a"])
    assert decision.value == "1 of 2 images"
    assert decision.reason == "given; grouped by identical pixels"


@pytest.mark.parametrize(
    ("seconds", "rate", "multiplier"), [(120, 3e-3, 0.3), (300, 2e-3, 0.5), (600, 1e-3, 1.0), (7200, 1e-3, 1.0)]
)
def test_a_short_training_gets_a_higher_rate_but_not_for_a_pretrained_encoder(seconds, rate, multiplier):
    sections = {"network": {"encoder_weights": "imagenet"}, "training": {"time_budget": seconds}}
    assert planned("training.learning_rate", **sections)[0] == rate
    assert planned("training.encoder_lr_multiplier", **sections)[0] == multiplier


def test_a_given_rate_determines_the_rate_of_the_encoder():
    field, imagenet = "training.encoder_lr_multiplier", {"encoder_weights": "imagenet"}
    assert planned(field, network=imagenet, training={"learning_rate": 1e-2})[0] == 0.1
    assert planned(field, network=imagenet, training={"learning_rate": 5e-4})[0] == 1.0
    assert planned(field, training={"learning_rate": 1e-2})[0] == 1.0


def test_empty_masks_change_the_monitored_score_and_the_sampling():
    one_class = {"background": 0.9, "salt": 0.1}
    some, many = (data(class_fractions=one_class, empty_fraction=fraction) for fraction in (0.33, 0.9))
    several_classes = data(empty_fraction=0.33)
    assert planned("training.monitor", some) == (
        "mean_precision",
        "33 % of the masks are empty; mean IoU hardly depends on them",
    )
    assert planned("training.monitor", several_classes)[0] == planned("training.monitor")[0] == "mean_iou"
    assert planned("training.foreground_oversampling", some)[0] == 0.0
    assert planned("training.foreground_oversampling", many) == (0.33, "90 % of the masks are empty")


def test_images_of_different_sizes_are_trained_in_larger_batches():
    similar, different = (data(sizes=((256, 320),) * 50 + (size,) * 50) for size in ((300, 400), (1040, 1388)))
    short = {"time_budget": 300}
    assert planned("training.batch_size", similar, training=short)[0] == 4
    assert planned("training.batch_size", different, training=short)[0] == 8
