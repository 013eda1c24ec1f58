"""From folders to what is fixed before the first step: groups stay whole, and the split that is stored is used."""

import numpy as np
import pytest
from PIL import Image

from maskwright.training.prepare import prepare, prepared_before
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run


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
    run.write_split(train=prepared.train[::2], validation=prepared.train[1::2])  # as no guess would have it
    again = prepared_before(run)
    assert (again.train, again.validation) == (prepared.train[::2], prepared.train[1::2])
    assert again.recipe == prepared.recipe
    assert {each.reason for each in again.decisions} == {"as the run began"}
