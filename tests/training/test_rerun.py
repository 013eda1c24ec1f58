"""What becomes of the same command given again; that it trains is put aside."""

import pytest

import maskwright.training.time_budget as pace
import maskwright.training.train as training
from maskwright.data.pairs import Pair
from maskwright.training.recipe import Recipe
from maskwright.training.reporter import Silent
from maskwright.training.run import OutputHoldsARun
from tests.conftest import SMALL_RECIPE
from tests.training.test_run import ASKED, begun


class Began(Exception):
    """A training from the start."""


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    def began(*_, **__):
        raise Began

    monkeypatch.setattr(training, "_go_on", lambda folder, *_: f"went on with {folder}")
    monkeypatch.setattr(training, "_prepare", began)


def test_a_run_that_had_begun_is_gone_on_with(tmp_path):
    run = begun(tmp_path / "run")
    assert training.train(ASKED, run.folder) == f"went on with {run.folder}"


def test_other_arguments_are_refused(tmp_path):
    run = begun(tmp_path / "run")
    with pytest.raises(OutputHoldsARun):
        training.train(ASKED.changed("training", epochs=4), run.folder)


def test_a_run_that_had_not_come_to_train_or_is_to_be_overwritten_begins_anew(tmp_path):
    run = begun(tmp_path / "run")
    with pytest.raises(Began):
        training.train(ASKED, run.folder, overwrite=True)
    run.bundle.unlink()
    with pytest.raises(Began):
        training.train(ASKED, run.folder)


def test_images_that_came_since_it_began_are_told_of(tmp_path):
    files = [tmp_path / folder / f"{name}.png" for folder in ("images", "masks") for name in ("a", "b")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    asked = ASKED.changed("data", images=tmp_path / "images", masks=tmp_path / "masks")
    run, said = begun(tmp_path / "run"), []
    run.asked.write_text(asked.to_yaml())

    class Told(Silent):
        def say(self, line):
            said.append(line)

    run.write_split(train=[Pair("a", files[0], files[2])], validation=[])
    training.train(asked, run.folder, narrator=Told())
    assert said == [
        f"Goes on without images that came since it began: 1, such as {files[1]}. "
        "To train on them too, begin anew with --overwrite."
    ]
    run.write_split(train=[Pair("a", files[0], files[2])], validation=[Pair("b", files[1], files[3])])
    training.train(asked, run.folder, narrator=Told())
    assert len(said) == 1


def test_a_training_that_was_refused_for_want_of_time_leaves_the_folder_free(drawn, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(pace, "_PROOF_ALIKE", 1e8)  # as if there were many more images
    recipe = Recipe.from_dict(
        {"data": {"images": drawn / "train/images", "masks": drawn / "train/masks"}, **SMALL_RECIPE}
        | {"training": SMALL_RECIPE["training"] | {"time_budget": 3600, "log": ["tensorboard"]}}
    )
    for _ in range(2):
        with pytest.raises(pace.BudgetTooShort, match=r"takes about \d+ s\. Give \d+ s or more; nothing was kept"):
            training.train(recipe, tmp_path / "run")
        assert not [path for path in (tmp_path / "run").iterdir() if path.name[0] != "."]
