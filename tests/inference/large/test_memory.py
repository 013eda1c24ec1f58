import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskwright.images.windows.write_tiff import write_tiff

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory differently")

ROOT = Path(__file__).parents[3]
PREDICT = """
import sys
from pathlib import Path
from maskwright.inference.large.predict_large import LargePredictionJob, predict_large
from maskwright.images.windows import segments
from tests.inference.fake_engines import Brightness
segments._CACHE_BYTES = 2**23  # the reader's cache is bounded; these images do not fill the default bound
predict_large(LargePredictionJob(Brightness(), "weights", Path(sys.argv[1]), margin=32), sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def peak(folder, side):
    """Return the peak memory in MiB of a process that predicts a square of this side."""
    tiles_per_side = -(-side // 256)
    sides = [min(256, side - 256 * index) for index in range(tiles_per_side)]
    tiles = (np.zeros((height, width), np.uint8) for height in sides for width in sides)
    write_tiff(folder / f"{side}.tif", tiles, height=side, width=side, bands=1, dtype="uint8", tile=256)
    command = [sys.executable, "-c", PREDICT, str(folder / f"{side}.tif"), str(folder / f"{side}.mask.tif")]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout) // 1024


def test_peak_memory_excludes_that_of_the_parent_process():
    held = np.ones(2**26)  # 512 MiB, which a child process shares at its start
    code = "from maskwright.inference.large.cost import peak_memory; print(peak_memory())"
    found = int(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True).stdout)
    assert 2**22 < found < 2**28 < held.nbytes


def test_memory_does_not_grow_with_the_image(tmp_path):
    small, large = peak(tmp_path, 4000), peak(tmp_path, 9000)
    assert large - small < 30  # the larger image has 62 MiB more, and so has its mask
