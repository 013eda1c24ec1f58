"""How long a command takes from a cold process to its end: `--help`, and one image to its mask through an engine.

    python benchmarks/start_up.py ENGINE IMAGE [--rounds 9]

ENGINE is what `maskwright export RUN --to openvino` wrote. Each round runs every command once, one after another, each
in a process of its own: `predict` with OpenVINO's cache filled by a run before, and with an empty one. The files are in
the system's cache after the first round, whose times are left out. A `predict` counts only if its mask is written and
no training framework was loaded.
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

COMMAND = "import sys; from maskwright.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def seconds(*arguments: str | Path, cache: Path) -> float:
    """How long a command takes, interpreter included; it must succeed, and without a training framework."""
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    begun = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)}
    )
    took = time.perf_counter() - begun
    loaded = FRAMEWORKS & set(done.stderr.split())
    assert not loaded, f"{', '.join(loaded)} was loaded"
    return took


def predict(engine: Path, image: Path, *, cache: Path) -> float:
    """How long `predict` takes to write the mask of one image."""
    with tempfile.TemporaryDirectory() as out:
        took = seconds("predict", engine, image, "--out", out, cache=cache)
        assert (Path(out) / image.name).with_suffix(".png").is_file()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    rows: dict[str, list[float]] = {"help": [], "predict, warm cache": [], "predict, empty cache": []}
    with tempfile.TemporaryDirectory() as kept:
        for _ in range(given.rounds + 1):
            rows["help"].append(seconds("--help", cache=Path(kept)))
            rows["predict, warm cache"].append(predict(given.engine, given.image, cache=Path(kept)))
            with tempfile.TemporaryDirectory() as empty:
                rows["predict, empty cache"].append(predict(given.engine, given.image, cache=Path(empty)))
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("maskwright", "openvino", "numpy")))
    for name, times in rows.items():
        ordered = sorted(times[1:])
        print(f"{name:22} median {median(ordered):.2f} s, {ordered[0]:.2f} to {ordered[-1]:.2f}")


if __name__ == "__main__":
    main()
