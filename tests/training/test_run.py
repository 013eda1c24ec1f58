from pathlib import Path

import pytest

from maskwright.data.pairs import Pair
from maskwright.images.write import write_json
from maskwright.inference.engines.engine import NotARun
from maskwright.training.recipe import Recipe
from maskwright.training.run import NothingToResume, OutputHoldsARun, OutputNotEmpty, Run, write_csv


def started(folder):
    run = Run.planned(folder, overwrite=False)
    run.begin()
    for file in (run.recipe, run.bundle, run.split, run.network, run.validation / "deep/a.png", run.checkpoint):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    return run


def test_a_new_or_an_empty_folder_becomes_a_run(tmp_path):
    assert not Run.planned(tmp_path / "new", overwrite=False).folder.exists()  # planning touches nothing
    assert started(tmp_path / "new").folder.is_dir()
    (tmp_path / "empty").mkdir()
    assert started(tmp_path / "empty").recipe.exists()


def test_a_run_is_not_replaced_without_leave(tmp_path):
    run = started(tmp_path / "run")
    with pytest.raises(OutputHoldsARun, match=r"run: holds a run; add --resume .* --overwrite"):
        Run.planned(run.folder, overwrite=False)


def test_overwriting_removes_the_old_run_and_nothing_else(tmp_path):
    run = started(tmp_path / "run")
    (run.folder / "notes.txt").write_text("mine")
    Run.planned(run.folder, overwrite=True).begin()
    left = sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file())
    assert left == ["notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputNotEmpty, match=r"holds no run \(it has thesis\.txt\)"):
        Run.planned(tmp_path, overwrite=overwrite)


def test_a_file_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputNotEmpty, match="a file of that name"):
        Run.planned(tmp_path / "file", overwrite=True)


def test_only_a_run_that_was_interrupted_is_gone_on_with(tmp_path):
    with pytest.raises(NothingToResume, match="there is no run"):
        Run.interrupted(tmp_path / "none")
    run = started(tmp_path / "run")
    assert Run.interrupted(run.folder) == run
    write_json(run.facts, {"stopped_by": "interrupt"})
    assert Run.interrupted(run.folder) == run
    write_json(run.facts, {"stopped_by": "schedule"})
    assert Run.interrupted(run.folder) == run  # its report is still to be written
    run.report.write_text("page")
    with pytest.raises(NothingToResume, match="the run is complete"):
        Run.interrupted(run.folder)


def test_a_run_that_never_began_to_train_is_started_anew(tmp_path):
    run = started(tmp_path / "run")
    run.split.unlink()
    with pytest.raises(NothingToResume, match="ended before it began to train"):
        Run.interrupted(run.folder)


def test_opening_says_what_is_missing(tmp_path):
    with pytest.raises(NotARun, match=r"nowhere: not a run: there is no such folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(NotARun, match=r"recipe\.yaml is missing"):
        Run.open(tmp_path)


def test_the_split_reads_back_with_any_names(tmp_path):
    run = started(tmp_path / "run")
    pairs = [Pair(name, tmp_path / f"{name}.png", tmp_path / f"m {name}.png") for name in ("a,b", 'c"d', "é/f")]
    run.write_split(train=pairs[:2], validation=pairs[2:])
    assert run.read_split() == {"train": pairs[:2], "validation": pairs[2:]}


ASKED = Recipe.from_dict({"data": {"images": "i", "masks": "m"}, "training": {"epochs": 3}})


def begun(folder):
    """A run as it stands when the first step is about to be taken."""
    run = Run(folder)
    run.begin(ASKED.changed("training", patch=(64, 64)).to_yaml(), asked=ASKED.to_yaml())
    run.write_split(train=[], validation=[])
    run.bundle.write_text("{}")
    return run


def test_a_run_is_known_by_the_recipe_that_it_was_asked_for_with(tmp_path):
    run = begun(tmp_path / "run")
    assert run.is_unfinished(ASKED)
    assert not run.is_unfinished(ASKED.changed("training", epochs=4))
    assert not Run(tmp_path / "none").is_unfinished(ASKED)
    run.report.write_text("page")
    for stopped_by, unfinished in (("interrupt", True), ("schedule", False), ("patience", False)):
        write_json(run.facts, {"stopped_by": stopped_by})
        assert run.is_unfinished(ASKED) == unfinished


def test_a_run_of_a_version_with_other_fields_is_not_taken_for_the_same(tmp_path):
    run = begun(tmp_path / "run")
    run.asked.write_text(run.asked.read_text() + "other: {}\n")
    assert not run.is_unfinished(ASKED)


def test_an_overwritten_run_is_known_as_one_at_every_moment(tmp_path, monkeypatch):
    run = begun(tmp_path / "run")
    changes = []
    for name in ("unlink", "replace"):
        change = getattr(Path, name)

        def noting(path, *arguments, change=change, **options):
            changes.append(run.recipe.is_file())
            return change(path, *arguments, **options)

        monkeypatch.setattr(Path, name, noting)
    run.begin(ASKED.to_yaml(), asked=ASKED.to_yaml())
    assert len(changes) > 5
    assert all(changes)
    assert not run.is_begun


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path):
    run = begun(tmp_path / "run")
    left = f".{'0a' * 16}.npz"
    for file in (run.folder / left, run.checkpoint.with_name(left), run.validation / "deep" / left):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    (run.folder / ".mine.npz").write_text("mine")
    run.tidy()
    assert not list(run.folder.rglob(left))
    assert (run.folder / ".mine.npz").is_file()
    assert run.is_unfinished(ASKED)


def test_rows_of_an_older_version_lack_a_column_and_are_written_all_the_same(tmp_path):
    write_csv(tmp_path / "history.csv", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None, "more": 3}])
    assert (tmp_path / "history.csv").read_text() == "step,loss,more\n1,0.5,\n2,,3\n"
