from pathlib import Path

import pytest

from maskwright.data.pairs import Pair
from maskwright.inference.engines.engine import NotARun
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from maskwright.training.run_records import write_facts
from tests.training.run_files import run_facts

RECIPE = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"epochs": 3}})


def run_with_files(folder):
    """Return a run with some of its files, all of which contain "old"."""
    run = Run(folder)
    run.begin()
    nested = (run.validation / "deep/a.png", run.snapshot(1) / "model.keras", run.checkpoint)
    for file in (run.recipe, run.bundle, run.split, run.data_warnings, run.network, *nested):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    return run


def begun_run(folder):
    """Return a run as it is before its first step."""
    run = Run(folder)
    run.begin(RECIPE.changed("training", patch_size=(64, 64)).to_yaml(), requested=RECIPE.to_yaml())
    run.write_split(train=[], validation=[])
    run.bundle.write_text("{}")
    return run


def test_beginning_a_run_removes_the_old_run_and_nothing_else(tmp_path):
    run = run_with_files(tmp_path / "run")
    (run.folder / "notes.txt").write_text("mine")
    run.begin()
    left = sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file())
    assert left == ["notes.txt"]


def test_opening_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(NotARun, match=r"nowhere: not a run: there is no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(NotARun, match=r"recipe\.yaml is missing"):
        Run.open(tmp_path)


def test_the_split_is_read_back_with_any_names(tmp_path):
    run = run_with_files(tmp_path / "run")
    pairs = [Pair(name, tmp_path / f"{name}.png", tmp_path / f"m {name}.png") for name in ("a,b", 'c"d', "é/f")]
    run.write_split(train=pairs[:2], validation=pairs[2:])
    assert run.read_split() == {"train": pairs[:2], "validation": pairs[2:]}


def test_a_run_is_identified_by_the_recipe_it_began_with(tmp_path):
    run = begun_run(tmp_path / "run")
    assert run.began_with(RECIPE)
    assert not run.began_with(RECIPE.changed("training", epochs=4))
    assert not Run(tmp_path / "none").began_with(RECIPE)


@pytest.mark.parametrize(("stopped_by", "complete"), [("interrupt", False), ("schedule", True), ("patience", True)])
def test_a_run_with_facts_and_report_is_complete_unless_interrupted(tmp_path, stopped_by, complete):
    run = begun_run(tmp_path / "run")
    write_facts(run.facts, run_facts(stopped_by=stopped_by))
    assert not run.is_complete
    run.report.write_text("page")
    assert run.is_complete == complete
    run.facts.write_text("{")
    assert not run.is_complete


def test_a_run_with_unknown_recipe_fields_is_another_one(tmp_path):
    run = begun_run(tmp_path / "run")
    run.requested.write_text(run.requested.read_text() + "other: {}\n")
    assert not run.began_with(RECIPE)


def test_an_overwritten_run_exists_at_every_moment(tmp_path, monkeypatch):
    run = begun_run(tmp_path / "run")
    exists = []
    for name in ("unlink", "replace"):
        change = getattr(Path, name)

        def recording(path, *arguments, change=change, **options):
            exists.append(run.exists)
            return change(path, *arguments, **options)

        monkeypatch.setattr(Path, name, recording)
    run.begin(RECIPE.to_yaml(), requested=RECIPE.to_yaml())
    assert len(exists) > 5
    assert all(exists)
    assert not run.is_begun


def test_incomplete_writes_are_removed_and_nothing_else(tmp_path):
    run = begun_run(tmp_path / "run")
    name = f".{'0a' * 16}.npz"
    for file in (run.folder / name, run.checkpoint.with_name(name), run.validation / "deep" / name):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    (run.folder / ".mine.npz").write_text("mine")
    run.remove_incomplete_writes()
    assert not list(run.folder.rglob(name))
    assert (run.folder / ".mine.npz").is_file()
    assert run.began_with(RECIPE)
