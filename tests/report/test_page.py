"""The report shows the content of a run's files, and no content can break it."""

import json
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from maskwright.inference.bundle import UnreadableBundle
from maskwright.inference.engines.engine import NotARun
from maskwright.report import panels, write_report
from maskwright.report.panels import worst_and_best
from maskwright.training.run_records import ClassPixels, DamagedRunFile, ImageScore
from tests.report.a_page import Page
from tests.report.a_run import GHOST, HOSTILE, MATHS, gray, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run <b>", data=tmp_path / "data")


@pytest.fixture
def light(run):
    """A run without curves and with one image without a score, so that no plots and panels take time."""
    stored = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps({**stored, "images": stored["images"][:1]}))
    (run / "history.csv").unlink()
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return read(write_run(folder / "run <b>", data=folder / "data"))


def read(run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def decoded(source: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(source.removeprefix("data:image/webp;base64,")))))


def test_the_headline_has_scores_time_steps_and_image_numbers(page):
    assert (
        "Mean IoU 0.650 Pixel accuracy 0.943 Training time 1 min 58 s 1 234 steps "
        "Images 12 1 for training, 11 for validation"
    ) in page.text


def test_each_class_has_a_row_of_scores_and_pixels(page):
    assert f"{HOSTILE} 0.500 0.111 0.222 0.333 8 7" in page.text
    assert f"{MATHS} 0.800 0.111 0.222 0.333 5 4" in page.text


def test_an_absent_class_is_named(page):
    assert f"{GHOST} – – – – 0 0" in page.text
    assert "absent from both the masks and the predictions has no score and is not included in the mean" in page.text
    assert f"Absent classes: {GHOST} ." in page.text


def test_the_confusion_matrix_is_normalised_by_row(page):
    assert f"{HOSTILE} 37.5 % 3 62.5 % 5 0.0 % 0 0.0 % 0" in page.text
    assert f"{MATHS} 20.0 % 1 0.0 % 0 80.0 % 4 0.0 % 0" in page.text
    assert f"{GHOST} – 0 – 0 – 0 – 0" in page.text


def test_the_best_validation_score_is_marked_in_its_curve_only(page):
    curves = [source for source in page.sources if source.startswith("data:image/svg+xml")]
    drawn = [b64decode(source.partition(",")[2]).decode() for source in curves]
    assert [re.findall(r"training loss|validation mean IoU|learning rate", svg) for svg in drawn] == [
        ["training loss"],
        ["validation mean IoU"],
        ["learning rate"],
    ]
    assert [re.findall(r"best [^<]*", svg) for svg in drawn] == [[], ["best 0.701, step 20"], []]


def test_six_worst_and_three_best_images_are_shown_in_order(page):
    captions = re.findall(r"(a/\S+) mean IoU (\S+), pixel accuracy 0.444", page.text)
    worst = [(f"a/0{n}", f"0.{n}50") for n in range(6)]
    assert captions == [*worst, ("a/09", "0.950"), ("a/08", "0.850"), ("a/07", "0.750")]


@pytest.mark.parametrize(
    ("images", "worst", "best"),
    [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 2, 1), (6, 4, 2), (8, 6, 2), (9, 6, 3), (30, 6, 3)],
)
def test_few_images_are_divided_between_worst_and_best(images, worst, best):
    pixels = ClassPixels(true_positives=(1,), truth=(1,), predicted=(1,))
    scored = [
        ImageScore(name=f"{n:02}", mean_iou=n / 30, pixel_accuracy=1.0, pixels=pixels, seconds=0.1)
        for n in range(images)
    ]
    assert worst_and_best(scored[::-1]) == (scored[:worst], scored[images - best :][::-1])


def test_a_panel_shows_its_own_image_and_errors(page):
    panels = [decoded(source) for source in page.sources if source.startswith("data:image/webp")][:9]
    shown = [np.median(picture[60:200, 100:200]) for picture in panels]  # the first tile
    assert shown == pytest.approx([gray(number) for number in (1, 2, 3, 4, 5, 6, 10, 9, 8)], abs=4)
    missed, right = (np.median(panels[at][60:200, -200:-100], axis=(0, 1)) for at in (0, 6))
    assert missed[2] > missed[0] + 100  # blue: every pixel of the worst image is missed
    assert np.ptp(right) < 10  # gray: none of the best image is wrong


def test_recipe_data_and_versions_are_on_the_page(page):
    assert '"mask_values": {"0": "background"' in page.text
    assert "11 pairs, held out" in page.text
    assert "3 channels of uint8" in page.text
    assert "command maskwright train --out <here>" in page.text
    assert "parameters 24 456 154" in page.text
    assert "keras 3.15.1" in page.text


def test_names_are_escaped(page):
    assert "script" not in page.tags
    assert {"b", "html"} <= set(page.tags)
    assert page.texts.count("run <b>") == 1
    assert "run <b> – segmentation report" in page.texts


def test_the_page_uses_no_external_resources(run):
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not [name for name, _ in page.attributes if name == "href" or name.startswith("on")]
    outside = re.sub(r"data:image/[^\"]*", "", text)
    assert not re.search(r"https?:|//|url\(|@import", outside.replace(str(run.parent), ""))


def test_missing_values_are_dashes_not_nan(page):
    assert not re.search(r"\b(nan|none|null|inf)\b", page.text, re.IGNORECASE)
    assert "validation pixel accuracy –" in page.text


def test_rendering_is_deterministic(run):
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.parametrize(
    "missing", ["scores.json", "history.csv", "bundle.json", "split.csv", "augmented.png", "run.json"]
)
def test_a_missing_file_affects_only_its_section(light, page, missing):
    (light / missing).unlink(missing_ok=True)
    shorter = read(light)
    assert f"{missing} is missing" in shorter.text
    assert f"{missing} is missing" not in page.text
    assert shorter.tags.count("section") == page.tags.count("section")


def test_a_recipe_alone_is_enough_for_a_page(light):
    for file in ("scores.json", "bundle.json", "split.csv", "augmented.png", "run.json"):
        (light / file).unlink()
    assert "Mean IoU – Pixel accuracy – Training time – Images –" in read(light).text


def test_a_missing_image_is_reported_in_its_panel(run, tmp_path):
    split = run / "split.csv"
    split.write_text("\n".join(line for line in split.read_text().splitlines() if not line.startswith("a/01")) + "\n")
    (tmp_path / "data/images/a/00.png").unlink()
    page = read(run)
    assert re.search(r"cannot be shown: \S*a/00\.png: .* a/00 mean IoU 0\.050", page.text)
    assert re.search(r"cannot be shown: \S.*split\.csv .*\. a/01", page.text)
    assert sum(source.startswith("data:image/webp") for source in page.sources) == 7 + 1  # panels, and the sheet


def test_a_bug_in_drawing_is_not_reported_as_a_missing_image(run, monkeypatch):
    def broken(*_, **__):
        raise KeyError("colour")

    monkeypatch.setattr(panels, "panel", broken)
    with pytest.raises(KeyError, match="colour"):
        write_report(run)


def test_tuning_has_the_scores_of_both_halves(light, page):
    tried = {"score": 0.5125, "gain": None, "check_score": 0.4875, "check_gain": None, "on": True}
    flips = {"score": 0.5625, "gain": 0.05, "check_score": 0.4775, "check_gain": -0.01, "on": False}
    tuning = {
        **{"held_out_images": 11, "selection_images": 6, "check_images": 5, "networks": 1, "monitor": "dice"},
        **{"score": 0.5125, "check_score": 0.4875, "notes": ["A note."], "tta": [], "fill_holes": False},
        **{"threshold": None, "min_component_sizes": None, "search": None},
        "options": [{"name": "as trained", **tried}, {"name": HOSTILE, **flips}],
    }
    (light / "tuning.json").write_text(json.dumps(tuning))
    text = read(light).text
    assert "chosen on 6 images (selection half) and checked on 5 other images (check half)" in text
    assert f"{HOSTILE} 0.5625 +0.0500 0.4775 -0.0100 off" in text
    assert "mean Dice coefficient of both halves" in text
    assert "A note." in text
    assert "check half" not in page.text


def test_an_interrupted_training_is_reported(light, page):
    facts = json.loads((light / "run.json").read_text())
    (light / "run.json").write_text(json.dumps({**facts, "stopped_by": "interrupt"}))
    assert "Training was interrupted" in read(light).text
    assert "Training was interrupted" not in page.text


@pytest.mark.parametrize("file", ["scores.json", "history.csv", "split.csv", "run.json", "tuning.json"])
def test_a_damaged_file_is_an_error_and_keeps_the_old_page(light, file):
    before = write_report(light).read_bytes()
    (light / file).write_text("{}\n{}\n")
    with pytest.raises(DamagedRunFile, match=file):
        write_report(light)
    assert (light / "report.html").read_bytes() == before


def test_a_damaged_bundle_is_an_error_of_the_bundle(run):
    (run / "bundle.json").write_text("{}")
    with pytest.raises(UnreadableBundle, match=r"bundle\.json"):
        write_report(run)


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(NotARun, match=r"recipe\.yaml"):
        write_report(tmp_path)


def test_a_report_loads_no_training_framework():
    code = "import sys, maskwright.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "matplotlib" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "matplotlib.pyplot"} & set(loaded)
