"""Repeat the command `train` on a folder with a run; the training itself is replaced."""

import re

import pytest

import maskwright.training.time_budget as time_budget
import maskwright.training.train as training
from maskwright.data.pairs import Pair
from maskwright.images.output_folder import OutputExists
from maskwright.training.recipe import Recipe
from tests.conftest import SMALL_RECIPE
from tests.training.rig import Recorder
from tests.training.test_run import RECIPE, begun_run


class Began(Exception):
    """Raised in place of a training from the start."""


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def began(*_, **__):
        raise Began

    monkeypatch.setattr(training, "_resume", lambda run, session: f"resumed {run.folder}")
    monkeypatch.setattr(training, "prepare_data", began)


def test_an_unfinished_run_is_resumed(tmp_path):
    run = begun_run(tmp_path / "run")
    assert training.train(RECIPE, run.folder) == f"resumed {run.folder}"
    assert training.resume(run.folder) == f"resumed {run.folder}"


def test_a_run_of_another_recipe_is_an_error(tmp_path):
    run = begun_run(tmp_path / "run")
    with pytest.raises(OutputExists):
        training.train(RECIPE.changed("training", epochs=4), run.folder)


def test_an_overwritten_run_and_one_without_prepared_data_begin_again(tmp_path):
    run = begun_run(tmp_path / "run")
    with pytest.raises(Began):
        training.train(RECIPE, run.folder, overwrite=True)
    run.bundle.unlink()
    with pytest.raises(Began):
        training.train(RECIPE, run.folder)


def test_images_added_since_the_run_began_are_reported(tmp_path):
    files = [tmp_path / folder / f"{name}.png" for folder in ("images", "masks") for name in ("a", "b")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    recipe = RECIPE.changed("data", images=tmp_path / "images", masks=tmp_path / "masks")
    run, reporter = begun_run(tmp_path / "run"), Recorder()
    run.requested.write_text(recipe.to_yaml())
    run.write_split(train=[Pair("a", files[0], files[2])], validation=[])
    training.train(recipe, run.folder, reporter=reporter)
    (line,) = reporter.messages
    assert re.search(rf"without 1 image .*{files[1]}.*--overwrite", line)
    run.write_split(train=[Pair("a", files[0], files[2])], validation=[Pair("b", files[1], files[3])])
    training.train(recipe, run.folder, reporter=reporter)
    assert len(reporter.messages) == 1


def test_a_training_without_enough_time_leaves_the_folder_empty(drawn, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(time_budget, "_CHECK_FACTOR_FLOAT32", 1e8)  # as with many more images
    recipe = Recipe.from_dict(
        {"data": {"images": drawn / "train/images", "masks": drawn / "train/masks"}, **SMALL_RECIPE}
        | {"training": SMALL_RECIPE["training"] | {"time_budget": 3600, "log": ["tensorboard"]}}
    )
    for _ in range(2):
        with pytest.raises(time_budget.BudgetTooShort, match=r"about \d+ s\. Give \d+ s or more"):
            training.train(recipe, tmp_path / "run")
        assert not [path for path in (tmp_path / "run").iterdir() if path.name[0] != "."]
