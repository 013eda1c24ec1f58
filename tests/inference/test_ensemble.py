import json
import weakref
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from maskwright.images.labels import Label
from maskwright.inference import ensemble as module
from maskwright.inference import pipeline
from maskwright.inference.bundle import UnreadableBundle
from maskwright.inference.ensemble import Ensemble, WrongEnsemble, check_ensemble_folder, read_ensemble, write_ensemble
from maskwright.inference.load_predictor import load_predictor
from maskwright.inference.pipeline import FailedImage, NumberedFile, predictions
from maskwright.inference.predict_image import predict_indices, predict_probabilities
from tests.inference.fake_engines import Brightness, bundle


class Shade(Brightness):
    """Brightness times a factor; says when it is opened."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def __call__(self, images):
        return super().__call__(images) * np.float32(self.factor)


@pytest.fixture
def members(tmp_path, monkeypatch):
    """Folders whose networks are half and a quarter of the brightness; the order in which they are opened."""
    factors, opened, alive = {"a": 0.5, "b": 0.25}, [], weakref.WeakSet()
    for name in factors:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        bundle().write(tmp_path / name)

    def open_engine(folder):
        assert not alive, "one network at a time"
        opened.append(folder.name)
        engine = Shade(factors[folder.name])
        engine.itself = engine  # in a circle, as Keras' networks are
        alive.add(engine)
        return engine

    monkeypatch.setattr(module, "open_engine", open_engine)
    return [tmp_path / name for name in factors], opened


def paint(folder, sizes):
    rng = np.random.default_rng(0)
    files = []
    for number, size in enumerate(sizes):
        files.append(NumberedFile(number, folder / f"{number}.png"))
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(files[-1].file)
    return files


def test_probabilities_are_averaged_one_network_after_the_other(members, tmp_path):
    folders, opened = members
    ensemble = write_ensemble(tmp_path / "both", folders)
    image = np.full((10, 12, 1), 255, np.uint8)
    np.testing.assert_allclose(predict_probabilities(ensemble, image), 0.375, atol=1e-6)
    assert (predict_indices(ensemble, image) == 0).all()
    assert opened == ["a", "b"] * 2


def test_it_is_opened_by_its_folder_which_may_be_moved_with_its_members(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a", "b", "both"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    found = load_predictor(tmp_path / "elsewhere/both")
    assert isinstance(found, Ensemble)
    assert found.members == (tmp_path / "elsewhere/a", tmp_path / "elsewhere/b")


def test_files_are_predicted_in_portions_each_network_once_for_each(members, tmp_path, monkeypatch):
    folders, opened = members
    files = paint(tmp_path, [(20, 30)] * 5 + [(8, 8)])
    monkeypatch.setattr(pipeline, "_TOGETHER", 2 * (2 * 20 * 30))
    ensemble = write_ensemble(tmp_path / "both", folders)
    with closing(predictions(ensemble, files, probabilities=False)) as found:
        given = list(found)
    assert [one.source for one in given] == files
    assert opened == ["a", "b"] * 3
    for one in given:
        np.testing.assert_allclose(one.values, one.image / 255 * 0.375, atol=1e-6)


def test_an_image_that_cannot_be_read_fails_once_and_alone(members, tmp_path):
    folders, _ = members
    files = paint(tmp_path, [(8, 8)] * 3)
    files[1].file.write_bytes(b"no image")
    with closing(predictions(write_ensemble(tmp_path / "both", folders), files, probabilities=False)) as found:
        kinds = [type(one) is FailedImage for one in found]
    assert kinds == [False, True, False]


def test_networks_of_other_classes_are_refused(members, tmp_path):
    folders, _ = members
    cell = Label(name="nucleus", value=255, colour=(0, 0, 0))
    bundle(labels=(bundle().labels[0], cell)).write(folders[1])
    with pytest.raises(WrongEnsemble, match="differ in their labels; expected networks of the same images and classes"):
        write_ensemble(tmp_path / "both", folders)
    assert not (tmp_path / "both").exists()


def test_a_member_that_is_gone_is_named(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    folders[1].rename(tmp_path / "c")
    with pytest.raises(WrongEnsemble, match=r"its member .*b is missing"):
        read_ensemble(tmp_path / "both")


@pytest.mark.parametrize("text", ["{", json.dumps({"members": []}), json.dumps({"format": 2, "members": ["a"]})])
def test_a_damaged_record_is_refused(members, tmp_path, text):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "both/ensemble.json").write_text(text)
    with pytest.raises(WrongEnsemble, match="not an ensemble that can be used"):
        read_ensemble(tmp_path / "both")


def test_a_damaged_bundle_is_refused(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "both/bundle.json").write_text("{}")
    with pytest.raises(UnreadableBundle):
        read_ensemble(tmp_path / "both")


def test_a_folder_of_something_else_is_refused(tmp_path):
    check_ensemble_folder(tmp_path / "new", overwrite=False)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(WrongEnsemble, match=r"it holds notes\.txt; expected a new or empty folder"):
        check_ensemble_folder(tmp_path, overwrite=True)


def test_views_of_the_ensemble_are_asked_of_every_member(members, tmp_path):
    folders, _ = members
    with_views = bundle(tta=("mirrored",))
    ensemble = write_ensemble(tmp_path / "both", folders, with_views)
    assert list(ensemble.each(lambda engine: len(engine.views))) == [1, 1]
    np.testing.assert_allclose(
        predict_probabilities(ensemble, np.full((4, 4, 1), 128, np.uint8)), 128 / 255 * 0.375, atol=1e-6
    )


def test_members_of_an_ensemble_become_members_and_what_is_no_network_is_refused(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    assert write_ensemble(tmp_path / "more", [tmp_path / "both", folders[0]]).members == (*folders, folders[0])
    (folders[0] / "model.keras").unlink()
    with pytest.raises(WrongEnsemble, match=r"a: not an ensemble .*: no network; expected a finished run"):
        write_ensemble(tmp_path / "none", folders)
