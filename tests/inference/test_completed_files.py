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
    """Change the content or the time of ``path``, and keep the other."""
    before = path.stat()
    if "content" in what:
        path.write_bytes(what["content"])
    os.utime(path, ns=(before.st_atime_ns, what.get("time", before.st_mtime_ns)))


def test_added_results_are_held_after_reading(out, source, results):
    assert CompletedFiles.read_or_start(out, "job").holds(source, results)
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results[1:])  # the overlay is one of the files


@pytest.mark.parametrize("which", ["source", 0, 1])
@pytest.mark.parametrize("how", [{"content": b"cut"}, {"time": 10**18}, {"time": 4 * 10**18}], ids=str)
def test_a_change_of_size_or_time_invalidates_a_result(out, source, results, which, how):
    change(source if which == "source" else results[which], **how)
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results)


@pytest.mark.parametrize("missing", ["source", 0, 1])
def test_a_missing_file_invalidates_a_result(out, source, results, missing):
    (source if missing == "source" else results[missing]).unlink()
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results)


def test_a_result_removed_before_it_is_recorded_is_not_held(out, source, results):
    results[1].unlink()
    CompletedFiles.read_or_start(out, "job").add(source, file_state(source), results)
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results)


def test_images_of_equal_size_and_time_are_told_apart_by_path(out, source, results):
    other = source.with_name("b.png")
    other.write_bytes(b"IMAGE")
    os.utime(other, ns=(0, source.stat().st_mtime_ns))
    assert not CompletedFiles.read_or_start(out, "job").holds(other, results)


def test_another_job_starts_with_no_results(out, source, results):
    assert not CompletedFiles.read_or_start(out, "other").holds(source, results)
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results)  # the other job has replaced the file


def test_the_last_record_of_a_result_counts(out, source, results):
    change(source, content=b"longer image")
    CompletedFiles.read_or_start(out, "job").add(source, file_state(source), results)
    assert CompletedFiles.read_or_start(out, "job").holds(source, results)


def test_a_file_truncated_anywhere_loses_only_the_truncated_line(out, source, results):
    file, other = out / COMPLETED_FILE, source.with_name("b.png")
    other.write_bytes(b"another")
    second = [out / "b.png"]
    second[0].write_bytes(b"its mask")
    first_line = len(file.read_bytes())
    CompletedFiles.read_or_start(out, "job").add(other, file_state(other), second)
    whole = file.read_bytes()
    for length in range(first_line, len(whole)):
        file.write_bytes(whole[:length])
        cut = CompletedFiles.read_or_start(out, "job")
        assert cut.holds(source, results)
        assert cut.holds(other, second) == (length == len(whole) - 1)  # only the line end is missing
        cut.add(other, file_state(other), second)
        again = CompletedFiles.read_or_start(out, "job")
        assert again.holds(source, results)
        assert again.holds(other, second)


@pytest.mark.parametrize("invalid", [b"\0" * 40, b"[1, 2]", b'{"result": 3}', b"\xff\xfe", b""])
def test_invalid_lines_are_skipped(out, source, results, invalid):
    file = out / COMPLETED_FILE
    head, line, _ = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([head, invalid, line, invalid]))
    assert CompletedFiles.read_or_start(out, "job").holds(source, results)


@pytest.mark.parametrize("head", [b"", b"\0\0\0", b'{"job": "jo'])
def test_an_invalid_first_line_discards_all_results(out, source, results, head):
    (out / COMPLETED_FILE).write_bytes(head)
    assert not CompletedFiles.read_or_start(out, "job").holds(source, results)


def test_a_missing_file_is_started(tmp_path, source, results):
    out = tmp_path / "out"
    completed = CompletedFiles.read_or_start(out, "job")
    assert not completed.holds(source, results)
    completed.add(source, file_state(source), results)
    assert CompletedFiles.read_or_start(out, "job").holds(source, results)
