"""Preparing a training: groups stay whole, recipes are completed, and a resumed run uses its stored split."""

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.training.dry_run import explain
from maskwright.training.prepare import check_data, prepare, prepare_resumed
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_text import WrongRecipe
from maskwright.training.run import Run


def prepare_checked(recipe):
    return prepare(recipe, check_data(recipe.data))


@pytest.fixture
def videos(tmp_path):
    """Write ten videos of three frames of independent noise, so that only names reveal the groups."""
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for video in range(10):
        for frame in range(3):
            name = f"video{video}_frame{frame:05}.png"
            mask = generator.random((40, 48)) < 0.1 + 0.08 * video
            Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / "images" / name)
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / name)
    return tmp_path


def recipe_of(videos, **data):
    return Recipe.from_dict({"data": {"images": videos / "images", "masks": videos / "masks"} | data})


def sources(pairs):
    return {pair.name.partition("_")[0] for pair in pairs}


def test_no_video_is_on_both_sides_of_the_split(videos):
    prepared, _ = prepare_checked(recipe_of(videos))
    assert sources(prepared.train).isdisjoint(sources(prepared.validation))
    assert len(prepared.validation) == 6
    assert prepared.decisions[0].value == "2 of 10 groups, 6 of 30 images"
    assert prepared.decisions[0].reason == "grouped by file names"


def test_grouping_by_file_names_can_be_turned_off(videos):
    prepared, _ = prepare_checked(recipe_of(videos, grouping="duplicates"))
    assert sources(prepared.train) & sources(prepared.validation)
    assert prepared.decisions[0].value == "6 of 30 images"


def test_given_validation_folders_are_used(videos):
    prepared, _ = prepare_checked(recipe_of(videos, val_images=videos / "images", val_masks=videos / "masks"))
    assert (len(prepared.train), len(prepared.validation)) == (30, 30)
    assert (prepared.decisions[0].field, prepared.decisions[0].reason) == ("data.val_images", "given")


def test_the_prepared_recipe_is_complete(videos):
    training = prepare_checked(recipe_of(videos))[0].recipe.training
    assert (training.patch_size, training.batch_size, training.time_budget) == ((64, 64), 12, 1800.0)


def test_a_resumed_run_keeps_its_stored_split(videos):
    prepared, _ = prepare_checked(recipe_of(videos))
    run = Run(videos / "run")
    run.begin()
    run.recipe.write_text(prepared.recipe.to_yaml())
    prepared.bundle.write(run.folder)
    run.write_split(train=prepared.train[::2], validation=prepared.train[1::2])  # unlike any split by groups
    resumed = prepare_resumed(run)
    assert (resumed.train, resumed.validation) == (prepared.train[::2], prepared.train[1::2])
    assert resumed.recipe == prepared.recipe
    fields = {decision.field: decision.value for decision in resumed.decisions}
    assert fields["training.patch_size"] == prepared.recipe.training.patch_size


def test_equal_channels_are_reduced_to_the_requested_one(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48), np.uint8)
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(tmp_path / f"images/{number}.png")
        Image.fromarray((pixels > 99 + number).astype(np.uint8)).save(tmp_path / f"masks/{number}.png")
    prepared, _ = prepare_checked(recipe_of(tmp_path, channels=1, scale=2.0, coord_channels=("row", "row_times_image")))
    bundle = prepared.bundle
    assert (bundle.channels, bundle.inputs, bundle.scale) == (1, 3, 2.0)
    assert len(bundle.normalisation.mean) == 1
    assert prepared.recipe.training.patch_size == (96, 96), "images of 40 x 48, enlarged twice"


def test_the_validation_set_has_every_stratum(videos):
    lines = "".join(f"video{video}_frame{frame:05},{frame}\n" for video in range(10) for frame in range(3))
    (videos / "strata.csv").write_text("id,frame\n" + lines)
    prepared, _ = prepare_checked(
        recipe_of(videos, grouping="duplicates", strata=videos / "strata.csv", validation_fraction=0.5)
    )
    frames = [int(pair.name[-1]) for pair in prepared.validation]
    assert all(4 <= frames.count(frame) <= 6 for frame in range(3))


def test_monitoring_mean_precision_of_two_classes_is_an_error(videos):
    recipe = Recipe.from_dict(
        {
            "data": {"images": videos / "images", "masks": videos / "masks", "mask_values": {0: "sky", 255: "ground"}},
            "training": {"monitor": "mean_precision"},
        }
    )
    with pytest.raises(WrongRecipe, match=r"training\.monitor: mean_precision .* 2 classes"):
        prepare_checked(recipe)


def test_a_plan_does_not_name_the_warnings_file_of_an_existing_run(videos, tmp_path):
    run = Run(tmp_path / "run")
    run.begin("")
    run.data_warnings.write_text("warnings of another training")
    recipe = Recipe.from_dict(
        {
            "data": {"images": videos / "images", "masks": videos / "masks"},
            "network": {"backbone": "resnet18", "decoder_filters": [8, 8, 8, 8, 8]},
        }
    )
    assert explain(recipe, run.folder).warnings_file is None


def test_an_unknown_final_loss_is_an_error_before_the_training(videos, tmp_path):
    recipe = Recipe.from_dict(
        {
            "data": {"images": videos / "images", "masks": videos / "masks"},
            "network": {"backbone": "resnet18", "decoder_filters": [8, 8, 8, 8, 8]},
            "training": {"final_loss": {"loss": {"lovas": 1}}},
        }
    )
    with pytest.raises(InputError, match=r"lovas.*lovasz"):
        explain(recipe, tmp_path / "out")
