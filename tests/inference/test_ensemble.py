import json
import weakref
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from maskwright.images.labels import Label
from maskwright.images.output_folder import OutputExists, OutputNotEmpty
from maskwright.inference import ensemble as module
from maskwright.inference import pipeline
from maskwright.inference.bundle import UnreadableBundle
from maskwright.inference.device import Device
from maskwright.inference.ensemble import Ensemble, WrongEnsemble, check_ensemble_folder, read_ensemble, write_ensemble
from maskwright.inference.load_predictor import load_predictor
from maskwright.inference.pipeline import FailedImage, NumberedFile, predictions
from maskwright.inference.predict_image import predict_indices, predict_probabilities
from tests.inference.fake_engines import Brightness, bundle


class Shade(Brightness):
    """Brightness times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def __call__(self, images):
        return super().__call__(images) * np.float32(self.factor)


@pytest.fixture
def members(tmp_path, monkeypatch):
    """Folders of networks that return 1/2 and 1/4 of the brightness, and the order in which they are opened."""
    factors, opened, alive = {"a": 0.5, "b": 0.25}, [], weakref.WeakSet()
    for name in factors:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        bundle().write(tmp_path / name)

    def open_engine(folder, *, device):
        assert not alive, "two networks in memory"
        opened.append(folder.name if device is None else f"{folder.name} on {device}")
        engine = Shade(factors[folder.name])
        engine.itself = engine  # a reference cycle, as in Keras networks
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


def test_probabilities_are_averaged_with_one_network_in_memory(members, tmp_path):
    folders, opened = members
    ensemble = write_ensemble(tmp_path / "both", folders)
    image = np.full((10, 12, 1), 255, np.uint8)
    np.testing.assert_allclose(predict_probabilities(ensemble, image), 0.375, atol=1e-6)
    assert (predict_indices(ensemble, image) == 0).all()
    assert opened == ["a", "b"] * 2


def test_an_ensemble_can_be_moved_with_its_members(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a", "b", "both"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    found = load_predictor(tmp_path / "elsewhere/both")
    assert isinstance(found, Ensemble)
    assert found.members == (tmp_path / "elsewhere/a", tmp_path / "elsewhere/b")


def test_each_network_is_opened_once_per_portion_of_files(members, tmp_path, monkeypatch):
    folders, opened = members
    files = paint(tmp_path, [(20, 30)] * 5 + [(8, 8)])
    monkeypatch.setattr(pipeline, "_MAX_HELD_BY_ENSEMBLE", 2 * (2 * 20 * 30))
    ensemble = write_ensemble(tmp_path / "both", folders)
    with closing(predictions(ensemble, files, probabilities=False)) as found:
        given = list(found)
    assert [one.source for one in given] == files
    assert opened == ["a", "b"] * 3
    for one in given:
        np.testing.assert_allclose(one.values, one.image / 255 * 0.375, atol=1e-6)


def test_all_members_compute_on_the_requested_device(members, tmp_path):
    folders, opened = members
    write_ensemble(tmp_path / "both", folders)
    ensemble = load_predictor(tmp_path / "both", device=Device("gpu", 1))
    predict_probabilities(ensemble, np.zeros((8, 8, 1), np.uint8))
    assert opened == ["a on gpu:1", "b on gpu:1"]


def test_an_unreadable_image_fails_once_and_alone(members, tmp_path):
    folders, _ = members
    files = paint(tmp_path, [(8, 8)] * 3)
    files[1].file.write_bytes(b"not an image")
    with closing(predictions(write_ensemble(tmp_path / "both", folders), files, probabilities=False)) as found:
        kinds = [type(one) is FailedImage for one in found]
    assert kinds == [False, True, False]


def test_members_of_other_classes_are_an_error(members, tmp_path):
    folders, _ = members
    cell = Label(name="nucleus", value=255, colour=(0, 0, 0))
    bundle(labels=(bundle().labels[0], cell)).write(folders[1])
    with pytest.raises(WrongEnsemble, match=r"b and .*a differ in their labels"):
        write_ensemble(tmp_path / "both", folders)
    assert not (tmp_path / "both").exists()


def test_a_missing_member_is_named(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    folders[1].rename(tmp_path / "c")
    with pytest.raises(WrongEnsemble, match=r"its member .*b is missing"):
        read_ensemble(tmp_path / "both")


@pytest.mark.parametrize("text", ["{", json.dumps({"members": []}), json.dumps({"format": 2, "members": ["a"]})])
def test_a_damaged_record_is_an_error(members, tmp_path, text):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "both/ensemble.json").write_text(text)
    with pytest.raises(WrongEnsemble, match=r"ensemble\.json: "):
        read_ensemble(tmp_path / "both")


def test_a_damaged_bundle_is_an_error(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    (tmp_path / "both/bundle.json").write_text("{}")
    with pytest.raises(UnreadableBundle):
        read_ensemble(tmp_path / "both")


def test_a_folder_is_new_empty_or_an_ensemble_to_overwrite(members, tmp_path):
    folders, _ = members
    out = tmp_path / "both"
    check_ensemble_folder(out, overwrite=False)
    write_ensemble(out, folders)
    check_ensemble_folder(out, overwrite=True)
    with pytest.raises(OutputExists, match=r"both: contains an ensemble; .*--overwrite"):
        check_ensemble_folder(out, overwrite=False)
    (out / "notes.txt").touch()
    with pytest.raises(OutputNotEmpty, match=r"both: .*notes\.txt"):
        check_ensemble_folder(out, overwrite=True)


def test_the_augmentation_of_the_ensemble_applies_to_every_member(members, tmp_path):
    folders, _ = members
    augmented = bundle(tta=("mirrored",))
    ensemble = write_ensemble(tmp_path / "both", folders, augmented)
    assert list(ensemble.each(lambda engine: len(engine.transforms))) == [1, 1]
    np.testing.assert_allclose(
        predict_probabilities(ensemble, np.full((4, 4, 1), 128, np.uint8)), 128 / 255 * 0.375, atol=1e-6
    )


def test_an_ensemble_as_a_member_contributes_its_members(members, tmp_path):
    folders, _ = members
    write_ensemble(tmp_path / "both", folders)
    assert write_ensemble(tmp_path / "more", [tmp_path / "both", folders[0]]).members == (*folders, folders[0])
    (folders[0] / "model.keras").unlink()
    with pytest.raises(WrongEnsemble, match=r"a: .*no network"):
        write_ensemble(tmp_path / "none", folders)
