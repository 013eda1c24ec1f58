from pathlib import Path

import pytest
import yaml

from maskwright.training.recipe import ProgressiveResize, Recipe
from maskwright.training.recipe_fields import parse_setting, recipe_fields
from maskwright.training.recipe_text import WrongRecipe, parse_duration

DATA = {"images": "/i", "masks": "/m"}


def test_the_yaml_of_a_recipe_is_read_back_as_the_same_recipe(tmp_path):
    recipe = Recipe.from_dict(
        {
            "data": DATA | {"mask_values": {0: "background", 255: "Zelle, groß"}, "ignore": "#ff0000"},
            "network": {"decoder_filters": [8, 8, 4, 4, 2]},
            "training": {"time_budget": "1h30m", "patch_size": [64, 96], "loss": {"lovasz": 0.5}},
        }
    )
    (tmp_path / "r.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(tmp_path / "r.yaml") == recipe
    assert recipe.training.time_budget == 5400
    assert list(recipe.data.mask_values) == [0, 255]  # numbers, though JSON and YAML keep keys as text


def test_every_field_is_documented_in_the_yaml():
    lines = Recipe.from_dict({"data": DATA}).to_yaml().splitlines()
    fields = [number for number, line in enumerate(lines) if line.startswith("  ") and not line.startswith("  #")]
    assert len(fields) > 25
    for number in fields:
        assert lines[number - 1].startswith("  # ")
        assert len(lines[number - 1]) > 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": DATA | {"imagse": 1}}, r"unknown field data\.imagse; did you mean data\.images\?"),
        ({"data": DATA, "batch_size": 4}, r"unknown field batch_size; did you mean training\.batch_size\?"),
        ({"data": {"images": "/i"}}, r"data\.masks is missing"),
        ({"data": DATA, "training": {"batch_size": 0}}, r"training\.batch_size=0: .*greater than 0"),
        ({"data": DATA, "training": {"time_budget": "soon"}}, r"training\.time_budget='soon': expected a duration"),
        ({"data": DATA, "training": {"time_budget": 60, "epochs": 1}}, r"give time_budget or epochs, not both"),
        ({"data": DATA, "training": {"lr_cycles": 3, "weight_averaging": 0.4}}, r"weight_averaging .*lr_cycles"),
        ({"data": DATA, "training": {"final_loss": {"start": 0.5}}}, r"training\.final_loss\.loss is missing"),
        (
            {"data": DATA, "training": {"progressive_resize": {"untill": 0.5}}},
            r"unknown field training\.progressive_resize\.untill; did you mean training\.progressive_resize\.until\?",
        ),
        ({"data": DATA, "training": {"lr_cycles": 51}}, r"training\.lr_cycles=51"),
        ({"data": DATA, "training": {"patch_size": [64, 65]}}, r"both sides must be multiples of 32"),
        (
            {"data": DATA | {"mask_kind": "objects", "mask_values": {0: "background", 255: "cell"}}},
            r"data: mask_kind=objects cannot be combined with mask_values, .*leave out one of them",
        ),
        ({"data": DATA | {"mask_kind": "instances"}}, r"data\.mask_kind='instances': .*'class_ids' or 'objects'"),
        ({"data": DATA | {"val_images": "/v"}}, r"val_images and val_masks must be given together"),
    ],
)
def test_an_error_names_the_field(fields, message):
    with pytest.raises(WrongRecipe, match=f"my.yaml: .*{message}"):
        Recipe.from_dict(fields, source="my.yaml")


def test_all_errors_are_reported_together():
    with pytest.raises(WrongRecipe, match=r"data\.masks is missing; .*batch_size=0"):
        Recipe.from_dict({"data": {"images": "/i"}, "training": {"batch_size": 0}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2", "holds list, expected a mapping"),
        ("a: [", "cannot be read as YAML"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_an_error(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(WrongRecipe, match=rf"r\.yaml: .*{message}"):
        Recipe.load(tmp_path / "r.yaml")


def test_a_missing_file_is_an_error_with_its_name():
    with pytest.raises(WrongRecipe, match=r"nowhere\.yaml: no such file"):
        Recipe.load(Path("nowhere.yaml"))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400), ("75", 75), (8, 8)],
)
def test_durations_are_parsed_to_seconds(given, seconds):
    assert parse_duration(given) == seconds


@pytest.mark.parametrize("given", ["", "20x", "m20", "20m!", "-5"])
def test_other_texts_are_not_durations(given):
    with pytest.raises(WrongRecipe, match="time_budget"):
        Recipe.from_dict({"data": DATA, "training": {"time_budget": given}})


def test_settings_are_read_as_yaml_and_override_the_file():
    settings = ["training.loss={dice: 2}", "network.backbone=resnet18", "training.seed=3"]
    fields = {"data": DATA, "training": {"seed": 1, "batch_size": 2, "loss": {"cross_entropy": 1}}}
    recipe = Recipe.from_dict(recipe_fields(recipe=fields, settings=settings))
    assert (recipe.training.seed, recipe.training.batch_size) == (3, 2)
    assert recipe.network.backbone == "resnet18"
    assert recipe.training.loss == {"dice": 2.0}  # a loss is replaced whole, not mixed with the file's


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), ProgressiveResize(until=0.4, scale=0.5)),
        (("training.progressive_resize.until=0.8",), ProgressiveResize(until=0.8, scale=0.5)),
        (("training.progressive_resize=null",), None),
        (("training.progressive_resize={scale: 0.75}",), ProgressiveResize(until=0.4, scale=0.75)),
        (
            ("training.progressive_resize=null", "training.progressive_resize.scale=0.75"),
            ProgressiveResize(until=0.7, scale=0.75),
        ),
    ],
)
def test_a_nested_section_is_merged_field_by_field_and_null_turns_it_off(tmp_path, settings, expected):
    (tmp_path / "r.yaml").write_text("training:\n  progressive_resize: {until: 0.4, scale: 0.5}\n")
    fields = recipe_fields(images="/i", masks="/m", recipe=tmp_path / "r.yaml", settings=settings)
    recipe = Recipe.from_dict(fields)
    assert recipe.training.progressive_resize == expected
    assert Recipe.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe


def test_a_null_setting_overrides_a_preset_and_an_absent_argument_does_not():
    preset = {"data": {"channels": 1, "classes": 2}, "training": {"final_loss": {"loss": {"lovasz": 1}}, "epochs": 2}}
    fields = recipe_fields(
        images="/i", masks="/m", preset=preset, settings=["training.final_loss=null"], time_budget="5m"
    )
    recipe = Recipe.from_dict(fields)
    assert (recipe.data.channels, recipe.data.classes) == (1, 2)
    assert recipe.training.final_loss is None
    assert (recipe.training.epochs, recipe.training.time_budget) == (None, 300)


def test_epochs_and_a_time_budget_in_two_settings_are_an_error():
    settings = ["training.epochs=3", "training.time_budget=20m"]
    for given in (settings, settings[::-1]):
        with pytest.raises(WrongRecipe, match="give time_budget or epochs, not both"):
            Recipe.from_dict(recipe_fields(images="/i", masks="/m", settings=given))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"recipe": {"training": {"epochs": 2}}, "settings": ["training.time_budget=5m"]}, (None, 300)),
        (
            {"recipe": {"training": {"time_budget": 60}}, "settings": ["training.seed=1", "training.epochs=3"]},
            (3, None),
        ),
        ({"settings": ["training.time_budget=5m"], "epochs": 3}, (3, None)),
    ],
)
def test_a_training_length_replaces_that_of_an_earlier_source(sources, expected):
    training = Recipe.from_dict(recipe_fields(images="/i", masks="/m", **sources)).training
    assert (training.epochs, training.time_budget) == expected


def test_a_null_in_a_field_that_requires_a_value_is_an_error():
    fields = recipe_fields(images="/i", masks="/m", settings=["training.batch_size=null"])
    with pytest.raises(WrongRecipe, match=r"training\.batch_size=None: "):
        Recipe.from_dict(fields)


def test_an_empty_section_of_a_file_has_no_fields():
    assert Recipe.from_dict(recipe_fields(images="/i", masks="/m", recipe={"training": None})).training.batch_size == 8


def test_a_loss_without_terms_is_an_error():
    with pytest.raises(WrongRecipe, match=r"training\.loss"):
        Recipe.from_dict(recipe_fields(images="/i", masks="/m", recipe={"training": {"loss": {}}}))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.batch_size", r"expected section\.field=value\.$"),
        ("batch_size", r"Did you mean training\.batch_size=\?"),
        ("batch_size=4", r"Did you mean training\.batch_size=4\?"),
        ("training.loss={", "as YAML"),
    ],
)
def test_the_error_of_a_setting_names_the_expected_form(setting, message):
    with pytest.raises(WrongRecipe, match=message):
        parse_setting(setting)


def test_paths_are_absolute():
    assert Recipe.from_dict({"data": {"images": "i", "masks": "m"}}).data.images == Path.cwd() / "i"


def test_values_that_look_like_yaml_comments_are_quoted():
    recipe = Recipe.from_dict({"data": DATA | {"mask_values": {0: "a # b", 1: 'c"d: {'}}})
    assert Recipe.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe
