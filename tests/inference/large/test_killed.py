"""A process that is killed at any moment; the same call then writes the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from maskwright.errors import InputError
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from tests.inference.box_engine import Box, mask_of, noise

ROOT = Path(__file__).parents[3]
PREDICT = """
import sys, time
from pathlib import Path
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from tests.inference.box_engine import Box

class Slow(Box):
    def __call__(self, images):
        time.sleep(0.02)  # leaves time to interrupt it
        return super().__call__(images)

job = LargePredictionJob(Slow(radius=40), "weights", Path(sys.argv[1]))
print("begun", flush=True)
predict_large(job, sys.argv[2], progress=lambda done, total: print(done, flush=True))
"""


STEPS = """
import sys
from pathlib import Path
from tests.inference.large.test_killed import ended_at_each_step

folder, name, late, overwrite = sys.argv[1:]
ended_at_each_step(Path(folder), name, late=late == "True", overwrite=overwrite == "True")
"""


def start(image, out):
    command = [sys.executable, "-c", PREDICT, str(image), str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def image(tmp_path):
    np.save(tmp_path / "a.npy", noise(2200, 2300))
    return tmp_path / "a.npy"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_several_times_the_result_is_byte_identical(tmp_path, image):
    whole, out = tmp_path / "whole" / "mask.tif", tmp_path / "killed" / "mask.tif"
    predict_large(LargePredictionJob(Box(radius=40), "weights", image), whole)
    np.testing.assert_array_equal(tifffile.imread(whole), mask_of(np.load(image), 40))
    rng, kills = random.Random(0), 0
    for lines in (1, 3, 2):  # after so many lines of progress, and up to 0.1 s more
        process = start(image, out)
        for _ in range(lines):
            process.stdout.readline()
        try:
            process.wait(rng.uniform(0, 0.1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 2
    assert start(image, out).wait() == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == ["mask.tif", "mask.tif.json"]
    assert (out.parent / "mask.tif.json").read_bytes() == (whole.parent / "mask.tif.json").read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is ended between two steps of its own")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("name", "package"),
    [("mask.tif", None), ("mask.zarr", "zarr"), ("outlined.tif", "rasterio")],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_ended_at_any_step_on_disk_the_result_is_byte_identical(tmp_path, late, name, package, overwrite):
    if package:
        pytest.importorskip(package)
    check_steps(tmp_path, name, late=late, overwrite=overwrite)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is ended between two steps of its own")
def test_ended_at_any_step_of_the_clean_up_the_result_is_byte_identical(tmp_path):
    check_steps(tmp_path, "cleaned.tif", late=False, overwrite=False)


def check_steps(folder, name, *, late, overwrite):
    # A new process has no threads of the libraries that other tests use, which a fork does not continue.
    command = [sys.executable, "-c", STEPS, folder, name, str(late), str(overwrite)]
    ran = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def ended_at_each_step(folder, name, *, late, overwrite):
    np.save(folder / "a.npy", noise(300, 100))
    steps = [(Path, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "rmdir")]
    outlined = name == "outlined.tif"
    cleaned = {"fill_holes": True, "min_component_sizes": (0, 30)} if name == "cleaned.tif" else {}
    if cleaned:
        steps.append((zipfile.ZipFile, "read"))  # each pass over the finished blocks

    def job(folder, margin=32):
        outlines = folder / "p.geojson" if outlined else None
        return LargePredictionJob(
            Box(radius=margin, tile=160, **cleaned),
            "weights",
            folder.parent / "a.npy",
            margin=margin,
            polygons=outlines,
        )

    whole, older = folder / "whole", folder / "older"
    predict_large(job(whole), whole / name)
    predict_large(job(older, margin=64), older / name)
    for step in range(1, 60):
        begun = folder / str(step)
        if overwrite:
            shutil.copytree(older, begun)
        process = os.fork()
        if process == 0:
            try:
                end_at(step, steps, late=late)
                predict_large(job(begun), begun / name, overwrite=overwrite)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code in (0, 9)
        if overwrite:  # the older job never reuses the newer result
            with suppress(InputError):
                assert predict_large(job(begun, margin=64), begun / name).already_done
                assert contents(begun / name) == contents(older / name)
        predict_large(job(begun), begun / name, overwrite=overwrite)
        assert contents(begun / name) == contents(whole / name)
        assert contents(begun / f"{name}.json") == contents(whole / f"{name}.json")
        assert not outlined or contents(begun / "p.geojson") == contents(whole / "p.geojson")
        assert not (begun / f"{name}.parts").exists()
        if code == 0:
            break
    assert code == 0
    assert step > 8  # claim, two blocks, result, record, and their removal


def contents(result):
    files = (path for path in result.rglob("*") if path.is_file()) if result.is_dir() else [result]
    return {path.relative_to(result): path.read_bytes() for path in files}


def end_at(count, methods, *, late):
    """End this process without cleanup before or after the given number of calls of the methods."""
    calls = []

    def counted(function):
        def call(*arguments, **options):
            calls.append(function)
            if len(calls) == count and not late:
                os._exit(9)
            try:
                return function(*arguments, **options)
            finally:
                if len(calls) == count:
                    os._exit(9)

        return call

    for owner, name in methods:
        setattr(owner, name, counted(getattr(owner, name)))


def test_a_second_process_fails_while_the_first_runs(tmp_path, image):
    first = start(image, tmp_path / "mask.tif")
    while first.stdout.readline() != "1\n":
        assert first.poll() is None
    second = start(image, tmp_path / "mask.tif")
    _, error = second.communicate()
    assert second.returncode == 1
    assert "mask.tif: another process" in error
    first.communicate()
    assert first.returncode == 0
