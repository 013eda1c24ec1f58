"""The choice between beginning and resuming a run."""

import pytest

from maskwright.images.output_folder import OutputExists, OutputNotEmpty
from maskwright.training.begin_or_resume import (
    NothingToResume,
    OtherRecipe,
    check_same_custom_parts,
    check_same_settings,
    check_unfinished,
    is_resumed,
)
from maskwright.training.custom import CustomParts
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_fields import recipe_fields
from maskwright.training.run import Run
from maskwright.training.run_records import write_facts
from tests.training.run_files import run_facts
from tests.training.test_run import RECIPE, begun_run

OTHER = RECIPE.changed("training", epochs=4)


def complete_run(folder):
    run = begun_run(folder)
    write_facts(run.facts, run_facts())
    run.report.write_text("page")
    return run


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_begins_in_a_new_or_empty_folder_and_nothing_is_written(tmp_path, overwrite):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        assert not is_resumed(Run(tmp_path / name), RECIPE, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_an_unfinished_run_is_resumed(tmp_path):
    run = begun_run(tmp_path / "run")
    assert is_resumed(run, RECIPE)
    check_unfinished(run)
    write_facts(run.facts, run_facts(stopped_by="interrupt"))
    run.report.write_text("page")
    assert is_resumed(run, RECIPE)
    write_facts(run.facts, run_facts())
    run.report.unlink()  # only the report is missing
    assert is_resumed(run, RECIPE)
    check_unfinished(run)


@pytest.mark.parametrize(("make", "recipe"), [(begun_run, OTHER), (complete_run, OTHER), (complete_run, RECIPE)])
def test_another_or_a_complete_run_is_replaced_only_with_overwrite(tmp_path, make, recipe):
    run = make(tmp_path / "run")
    with pytest.raises(OutputExists, match=r"run: .*--overwrite") as raised:
        is_resumed(run, recipe)
    assert ("--resume" in str(raised.value)) == (not run.is_complete)
    assert not is_resumed(run, recipe, overwrite=True)


def test_a_run_that_ended_before_its_data_was_prepared_begins_again(tmp_path):
    run = begun_run(tmp_path / "run")
    run.split.unlink()
    assert not is_resumed(run, RECIPE)
    with pytest.raises(NothingToResume, match="before it began to train"):
        check_unfinished(run)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_never_used(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputNotEmpty, match=r"thesis\.txt"):
        is_resumed(Run(tmp_path), RECIPE, overwrite=overwrite)
    with pytest.raises(OutputNotEmpty, match="a file of that name"):
        is_resumed(Run(tmp_path / "thesis.txt"), RECIPE, overwrite=overwrite)


def test_without_a_run_or_with_a_complete_one_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(NothingToResume, match="there is no run"):
        check_unfinished(Run(tmp_path / "none"))
    with pytest.raises(NothingToResume, match="the run is complete"):
        check_unfinished(complete_run(tmp_path / "run"))


def test_settings_given_with_resume_must_be_those_of_the_run(tmp_path):
    run = begun_run(tmp_path / "run")
    check_same_settings(run.folder, recipe_fields(epochs=3, settings=["training.progressive_resize.until=0.7"]))
    with pytest.raises(OtherRecipe, match=r"training\.epochs=4 is not 3"):
        check_same_settings(run.folder, recipe_fields(epochs=4))
    with pytest.raises(OtherRecipe, match=r"training\.progressive_resize=None is not \{'until': 0\.7"):
        check_same_settings(run.folder, recipe_fields(settings=["training.progressive_resize=null"]))


PLANNED = (
    RECIPE.changed("data", mask_values={0: "background", 255: "cell"})
    .changed("network", backbone="resnet18")
    .changed(
        "training",
        **{
            "epochs": None,
            "time_budget": 1800.0,
            "patch_size": (64, 64),
            "batch_size": 4,
            "class_weights": {"cell": 2.0},
        },
        progressive_resize=None,
    )
)


@pytest.fixture
def planned_run(tmp_path):
    """A run that was requested without any settings, and whose fields were planned."""
    requested = Recipe.from_dict({"data": {"images": "i", "masks": "m", "classes": 2}})
    run = begun_run(tmp_path / "run")
    run.begin(PLANNED.to_yaml(), requested=requested.to_yaml())
    run.write_split(train=[], validation=[])
    run.bundle.write_text("{}")
    return run


def test_the_recipe_that_started_a_run_is_accepted_with_resume(planned_run):
    check_same_settings(planned_run.folder, recipe_fields(recipe=planned_run.requested))
    check_same_settings(planned_run.folder, recipe_fields(recipe=planned_run.recipe))


@pytest.mark.parametrize(
    "field", ["data.mask_values", "training.time_budget", "training.patch_size", "training.class_weights"]
)
def test_a_null_of_a_planned_field_is_accepted_with_resume(planned_run, field):
    check_same_settings(planned_run.folder, recipe_fields(settings=[f"{field}=null"]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.batch_size=8", r"training\.batch_size=8 is not 4"),
        ("training.patch_size=[96, 96]", r"training\.patch_size=\(96, 96\) is not \(64, 64\)"),
        ("training.patience=5", r"training\.patience=5 is not None"),
        ("training.progressive_resize.scale=0.5", r"training\.progressive_resize=\{.*'scale': 0\.5\} is not None"),
    ],
)
def test_a_setting_that_differs_from_the_plan_is_refused_with_resume(planned_run, setting, message):
    with pytest.raises(OtherRecipe, match=message):
        check_same_settings(planned_run.folder, recipe_fields(settings=[setting]))


def test_a_recipe_with_one_other_setting_is_refused_with_resume(planned_run):
    fields = recipe_fields(recipe=planned_run.requested, settings=["training.seed=7"])
    with pytest.raises(OtherRecipe, match=r"training\.seed=7 is not 0"):
        check_same_settings(planned_run.folder, fields)


def test_a_null_of_a_given_field_is_refused_with_resume(tmp_path):
    run = begun_run(tmp_path / "run")
    recipe = RECIPE.changed("training", patience=5)
    run.begin(recipe.to_yaml(), requested=recipe.to_yaml())
    run.write_split(train=[], validation=[])
    run.bundle.write_text("{}")
    with pytest.raises(OtherRecipe, match=r"training\.patience=None is not 5"):
        check_same_settings(run.folder, recipe_fields(settings=["training.patience=null"]))


def mean(truth, prediction):
    return 0.0


@pytest.mark.parametrize(
    ("recorded", "given", "message"),
    [("mean", None, "custom loss: found none, expected mean"), (None, mean, "custom loss: found mean, expected none")],
)
def test_custom_parts_given_with_resume_must_be_those_of_the_run(tmp_path, recorded, given, message):
    recipe = RECIPE.changed("training", custom_loss=recorded)
    with pytest.raises(OtherRecipe, match=message):
        check_same_custom_parts(tmp_path, recipe, CustomParts(loss=given))
    check_same_custom_parts(tmp_path, recipe, CustomParts(loss=mean if recorded else None))
