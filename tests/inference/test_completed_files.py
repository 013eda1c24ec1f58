import os

import pytest

from maskwright.inference.completed_files import COMPLETED_FILE, CompletedFiles, file_state


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"image")
    return tmp_path / "in/a.png"


@pytest.fixture
def results(tmp_path):
    (tmp_path / "out/deep").mkdir(parents=True)
    for name in ("a.overlay.png", "a.png"):
        (tmp_path / "out/deep" / name).write_bytes(b"mask")
    return [tmp_path / "out/deep/a.overlay.png", tmp_path / "out/deep/a.png"]


@pytest.fixture
def out(tmp_path, source, results):
    CompletedFiles.start(tmp_path / "out", "job").add(source, file_state(source), results)
    return tmp_path / "out"


def change(path, **what):
    """Give ``path`` other content, or another time; what is not named stays as it was."""
    before = path.stat()
    if "content" in what:
        path.write_bytes(what["content"])
    os.utime(path, ns=(before.st_atime_ns, what.get("time", before.st_mtime_ns)))


def test_what_was_added_is_held_by_the_next_reader(out, source, results):
    assert CompletedFiles.read(out, "job").holds(source, results)
    assert not CompletedFiles.read(out, "job").holds(source, results[1:])  # an overlay is part of it


@pytest.mark.parametrize("which", ["source", 0, 1])
@pytest.mark.parametrize("how", [{"content": b"cut"}, {"time": 10**18}, {"time": 4 * 10**18}], ids=str)
def test_any_change_of_size_or_time_ends_it_older_or_newer(out, source, results, which, how):
    change(source if which == "source" else results[which], **how)
    assert not CompletedFiles.read(out, "job").holds(source, results)


@pytest.mark.parametrize("gone", ["source", 0, 1])
def test_a_file_that_is_gone_ends_it(out, source, results, gone):
    (source if gone == "source" else results[gone]).unlink()
    assert not CompletedFiles.read(out, "job").holds(source, results)


def test_a_result_taken_away_before_it_was_recorded_is_not_held(out, source, results):
    results[1].unlink()
    CompletedFiles.read(out, "job").add(source, file_state(source), results)
    assert not CompletedFiles.read(out, "job").holds(source, results)


def test_another_image_of_the_same_size_and_time_is_another_image(out, source, results):
    other = source.with_name("b.png")
    other.write_bytes(b"IMAGE")
    os.utime(other, ns=(0, source.stat().st_mtime_ns))
    assert not CompletedFiles.read(out, "job").holds(other, results)


def test_another_job_starts_afresh(out, source, results):
    assert not CompletedFiles.read(out, "other").holds(source, results)
    assert not CompletedFiles.read(out, "job").holds(source, results)  # and takes the folder over


def test_the_last_word_on_a_result_counts(out, source, results):
    change(source, content=b"longer image")
    CompletedFiles.read(out, "job").add(source, file_state(source), results)
    assert CompletedFiles.read(out, "job").holds(source, results)


def test_a_file_cut_anywhere_loses_only_what_was_cut_and_takes_more(out, source, results):
    file, other = out / COMPLETED_FILE, source.with_name("b.png")
    other.write_bytes(b"another")
    second = [out / "b.png"]
    second[0].write_bytes(b"its mask")
    first_line = len(file.read_bytes())
    CompletedFiles.read(out, "job").add(other, file_state(other), second)
    whole = file.read_bytes()
    for length in range(first_line, len(whole)):
        file.write_bytes(whole[:length])
        cut = CompletedFiles.read(out, "job")
        assert cut.holds(source, results)
        assert cut.holds(other, second) == (length == len(whole) - 1)  # only the line's end is missing
        cut.add(other, file_state(other), second)
        again = CompletedFiles.read(out, "job")
        assert again.holds(source, results)
        assert again.holds(other, second)


@pytest.mark.parametrize("rubbish", [b"\0" * 40, b"[1, 2]", b'{"result": 3}', b"\xff\xfe", b""])
def test_rubbish_between_lines_is_passed_over(out, source, results, rubbish):
    file = out / COMPLETED_FILE
    head, line, _ = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([head, rubbish, line, rubbish]))
    assert CompletedFiles.read(out, "job").holds(source, results)


@pytest.mark.parametrize("head", [b"", b"\0\0\0", b'{"job": "jo'])
def test_a_spoiled_first_line_counts_as_nothing_finished(out, source, results, head):
    (out / COMPLETED_FILE).write_bytes(head)
    assert not CompletedFiles.read(out, "job").holds(source, results)


def test_no_file_is_told_from_an_empty_one(tmp_path):
    assert CompletedFiles.read(tmp_path, "job") is None
    CompletedFiles.start(tmp_path, "job")
    assert CompletedFiles.read(tmp_path, "job") is not None
