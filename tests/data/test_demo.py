"""The synthetic data set: deterministic, labelled exactly, and not separable by colour."""

import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from maskwright.data.demo import CELL_RADIUS, Scene, draw_demo, draw_scene
from maskwright.errors import WrongArgument

SIZE = (160, 192)
CELL, FIBRE = 1, 2


def scene(seed: int | list[int], size: tuple[int, int] = SIZE) -> Scene:
    return draw_scene(np.random.Generator(np.random.PCG64(seed)), size=size)


@pytest.fixture(scope="module")
def scenes():
    return [scene([7, number]) for number in range(12)]


@pytest.fixture(scope="module")
def pixels(scenes):
    """Colours (n, 3) and classes (n,) of all pixels."""
    return np.concatenate([s.image.reshape(-1, 3) for s in scenes]), np.concatenate([s.mask.ravel() for s in scenes])


def mean_iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    return np.mean(
        [((prediction == c) & (truth == c)).sum() / ((prediction == c) | (truth == c)).sum() for c in (CELL, FIBRE)]
    )


def drawn(folder: Path) -> dict[str, np.ndarray]:
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in folder.rglob("*.png")}


def test_each_set_has_the_requested_pairs_and_sizes(tmp_path):
    draw_demo(tmp_path, training=2, validation=1, new=3, size=SIZE)
    files = drawn(tmp_path)
    numbers = {"train": 2, "val": 1, "new": 3}
    assert set(files) == {
        f"{name}/{kind}/{number:03}.png"
        for name, count in numbers.items()
        for kind, number in product(("images", "masks"), range(count))
    }
    for name, array in files.items():
        assert array.dtype == np.uint8
        assert array.ndim == (3 if "images" in name else 2)
        if not name.startswith("new"):
            assert array.shape[:2] == SIZE
    new = [files[f"new/images/{number:03}.png"].shape[:2] for number in range(3)]
    assert new[0] == (151, 203)
    assert len(set(new)) == 3
    assert all(side % 2 for size in new for side in size)
    assert [files[f"new/masks/{number:03}.png"].shape for number in range(3)] == new


def test_an_image_depends_only_on_seed_set_and_number(tmp_path):
    for name, known in {
        "one": {"training": 1, "validation": 1, "seed": 3},
        "more": {"training": 2, "validation": 2, "seed": 3},
        "other": {"training": 1, "validation": 1, "seed": 4},
    }.items():
        draw_demo(tmp_path / name, new=0, size=(48, 64), **known)
    one, more, other = (drawn(tmp_path / name) for name in ("one", "more", "other"))
    assert all((more[name] == array).all() for name, array in one.items())
    images = [*(more[name] for name in more if "images" in name), other["train/images/000.png"]]
    assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])


def test_an_image_is_the_same_on_every_machine(tmp_path):
    draw_demo(tmp_path, training=1, validation=0, new=0)
    files = drawn(tmp_path)
    assert np.bincount(files["train/masks/000.png"].ravel()).tolist() == [19655, 6123, 4942]
    assert files["train/images/000.png"].mean(axis=(0, 1)) == pytest.approx([105.748, 94.579, 122.522], abs=1e-3)


def test_masks_contain_background_cells_and_fibres(scenes):
    assert all(set(np.unique(s.mask)) == {0, CELL, FIBRE} for s in scenes)
    fractions = np.bincount(np.concatenate([s.mask.ravel() for s in scenes])) / (len(scenes) * SIZE[0] * SIZE[1])
    assert (fractions > 0.1).all()
    assert fractions[0] > 0.5


def test_cells_touch(scenes):
    one_cell = np.pi * (CELL_RADIUS[1] + 2) ** 2
    largest = [np.bincount(ndimage.label(s.mask == CELL)[0].ravel())[1:].max() for s in scenes]
    assert np.mean(np.array(largest) > one_cell) > 0.5


def test_fibres_are_long_and_thin(scenes):
    for s in scenes:
        strands, _ = ndimage.label(s.mask == FIBRE)
        lengths = [np.hypot(*(part.stop - part.start for part in box)) for box in ndimage.find_objects(strands)]
        assert max(lengths) > 60
        # Eroding 7 pixels from each side removes fibres of up to 11 pixels, except at crossings.
        assert ndimage.binary_erosion(s.mask == FIBRE, iterations=7).mean() < 0.02


def test_both_classes_have_the_same_colour(pixels):
    colours, classes = pixels
    cell, fibre = (colours[classes == c].mean(axis=0) for c in (CELL, FIBRE))
    assert np.abs(cell - fibre).max() < 12
    assert np.abs(cell - fibre).max() < 0.4 * colours[classes == CELL].std(axis=0).min()


def test_no_threshold_finds_the_classes(pixels):
    colours, classes = pixels
    reached = []
    for c in (CELL, FIBRE):
        rules = product(range(3), range(10, 250, 10), (np.greater, np.less))
        found = [side(colours[:, channel], level) for channel, level, side in rules]
        reached.append(max((f & (classes == c)).sum() / (f | (classes == c)).sum() for f in found))
    assert np.mean(reached) < 0.3


def test_the_nearest_mean_colour_does_not_find_the_classes(pixels):
    colours, classes = pixels
    means = np.stack([colours[classes == c].mean(axis=0) for c in (0, CELL, FIBRE)])
    prediction = ((colours[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert mean_iou(prediction, classes) < 0.3


def test_the_most_frequent_class_of_each_colour_does_not_find_the_classes(pixels):
    colours, classes = pixels
    codes = (colours // 16).astype(int) @ (256, 16, 1)
    counts = np.stack([np.bincount(codes[classes == c], minlength=4096) for c in (0, CELL, FIBRE)])
    for likelihood in (counts, counts / counts.sum(axis=1, keepdims=True)):
        assert mean_iou(likelihood.argmax(axis=0)[codes], classes) < 0.3


def test_an_image_uses_the_value_range(scenes):
    for s in scenes:
        low, high = np.percentile(s.image, (1, 99))
        assert high - low > 90
        assert (s.image == 255).mean() < 0.02


def test_small_images_can_be_drawn(tmp_path):
    assert scene(0, size=(16, 17)).image.shape == (16, 17, 3)
    draw_demo(tmp_path, training=1, validation=0, new=1, size=(32, 32))
    assert drawn(tmp_path)["new/images/000.png"].shape == (23, 43, 3)


def test_an_image_that_is_too_small_is_an_error():
    with pytest.raises(WrongArgument, match=r"size=\(15, 40\): expected sides of at least 16 pixels"):
        scene(0, size=(15, 40))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"training": -1}, r"training=-1: expected 0 or more"),
        ({"validation": -2}, r"validation=-2: expected"),
        ({"new": -3}, r"new=-3: expected"),
        ({"seed": -4}, r"seed=-4: expected"),
        ({"size": (31, 64)}, r"size=\(31, 64\): expected sides of at least 32 pixels"),
    ],
)
def test_a_wrong_number_is_an_error_before_anything_is_drawn(tmp_path, argument, message):
    with pytest.raises(WrongArgument, match=message):
        draw_demo(tmp_path, **argument)
    assert not drawn(tmp_path)


def test_the_time_budget_of_the_demo_begins_after_drawing(tmp_path, monkeypatch, maskwright_command):
    class Begun(Exception):
        """The training begins."""

    def train_run(*_, started, **__):
        assert started >= drawn_at[0]
        raise Begun

    drawn_at = []
    monkeypatch.setattr("maskwright.data.demo.draw_demo", lambda folder: drawn_at.append(time.monotonic()))
    monkeypatch.setattr("maskwright.cli.demo.train_run", train_run)
    with pytest.raises(Begun):
        maskwright_command("demo", "--out", tmp_path / "demo")


def test_the_demo_runs_from_drawing_to_overlays(tmp_path, maskwright_command):
    code, out, err = maskwright_command("demo", "--out", tmp_path / "demo", "--time-budget", "40s")
    assert code == 0, err
    for file in ("run/model.keras", "run/report.html", "new.json", "masks/000.png", "masks/000.overlay.png"):
        assert (tmp_path / "demo" / file).is_file(), file
    assert "mean IoU" in out
    assert f"Open {tmp_path / 'demo/run/report.html'} in a browser" in out
    code, _, err = maskwright_command("demo", "--out", tmp_path / "demo")
    assert code == 1
    assert "--overwrite" in err
