"""A process killed by SIGKILL around each kind of step: no result is lost, and few are predicted twice."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.inference.completed_files import COMPLETED_FILE
from maskwright.inference.predict_folder import PredictionJob, predict_files
from tests.inference.fake_engines import Brightness

ROOT = Path(__file__).parents[2]

# Predicts a folder and kills itself around the nth call of one function.
CHILD = """
import os, signal, sys, threading
from pathlib import Path
from maskwright.inference.completed_files import CompletedFiles
from maskwright.inference.predict_folder import PredictionJob, predict_files
from tests.inference.fake_engines import Brightness

images, out, where, moment, left = *map(Path, sys.argv[1:3]), *sys.argv[3:5], int(sys.argv[5])
owners = {"rename": (Path, "replace"), "record": (CompletedFiles, "add"), "line": (CompletedFiles, "_append")}
owner, name = owners[where]
original = getattr(owner, name)

calls, lock = 0, threading.Lock()

def killing(*arguments):
    global calls
    with lock:  # several threads write
        calls += 1
        is_last = calls == left
    if is_last and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    if is_last and moment == "within":
        original(arguments[0], arguments[1][:20])
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, killing)
predict_files(PredictionJob(Brightness(), "x"), [images], out)
"""
MOMENTS = [
    ("rename", "before", 1),
    ("rename", "after", 1),
    ("rename", "after", 2),
    ("rename", "before", 5),
    ("rename", "after", 4),
    ("record", "before", 3),
    ("line", "within", 3),
    ("record", "after", 4),
]


def recorded(out):
    if not (out / COMPLETED_FILE).exists():
        return set()
    names = set()
    for line in (out / COMPLETED_FILE).read_bytes().splitlines()[1:]:
        try:
            names.add(json.loads(line)["result"])
        except ValueError:
            continue
    return names


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_command_killed_repeatedly_ends_with_the_same_files(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(tmp_path / f"in/{number:02}.png")
    images, uninterrupted, killed = tmp_path / "in", tmp_path / "uninterrupted", tmp_path / "killed"
    predict_files(PredictionJob(Brightness(), "x"), [images], uninterrupted)

    for where, moment, count in MOMENTS:
        before = recorded(killed)
        command = [sys.executable, "-c", CHILD, images, killed, where, moment, count]
        child = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
        assert child.returncode == -signal.SIGKILL, child.stderr
        for mask in killed.glob("[!.]*"):
            assert mask.read_bytes() == (uninterrupted / mask.name).read_bytes()  # complete at every moment
        assert before <= recorded(killed)

    done = recorded(killed)
    assert 8 <= len(done) < 40
    results = predict_files(PredictionJob(Brightness(), "x"), [images], killed)
    assert {result.source.name for result in results if result.already_done} == done
    for mask in uninterrupted.glob("[!.]*"):
        assert mask.read_bytes() == (killed / mask.name).read_bytes()
    assert all(result.already_done for result in predict_files(PredictionJob(Brightness(), "x"), [images], killed))
