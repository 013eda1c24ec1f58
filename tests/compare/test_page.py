"""The page and the terminal tables show the whole comparison, and no name in it can break them."""

import re
from base64 import b64decode

import pytest
from rich.console import Console

from maskwright.compare import compare_runs
from maskwright.compare.page import render, write_page
from maskwright.compare.tables import comparison_tables
from maskwright.compare.text import HOW_TO_READ, format_interval
from tests.compare.runs_to_compare import change_json, drawn_masks, write_run
from tests.report.a_page import Page

HISTORY_COLUMNS = "epoch,step,seconds,learning_rate,loss,val_mean_iou,val_pixel_accuracy"
HOSTILE = ("background", "<script>alert(1)</script>", "[red]$\\frac{")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder, names = tmp_path_factory.mktemp("runs"), [f"{number:02}" for number in range(24)]
    runs = [
        write_run(folder / name, drawn_masks(names, wrong=wrong), classes=HOSTILE)
        for name, wrong in (("_first <b>", 0.4), ("$second$ [bold]", 0.2), ("third", 0.4))
    ]
    change_json(runs[1] / "run.json", stopped_by="interrupt")
    return compare_runs(runs)


@pytest.fixture(scope="module")
def page(comparison):
    return Page(render(comparison))


@pytest.fixture(scope="module")
def printed(comparison):
    console = Console(width=160)
    with console.capture() as printed:
        console.print(comparison_tables(comparison))
    return " ".join(printed.get().split())


def score_texts(comparison):
    for measure in comparison.measures:
        for run in measure.runs:
            yield f"{run.run} {run.score.value:.3f} {format_interval(run.score)}"


def test_every_score_and_interval_is_on_the_page(comparison, page):
    for text in score_texts(comparison):
        assert text in page.text
    second = comparison.measures[0].runs[1]
    assert f"+{second.difference.value:.3f} {format_interval(second.difference, signed=True)}" in page.text
    assert format_interval(second.difference, signed=True).startswith("[+0.")


def test_every_score_and_interval_is_in_the_tables(comparison, printed):
    for text in score_texts(comparison):
        assert text in printed
    second = comparison.measures[0].runs[1]
    assert f"+{second.difference.value:.3f} {format_interval(second.difference, signed=True)}" in printed
    assert "vs. _first <b>" in printed
    assert "1 min 58 s 1 234 14 456 154 1.5 MB 20 ms float32, jax" in printed.replace("\u2009", " ")


def test_notes_and_reading_help_are_in_both(comparison, page, printed):
    for text in (page.text, printed):
        assert "$second$ [bold]." in comparison.notes[1]
        assert HOW_TO_READ in text
        assert all(note in text for note in comparison.notes)


def test_the_curves_have_a_line_for_each_run(page):
    (source,) = page.sources
    svg = b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    assert [word for word in ("_first", "$second$", "third", "minutes") if word in svg] == [
        *("_first", "$second$", "third", "minutes")
    ]


def test_runs_without_validations_have_no_curve(tmp_path):
    runs = [write_run(tmp_path / name, drawn_masks("12", wrong=0.2)) for name in "ab"]
    for run in runs:
        (run / "history.csv").write_text(f"{HISTORY_COLUMNS}\n1,10,9.0,0.1,1.0,,\n")
    page = Page(render(compare_runs(runs)))
    assert not page.sources
    assert "no curves" in page.text
    assert "recipes are the same" in page.text


def test_differences_whose_interval_excludes_zero_are_bold(comparison, page):
    bold = [value for name, value in page.attributes if (name, value) == ("class", "significant")]
    found = [run.difference.excludes_zero for m in comparison.measures for run in m.runs if run.difference]
    assert len(bold) == sum(found) == 4  # all of the second run, none of the third, which equals the first
    assert len(found) == 8


def test_names_are_escaped_and_no_external_resources_are_used(comparison, page, tmp_path):
    assert "script" not in page.tags
    assert "_first <b>, $second$ [bold], third – comparison of runs" in page.texts
    write_page(comparison, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", re.sub(r"data:image/[^\"]*", "", text))
    assert text == render(comparison)  # rendering is deterministic
