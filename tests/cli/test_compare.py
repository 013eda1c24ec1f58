"""`maskwright compare` as people call it."""

import pytest

from tests.compare.runs_to_compare import drawn_masks, write_run


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / name, drawn_masks("1234", wrong=wrong)) for name, wrong in (("a", 0.4), ("b", 0.2))]


def test_scores_are_printed_and_a_page_is_written(runs, tmp_path, maskwright_command):
    code, out, err = maskwright_command("compare", *runs, "--out", tmp_path / "new/page.html")
    assert (code, err) == (0, "")
    assert "Scores are of the 4 validation images that all runs share." in out
    assert "against a" in out
    assert "page:    " in out
    assert "</html>" in (tmp_path / "new/page.html").read_text(encoding="utf-8")


def test_without_out_nothing_is_written(runs, tmp_path, maskwright_command):
    before = sorted(tmp_path.rglob("*"))
    assert maskwright_command("compare", *runs)[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_replaces_another_only_with_leave(runs, tmp_path, maskwright_command):
    page = tmp_path / "page.html"
    page.write_text("mine")
    code, _, err = maskwright_command("compare", *runs, "--out", page)
    assert code == 1
    assert "page.html: is there already; expected a new name, or --overwrite" in err
    assert page.read_text() == "mine"
    assert maskwright_command("compare", *runs, "--out", page, "--overwrite")[0] == 0
    assert page.read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(("name", "found"), [("page", "the suffix is missing"), ("scores.json", "the suffix is .json")])
def test_a_name_of_no_page_is_refused(runs, tmp_path, maskwright_command, name, found):
    code, _, err = maskwright_command("compare", *runs, "--out", tmp_path / name)
    assert code == 1
    assert f"{name}: {found}; expected a name in .html" in err


def test_mistakes_are_one_line_that_names_the_run(runs, tmp_path, maskwright_command):
    (runs[1] / "scores.json").unlink()
    for given, words in (
        (runs, f"error: {runs[1]}: has not finished, scores.json is missing"),
        (runs[:1], f"error: cannot compare {runs[0]}; expected two or more runs"),
        ([runs[0], tmp_path / "none"], "none: not a run: there is no such folder"),
    ):
        code, _, err = maskwright_command("compare", *given)
        assert code == 1
        assert words in err
        assert err.count("\n") == 1
