import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskwright.images.windows.write_tiff import write_tiff

PREDICT = """
import resource, sys
from pathlib import Path
from maskwright.inference.large.predict import LargeJob, predict_large
from maskwright.images.windows import segments
from tests.inference.engines import Brightness
segments._KEPT = 2**23  # what the reader keeps grows up to its bound, which larger images than these reach
predict_large(LargeJob(Brightness(), "weights", Path(sys.argv[1]), margin=32), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(folder, side):
    """MiB that a process holds at most which predicts a square of this side."""
    places = -(-side // 256)
    sides = [min(256, side - 256 * place) for place in range(places)]
    tiles = (np.zeros((height, width), np.uint8) for height in sides for width in sides)
    write_tiff(folder / f"{side}.tif", tiles, height=side, width=side, bands=1, dtype="uint8", tile=256)
    command = [sys.executable, "-c", PREDICT, str(folder / f"{side}.tif"), str(folder / f"{side}.mask.tif")]
    return int(subprocess.run(command, cwd=Path(__file__).parents[3], check=True, capture_output=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systems count memory in other ways")
def test_memory_does_not_grow_with_the_image(tmp_path):
    small, large = peak(tmp_path, 4000), peak(tmp_path, 9000)
    assert large - small < 30  # the larger image has 62 MiB more, its mask as much again
