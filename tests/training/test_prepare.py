"""From folders to what is fixed before the first step: groups stay whole, and the split that is stored is used."""

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.training.prepare import prepare, prepared_before
from maskwright.training.recipe import Recipe, WrongRecipe
from maskwright.training.run import Run
from maskwright.training.train import explain


@pytest.fixture
def videos(tmp_path):
    """Ten videos of three frames, each frame its own noise: only names tell what belongs together."""
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


def test_no_video_is_on_both_sides_and_the_plan_says_so(videos):
    prepared, _ = prepare(recipe_of(videos))
    assert sources(prepared.train).isdisjoint(sources(prepared.validation))
    assert len(prepared.validation) == 6
    assert prepared.decisions[0].value == "2 of 10 groups, 6 of 30 images"
    assert prepared.decisions[0].reason == "images are kept together by file names"


def test_groups_can_be_refused(videos):
    prepared, _ = prepare(recipe_of(videos, groups="identical"))
    assert sources(prepared.train) & sources(prepared.validation)
    assert prepared.decisions[0].value == "6 of 30 images"


def test_folders_that_were_given_are_the_sides(videos):
    prepared, _ = prepare(recipe_of(videos, val_images=videos / "images", val_masks=videos / "masks"))
    assert (len(prepared.train), len(prepared.validation)) == (30, 30)
    assert (prepared.decisions[0].field, prepared.decisions[0].reason) == ("data.val_images", "given")


def test_every_choice_is_in_the_recipe(videos):
    training = prepare(recipe_of(videos))[0].recipe.training
    assert (training.patch, training.batch_size, training.time_budget) == ((64, 64), 4, 1800.0)


def test_a_run_that_goes_on_keeps_its_own_split(videos):
    prepared, _ = prepare(recipe_of(videos))
    run = Run(videos / "run")
    run.begin()
    run.recipe.write_text(prepared.recipe.to_yaml())
    prepared.bundle.write(run.folder, lambda file, text: file.write_text(text))
    run.write_split(train=prepared.train[::2], validation=prepared.train[1::2])  # as no prediction would have it
    again = prepared_before(run)
    assert (again.train, again.validation) == (prepared.train[::2], prepared.train[1::2])
    assert again.recipe == prepared.recipe
    assert {each.reason for each in again.decisions} == {"as the run began"}


def test_equal_channels_become_the_one_that_is_asked_for(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48), np.uint8)
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(tmp_path / f"images/{number}.png")
        Image.fromarray((pixels > 99 + number).astype(np.uint8)).save(tmp_path / f"masks/{number}.png")
    prepared, _ = prepare(recipe_of(tmp_path, channels=1, scale=2.0, position=("row", "row_times_image")))
    bundle = prepared.bundle
    assert (bundle.channels, bundle.inputs, bundle.scale) == (1, 3, 2.0)
    assert len(bundle.normalisation.mean) == 1
    assert prepared.recipe.training.patch == (96, 96), "images of 40 x 48, seen at twice their size"


def test_what_is_held_out_has_every_stratum(videos):
    lines = "".join(f"video{video}_frame{frame:05},{frame}\n" for video in range(10) for frame in range(3))
    (videos / "strata.csv").write_text("id,frame\n" + lines)
    prepared, _ = prepare(recipe_of(videos, groups="identical", strata=videos / "strata.csv", validation_share=0.5))
    frames = [int(pair.name[-1]) for pair in prepared.validation]
    assert all(4 <= frames.count(frame) <= 6 for frame in range(3))


def test_the_score_of_one_class_is_refused_for_several(videos):
    recipe = Recipe.from_dict(
        {
            "data": {"images": videos / "images", "masks": videos / "masks", "mask_values": {0: "sky", 255: "ground"}},
            "training": {"select": "mean_precision"},
        }
    )
    with pytest.raises(
        WrongRecipe, match=r"training\.select: mean_precision is of one class and a background, not of 2"
    ):
        prepare(recipe)


def test_a_late_loss_that_does_not_exist_is_told_before_the_training(videos, tmp_path):
    recipe = Recipe.from_dict(
        {
            "data": {"images": videos / "images", "masks": videos / "masks"},
            "network": {"backbone": "resnet18", "decoder_filters": [8, 8, 8, 8, 8]},
            "training": {"late_loss": {"lovas": 1}},
        }
    )
    with pytest.raises(InputError, match=r"lovas.*lovasz"):
        explain(recipe, tmp_path / "out")
