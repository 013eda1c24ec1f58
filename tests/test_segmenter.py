"""`Segmenter`: training, resuming, prediction and evaluation in Python, and the files of a run."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.images.output_folder import OutputExists
from maskwright.segmenter import Segmenter
from maskwright.training.begin_or_resume import NothingToResume, OtherRecipe
from maskwright.training.final_check import SavedIsNotTrained
from maskwright.training.recipe import Recipe
from maskwright.training.run import Run
from tests.conftest import SMALL_RECIPE


def read(path):
    return np.asarray(Image.open(path))


def test_a_run_has_all_files_that_later_commands_read(trained):
    run = Run(trained.folder)
    for file in (run.recipe, run.bundle, run.split, run.history, run.network, run.last_network, run.contact_sheet):
        assert file.is_file(), file
    for file in (run.scores, run.facts, run.report, run.checkpoint):
        assert file.is_file(), file
    hidden = {path.name for path in run.folder.rglob(".*")}
    assert hidden == {".requested.yaml"}  # no incomplete write is left


def test_the_recipe_of_a_run_has_the_planned_values(trained):
    recipe = Run(trained.folder).read_recipe()
    assert recipe.data.mask_values == {0: "background", 1: "cell", 2: "fibre"}
    assert recipe.training.epochs == 2
    assert recipe.network.backbone == "resnet18"


def test_the_stored_score_is_the_best_of_the_history(trained):
    run = Run(trained.folder)
    with run.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    best = max(float(row["val_mean_iou"]) for row in rows)
    stored = json.loads(run.scores.read_text())["scores"]["mean_iou"]
    assert stored == pytest.approx(best, abs=1e-4)
    assert run.read_facts().validation_mean_iou == stored


def test_the_stored_score_is_that_of_the_stored_masks(trained, drawn):
    """Compute the score independently from the files."""
    run = Run(trained.folder)
    pairs = run.read_split()["validation"]
    truth = np.concatenate([read(pair.mask).ravel() for pair in pairs])
    prediction = np.concatenate([read(run.validation / f"{pair.name}.png").ravel() for pair in pairs])
    ious = []
    for value in (1, 2):
        both, either = (truth == value) & (prediction == value), (truth == value) | (prediction == value)
        ious += [both.sum() / either.sum()] if either.any() else []
    assert json.loads(run.scores.read_text())["scores"]["mean_iou"] == pytest.approx(np.mean(ious), abs=1e-9)


def test_predictions_equal_the_stored_validation_masks(trained):
    run = Run(trained.folder)
    for pair in run.read_split()["validation"]:
        np.testing.assert_array_equal(trained.predict(pair.image), read(run.validation / f"{pair.name}.png"))


def test_an_array_and_its_file_give_the_same_mask(trained, drawn):
    file = next((drawn / "new/images").iterdir())
    np.testing.assert_array_equal(trained.predict(file), trained.predict(read(file)))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (65, 64)])
def test_images_of_any_size_are_predicted(trained, size):
    image = np.zeros((*size, 3), np.uint8)
    probabilities = trained.predict_probabilities(image)
    assert trained.predict(image).shape == size
    assert probabilities.shape == (*size, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_evaluating_the_validation_images_gives_the_stored_scores(trained, drawn, tmp_path):
    for pair in Run(trained.folder).read_split()["validation"]:
        for kind, file in (("images", pair.image), ("masks", pair.mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / file.name).write_bytes(file.read_bytes())
    evaluation = trained.evaluate(tmp_path / "images", tmp_path / "masks")
    stored = json.loads(Run(trained.folder).scores.read_text())["scores"]
    assert evaluation.scores.model_dump(mode="json") == stored


def test_an_array_that_is_no_image_is_an_error(trained):
    with pytest.raises(InputError, match=r"image='an array of shape \(0, 4\)'"):
        trained.predict(np.zeros((0, 4), np.uint8))


def test_a_run_is_not_replaced_without_overwrite(trained, drawn):
    before = (trained.folder / "model.keras").stat()
    with pytest.raises(OutputExists):
        Segmenter.train(drawn / "train/images", drawn / "train/masks", out=trained.folder, epochs=1)
    assert (trained.folder / "model.keras").stat() == before


def test_a_custom_augmentation_trains_on_gray_images_with_one_class(tmp_path):
    for name in range(4):
        generator = np.random.default_rng(name)
        mask = (np.add.outer(np.arange(40), np.arange(50)) % 20 < 10) * np.uint8(255)
        image = (mask // 2 + generator.integers(0, 60, mask.shape)).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    calls = []

    def recording(image, mask):
        calls.append((image.shape, mask.shape))
        return image, mask

    segmenter = Segmenter.train(
        tmp_path / "images",
        tmp_path / "masks",
        out=tmp_path / "run",
        epochs=1,
        recipe=SMALL_RECIPE | {"training": SMALL_RECIPE["training"] | {"loss": {"lovasz": 1.0}}},
        augmentation=recording,
    )
    assert ((64, 64, 1), (64, 64)) in calls
    assert Run(segmenter.folder).read_recipe().augmentation.custom.endswith("recording")
    Run(segmenter.folder).report.unlink()  # as if interrupted before the end
    with pytest.raises(OtherRecipe, match=r"custom augmentation: found none, expected .*recording"):
        Segmenter.resume(segmenter.folder)
    bundle = segmenter.engine.bundle
    assert (bundle.channels, bundle.outputs, bundle.activation) == (1, 1, "sigmoid")
    predicted = segmenter.predict(tmp_path / "images/0.png")
    assert predicted.shape == (40, 50)
    assert set(np.unique(predicted)) <= {0, 255}  # the values of the training masks


def test_a_saved_network_that_differs_from_the_trained_one_is_an_error(drawn, tmp_path, monkeypatch):
    """The weights of the saved head are negated, as an example of a wrong normalisation or a missing layer."""
    from maskwright.training import trainer

    save = trainer.Trainer._save_network

    def save_negated(self, file):
        save(self, file)
        network = keras.saving.load_model(file)
        head = network.get_layer("final_conv")
        head.set_weights([-weight for weight in head.get_weights()])
        network.save(file)

    monkeypatch.setattr(trainer.Trainer, "_save_network", save_negated)
    data = {"images": drawn / "train/images", "masks": drawn / "train/masks"}
    recipe = Recipe.from_dict(SMALL_RECIPE | {"data": data, "training": SMALL_RECIPE["training"] | {"epochs": 1}})
    with pytest.raises(SavedIsNotTrained, match=r"run: .* saved network differ .* by up to \d") as error:
        Segmenter.train_recipe(recipe, tmp_path / "run")
    assert error.value.fields["difference"] > 1e-3


def test_a_valid_data_set_has_no_problems(drawn):
    report = Segmenter.check(drawn / "train/images", drawn / "train/masks", classes=["background", "cell", "fibre"])
    assert not report.problems
    assert report.train.pairs == 8


def test_resuming_a_complete_run_is_an_error(trained):
    with pytest.raises(NothingToResume, match=r"run: .* complete; .*--resume .*--overwrite"):
        Segmenter.resume(trained.folder)


def test_resuming_a_run_without_its_report_writes_the_report(trained, tmp_path):
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    run.report.unlink()
    before = json.loads(run.scores.read_text())["scores"]["mean_iou"]
    assert Segmenter.resume(run.folder).folder == run.folder
    assert run.report.is_file()
    assert json.loads(run.scores.read_text())["scores"]["mean_iou"] == pytest.approx(before, abs=1e-3)


def test_an_evaluation_names_unpaired_images(trained, drawn, tmp_path):
    data = shutil.copytree(drawn / "new", tmp_path / "new")
    (data / "masks/000.png").unlink()
    evaluation = trained.evaluate(data / "images", data / "masks")
    assert len(evaluation.images) == 1
    assert evaluation.left_out == (data / "images/000.png",)
