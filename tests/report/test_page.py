"""The page tells what the files of the run say, and nothing in them can break it."""

import json
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import InputError
from maskwright.inference.engines.engine import NotARun
from maskwright.report import panels, write_report
from maskwright.report.panels import worst_and_best
from maskwright.report.run_contents import DamagedRunFile, ImageScore
from tests.report.a_page import Page
from tests.report.a_run import GHOST, HOSTILE, MATHS, gray, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run <b>", data=tmp_path / "data")


@pytest.fixture
def light(run):
    """A run without curves and pictures, which take the time."""
    stored = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps({**stored, "images": []}))
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


def test_the_headline_says_how_good_how_long_and_on_what(page):
    assert (
        "Mean IoU 0.650 Pixel accuracy 0.943 Time 1 min 58 s 1 234 steps Images 12 1 to train, 11 to validate"
        in page.text
    )


def test_each_class_has_its_line(page):
    assert f"{HOSTILE} 0.500 0.111 0.222 0.333 8 7" in page.text
    assert f"{MATHS} 0.800 0.111 0.222 0.333 5 4" in page.text


def test_an_absent_class_is_named_with_the_rule(page):
    assert f"{GHOST} – – – – 0 0" in page.text
    assert "found in neither the masks nor the predictions has no score and is left out of the mean" in page.text
    assert f"Left out here: {GHOST} ." in page.text


def test_the_confusion_matrix_is_of_rows(page):
    assert f"{HOSTILE} 37.5 % 3 62.5 % 5 0.0 % 0 0.0 % 0" in page.text
    assert f"{MATHS} 20.0 % 1 0.0 % 0 80.0 % 4 0.0 % 0" in page.text
    assert f"{GHOST} – 0 – 0 – 0 – 0" in page.text


def test_the_greatest_validation_score_is_marked_in_its_curve(page):
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
def test_few_images_are_shared_out_between_worst_and_best(images, worst, best):
    scored = [ImageScore(name=f"{n:02}", mean_iou=n / 30, pixel_accuracy=1.0) for n in range(images)]
    assert worst_and_best(scored[::-1]) == (scored[:worst], scored[images - best :][::-1])


def test_a_panel_shows_its_own_image_and_mistakes(page):
    panels = [decoded(source) for source in page.sources if source.startswith("data:image/webp")][:9]
    shown = [np.median(picture[60:200, 100:200]) for picture in panels]  # the first tile
    assert shown == pytest.approx([gray(number) for number in (1, 2, 3, 4, 5, 6, 10, 9, 8)], abs=4)
    missed, right = (np.median(panels[at][60:200, -200:-100], axis=(0, 1)) for at in (0, 6))
    assert missed[2] > missed[0] + 100  # blue: every pixel of the worst image is missed
    assert np.ptp(right) < 10  # gray: none of the best image is wrong


def test_the_recipe_the_data_and_the_versions_are_there(page):
    assert "The recipe" in page.text
    assert '"mask_values": {"0": "background"' in page.text
    assert "held out of the same folders" in page.text
    assert "3 channels of uint8" in page.text
    assert "command maskwright train --out <here>" in page.text
    assert "parameters 24 456 154" in page.text
    assert "keras 3.15.1" in page.text


def test_names_are_text_never_markup(page):
    assert "script" not in page.tags
    assert {"b", "html"} <= set(page.tags)
    assert page.texts.count("run <b>") == 1
    assert "run <b> – segmentation report" in page.texts


def test_the_page_needs_nothing_but_itself(run):
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not [name for name, _ in page.attributes if name == "href" or name.startswith("on")]
    outside = re.sub(r"data:image/[^\"]*", "", text)
    assert not re.search(r"https?:|//|url\(|@import", outside.replace(str(run.parent), ""))


def test_what_was_not_measured_is_never_printed_as_nan(page):
    assert not re.search(r"\b(nan|none|null|inf)\b", page.text.replace("None is left out", ""), re.IGNORECASE)
    assert "rate –" in page.text


def test_the_same_run_makes_the_same_page(run):
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("scores.json", "There is no scores.json in this run"),
        ("history.csv", "There are no curves: history.csv is missing"),
        ("bundle.json", "What the mask values mean is not known: bundle.json is missing"),
        ("split.csv", "Which pair is on which side is not known: split.csv is missing"),
        ("augmented.png", "There is no sheet of augmented patches"),
        ("run.json", "Versions and machine are not known: run.json is missing"),
    ],
)
def test_a_missing_file_costs_its_section_and_no_other(light, page, missing, sentence):
    (light / missing).unlink(missing_ok=True)
    shorter = read(light)
    assert sentence in shorter.text
    assert sentence not in page.text
    assert shorter.tags.count("section") == page.tags.count("section")


def test_a_recipe_alone_makes_a_page(light):
    for file in ("scores.json", "bundle.json", "split.csv", "augmented.png", "run.json"):
        (light / file).unlink()
    assert "Mean IoU – Pixel accuracy – Time – Images –" in read(light).text


def test_what_is_gone_is_told_in_its_place(run, tmp_path):
    split = run / "split.csv"
    split.write_text("\n".join(line for line in split.read_text().splitlines() if not line.startswith("a/01")) + "\n")
    (tmp_path / "data/images/a/00.png").unlink()
    page = read(run)
    assert re.search(r"Cannot be shown: \S*a/00\.png: .* a/00 mean IoU 0\.050", page.text)
    assert re.search(r"Cannot be shown: \S.*split\.csv has no such image\. a/01", page.text)
    assert sum(source.startswith("data:image/webp") for source in page.sources) == 7 + 1  # panels, and the sheet


def test_a_fault_of_the_drawing_is_not_taken_for_an_image_that_is_gone(run, monkeypatch):
    def broken(*_, **__):
        raise KeyError("colour")

    monkeypatch.setattr(panels, "panel", broken)
    with pytest.raises(KeyError, match="colour"):
        write_report(run)


def test_an_interrupted_training_is_said_to_be_one(light, page):
    facts = json.loads((light / "run.json").read_text())
    (light / "run.json").write_text(json.dumps({**facts, "stopped_by": "interrupt"}))
    assert "interrupted before its end" in read(light).text
    assert "interrupted before its end" not in page.text


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("scores.json", "{}", r"scores\.json: cannot be read \(ValidationError: .*expected what a training wrote"),
        ("history.csv", "step\nten\n", r"history\.csv: cannot be read \(ValueError: "),
        ("history.csv", "a,b\n1,2\n", r"history\.csv: cannot be read \(KeyError: 'step'\)"),
        ("split.csv", "name\nx\n", r"split\.csv: cannot be read \(KeyError: "),
        ("run.json", "[]", r"run\.json: cannot be read \(TypeError: list in place of an object\)"),
        ("run.json", "{", r"run\.json: cannot be read \(JSONDecodeError: .*Move the file away for a page without it\."),
    ],
)
def test_a_damaged_file_stops_and_leaves_the_old_page(light, file, content, words):
    before = write_report(light).read_bytes()
    (light / file).write_text(content)
    with pytest.raises(DamagedRunFile, match=words):
        write_report(light)
    assert (light / "report.html").read_bytes() == before


def test_a_damaged_bundle_is_told_in_its_own_words(run):
    (run / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match=r"bundle\.json: not a bundle this version can read"):
        write_report(run)


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(NotARun, match=r"recipe\.yaml is missing"):
        write_report(tmp_path)


def test_a_report_loads_no_training_framework():
    code = "import sys, maskwright.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "matplotlib" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "matplotlib.pyplot"} & set(loaded)
