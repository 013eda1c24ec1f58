"""The page and the tables say what the comparison holds, and no name in it can break them."""

import re
from base64 import b64decode

import pytest
from rich.console import Console

from maskwright.compare import compare_runs
from maskwright.compare.page import render, write_page
from maskwright.compare.tables import tables
from maskwright.compare.text import span
from tests.compare.runs_to_compare import change_json, drawn_masks, write_run
from tests.report.a_page import Page

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
        console.print(tables(comparison))
    return " ".join(printed.get().split())


def lines(comparison):
    for measure in comparison.measures:
        for line in measure.lines:
            yield f"{line.run} {line.score.value:.3f} {span(line.score)}"


def test_every_score_and_interval_is_on_the_page(comparison, page):
    for line in lines(comparison):
        assert line in page.text
    second = comparison.measures[0].lines[1]
    assert f"+{second.difference.value:.3f} {span(second.difference, signed=True)}" in page.text
    assert span(second.difference, signed=True).startswith("[+0.")


def test_every_score_and_interval_is_in_the_tables(comparison, printed):
    for line in lines(comparison):
        assert line in printed
    second = comparison.measures[0].lines[1]
    assert f"+{second.difference.value:.3f} {span(second.difference, signed=True)}" in printed
    assert "against _first <b>" in printed
    assert "1 min 58 s 1 234 14 456 154 1.5 MB 20 ms float32" in printed.replace("\u2009", " ")


def test_notes_and_how_to_read_are_in_both(comparison, page, printed):
    for text in (page.text, printed):
        assert "Interrupted before the end: $second$ [bold]." in text
        assert "another seed of the training would give is not in them" in text
        assert all(note in text for note in comparison.notes)


def test_curves_have_a_line_for_each_run(page):
    (source,) = page.sources
    svg = b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    assert [word for word in ("_first", "$second$", "third", "minutes") if word in svg] == [
        *("_first", "$second$", "third", "minutes")
    ]


def test_runs_that_were_never_validated_have_no_curve(tmp_path):
    runs = [write_run(tmp_path / name, drawn_masks("12", wrong=0.2)) for name in "ab"]
    for run in runs:
        (run / "history.csv").write_text("step,seconds,learning_rate,loss,val_mean_iou\n10,9.0,0.1,1.0,\n")
    page = Page(render(compare_runs(runs)))
    assert not page.sources
    assert "There are no curves" in page.text
    assert "Nothing: the recipes are the same." in page.text


def test_bold_is_what_leaves_out_zero(comparison, page):
    apart = [value for name, value in page.attributes if (name, value) == ("class", "apart")]
    found = [line.difference.excludes_zero for m in comparison.measures for line in m.lines if line.difference]
    assert len(apart) == sum(found) == 4  # the second run in all, the third, which is the first again, in none
    assert len(found) == 8


def test_names_are_text_and_the_page_needs_nothing_else(comparison, page, tmp_path):
    assert "script" not in page.tags
    assert "_first <b>, $second$ [bold], third – comparison of runs" in page.texts
    write_page(comparison, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", re.sub(r"data:image/[^\"]*", "", text))
    assert text == render(comparison)  # the same runs make the same page
