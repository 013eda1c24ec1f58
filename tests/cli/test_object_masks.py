"""Training, evaluation and export with object masks, in which every object has its own number."""

import json

import numpy as np
import pytest
from PIL import Image

from maskwright.segmenter import Segmenter
from maskwright.training.begin_or_resume import check_same_settings
from maskwright.training.recipe import Recipe
from maskwright.training.recipe_fields import recipe_fields
from maskwright.training.run import Run
from tests.cli.pairs import folders, paint
from tests.data.drawn_objects import draw_grid

NETWORK = """
import keras

def network(channels, classes, activation):
    image = keras.Input((None, None, channels))
    x = keras.layers.Conv2D(classes, 3, padding="same")(image)
    return keras.Model(image, keras.layers.Activation(activation, dtype="float32")(x))
"""
QUICK = (
    *("--epochs", 12, "--set", "training.patch_size=[64, 64]", "--set", "training.batch_size=2"),
    *("--set", "training.optimizer=adamw", "--set", "training.learning_rate=0.1"),
)
OBJECTS = ("--set", "data.mask_kind=objects", "--classes", "nucleus", "--ignore", "65535")


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    """Six pairs of 64 x 96 pixels: bright squares, 54 to 96 of them, with 16-bit numbers and an ignored corner."""
    folder = tmp_path_factory.mktemp("nuclei")
    for number in range(6):
        mask = np.zeros((64, 96), np.uint16)
        grid = draw_grid(6 + number % 3, 9 + number % 4, first=1 + 300 * (number % 2))
        mask[4 : 4 + len(grid), 4 : 4 + grid.shape[1]] = grid[:60, :92]
        mask[-4:, -4:] = 65535
        noise = np.random.default_rng(number).integers(0, 60, mask.shape)
        paint(folder / f"images/{number}.png", noise + 180 * ((mask > 0) & (mask < 65535)))
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
    return folder


@pytest.fixture
def truth(nuclei):
    """Numbers of background pixels and object pixels in all masks."""
    masks = np.stack([np.asarray(Image.open(file)) for file in (nuclei / "masks").iterdir()])
    return [int((masks == 0).sum()), int(((masks > 0) & (masks < 65535)).sum())]


def test_check_proposes_the_option_and_passes_with_it(nuclei, truth, maskwright_command):
    code, out, _ = maskwright_command("check", *folders(nuclei))
    assert code == 1
    assert "--set data.mask_kind=objects" in out
    assert "photograph" not in out
    options = "--mask-kind", "objects", "--classes", "nucleus", "--ignore", "65535"
    code, out, err = maskwright_command("check", *folders(nuclei), *options)
    assert (code, err) == (0, "")
    assert "No problems found." in out
    assert "Masks: objects" in out
    (row,) = [line for line in out.splitlines() if "nucleus" in line]
    assert row.split()[:3] == ["others", "nucleus", f"{truth[1]:,}"]


def test_an_unknown_kind_names_the_known_ones(nuclei, maskwright_command):
    code, _, err = maskwright_command("check", *folders(nuclei), "--mask-kind", "object")
    assert code == 2
    assert "class_ids" in err
    assert "objects" in err


def test_object_masks_train_evaluate_and_export(nuclei, truth, tmp_path, maskwright_command):
    run, engine = Run(tmp_path / "run"), tmp_path / "engine"
    (tmp_path / "tiny.py").write_text(NETWORK)
    options = *OBJECTS, *QUICK, "--python", tmp_path / "tiny.py"
    code, _, err = maskwright_command("train", *folders(nuclei), "--out", run.folder, *options)
    assert (code, err) == (0, "")
    data = run.read_recipe().data
    assert data.mask_values == {0: "background", "others": "nucleus", 65535: "ignored"}
    assert data.mask_kind == "objects"
    assert [(label.name, label.value) for label in run.read_bundle().labels] == [("background", 0), ("nucleus", 1)]
    for file in run.validation.glob("*.png"):
        assert set(np.unique(np.asarray(Image.open(file)))) <= {0, 1}
    assert maskwright_command("export", run.folder, "--out", engine)[0] == 0
    scores = {}
    for folder in (run.folder, engine):
        file = tmp_path / f"{folder.name}.json"
        assert maskwright_command("evaluate", folder, *folders(nuclei), "--json", file)[0] == 0
        scores[folder.name] = json.loads(file.read_text())["scores"]
        rows = scores[folder.name]["classes"]
        assert [row["name"] for row in rows] == ["background", "nucleus"]
        assert [row["truth_pixels"] for row in rows] == truth
        assert rows[1]["iou"] > 0.8  # the objects are brighter than the background
    assert scores["engine"]["mean_iou"] == pytest.approx(scores["run"]["mean_iou"], abs=0.01)


def test_the_python_interface_accepts_object_masks(nuclei, tmp_path, monkeypatch):
    recipes = []
    monkeypatch.setattr(Segmenter, "train_recipe", lambda recipe, *_, **__: recipes.append(recipe))
    Segmenter.train(nuclei / "images", nuclei / "masks", out=tmp_path / "run", mask_kind="objects")
    assert recipes[0].data.mask_kind == "objects"
    report = Segmenter.check(nuclei / "images", nuclei / "masks", mask_kind="objects", ignore=65535)
    assert report.problems == ()


def test_an_interrupted_run_accepts_the_settings_it_began_with(nuclei, tmp_path, monkeypatch):
    fields = recipe_fields(
        images=nuclei / "images", masks=nuclei / "masks", mask_kind="objects", classes=["nucleus"], ignore=65535
    )
    complete = {"data": fields["data"] | {"classes": None, "ignore": None}}
    complete["data"]["mask_values"] = {0: "background", "others": "nucleus", 65535: "ignored"}
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run")
    run.recipe.write_text(Recipe.from_dict(complete).to_yaml())
    monkeypatch.setattr("maskwright.training.begin_or_resume.check_unfinished", lambda run: None)
    assert run.read_recipe() == Recipe.from_dict(complete)
    check_same_settings(run.folder, {"data": {"mask_kind": "objects", "classes": ["nucleus"]}})
