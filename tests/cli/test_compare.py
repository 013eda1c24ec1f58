"""The command ``compare``."""

import pytest

from tests.compare.runs_to_compare import drawn_masks, write_run


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / name, drawn_masks("1234", wrong=wrong)) for name, wrong in (("a", 0.4), ("b", 0.2))]


def test_scores_are_printed_and_a_page_is_written(runs, tmp_path, maskwright_command):
    code, out, err = maskwright_command("compare", *runs, "--out", tmp_path / "new/page.html")
    assert (code, err) == (0, "")
    assert "4 validation images" in out
    assert "vs. a" in out
    assert f"page:    {tmp_path / 'new/page.html'}\n" in out
    assert "</html>" in (tmp_path / "new/page.html").read_text(encoding="utf-8")


def test_without_out_nothing_is_written(runs, tmp_path, maskwright_command):
    before = sorted(tmp_path.rglob("*"))
    assert maskwright_command("compare", *runs)[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_page_is_replaced_only_with_overwrite(runs, tmp_path, maskwright_command):
    page = tmp_path / "page.html"
    page.write_text("mine")
    code, _, err = maskwright_command("compare", *runs, "--out", page)
    assert code == 1
    assert err == f"error: --out {page}: found an existing file; expected a new name, or --overwrite.\n"
    assert page.read_text() == "mine"
    assert maskwright_command("compare", *runs, "--out", page, "--overwrite")[0] == 0
    assert page.read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(("name", "suffix"), [("page", "no suffix"), ("scores.json", "the suffix .json")])
def test_a_page_requires_the_suffix_html(runs, tmp_path, maskwright_command, name, suffix):
    code, _, err = maskwright_command("compare", *runs, "--out", tmp_path / name)
    assert code == 2
    assert f"--out {tmp_path / name} has {suffix}; expected a name in .html" in err
    assert not (tmp_path / name).exists()


def test_an_error_is_one_line_that_names_the_run(runs, tmp_path, maskwright_command):
    (runs[1] / "scores.json").unlink()
    for given, words in (
        (runs, f"error: {runs[1]}: the run is unfinished (scores.json is missing)"),
        (runs[:1], f"error: cannot compare {runs[0]}; expected two or more different runs"),
        ([runs[0], tmp_path / "none"], "none: not a run: there is no such folder"),
    ):
        code, _, err = maskwright_command("compare", *given)
        assert code == 1
        assert words in err
        assert err.count("\n") == 1
