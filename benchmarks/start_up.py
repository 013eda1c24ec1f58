"""Time short commands from a cold process: `--help`, and `predict` of one image with an engine.

    python benchmarks/start_up.py ENGINE IMAGE [--rounds 9]

ENGINE is a folder that `maskwright export RUN --to openvino` wrote. Each round runs each command once, in a new
process: `--help`, `predict` with OpenVINO's model cache filled, and `predict` with an empty model cache. The first
round fills the system's file cache and is left out. It is an error if `predict` writes no mask, or if a command imports
a training framework.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

CODE = "import sys; from maskwright.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def time_command(*arguments: str | Path, cache: Path) -> float:
    """Return the seconds of a command, including the start of Python.

    Raises:
        AssertionError: The command imported a training framework.
    """
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)}
    )
    seconds = time.perf_counter() - started
    imported = FRAMEWORKS & set(done.stderr.split())
    assert not imported, f"{', '.join(sorted(imported))} was imported"
    return seconds


def time_predict(engine: Path, image: Path, *, cache: Path) -> float:
    """Return the seconds that `predict` takes to write the mask of one image."""
    with tempfile.TemporaryDirectory() as out:
        seconds = time_command("predict", engine, image, "--out", out, cache=cache)
        assert (Path(out) / image.name).with_suffix(".png").is_file()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path, help="folder of an exported OpenVINO engine")
    parser.add_argument("image", type=Path, help="image to predict")
    parser.add_argument("--rounds", type=int, default=9, help="number of timed rounds")
    options = parser.parse_args()
    rows: dict[str, list[float]] = {"--help": [], "predict, filled cache": [], "predict, empty cache": []}
    with tempfile.TemporaryDirectory() as filled:
        for _ in range(options.rounds + 1):
            rows["--help"].append(time_command("--help", cache=Path(filled)))
            rows["predict, filled cache"].append(time_predict(options.engine, options.image, cache=Path(filled)))
            with tempfile.TemporaryDirectory() as empty:
                rows["predict, empty cache"].append(time_predict(options.engine, options.image, cache=Path(empty)))
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("maskwright", "openvino", "numpy")))
    for name, times in rows.items():
        ordered = sorted(times[1:])
        print(f"{name:22} median {median(ordered):.2f} s ({ordered[0]:.2f} - {ordered[-1]:.2f})")


if __name__ == "__main__":
    main()
