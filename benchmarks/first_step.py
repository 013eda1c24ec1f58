"""How long `maskwright train` takes from a cold process to the end of its first step.

    python benchmarks/first_step.py [--rounds 5] -- --images IMAGES --masks MASKS [any option of train but --out]

Each round runs the command in a process and a folder of its own, which end with the first step. All is counted:
Python's start, loading Keras, reading and checking the data, the plan, the first checkpoint, tracing and computing. The
first round, which brings the files into the system's cache, is left out.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

# The loop asks before every step whether it is to end: the second time, the first step is done.
COMMAND = """
import contextlib, os, sys, time
from maskwright.training import signals
times = []

@contextlib.contextmanager
def watched():
    yield lambda: times.append(time.time()) or (len(times) == 2 and end())

def end():
    print(*times, file=sys.stderr, flush=True)
    os._exit(0)

signals.stoppable = watched
from maskwright.cli import main
main()
"""


def first_step(options: list[str]) -> tuple[float, float]:
    """Seconds from the start of the process to the beginning of the first step, and to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", COMMAND, "train", *options, "--out", str(Path(folder, "run"))]
        began = time.time()
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    begun, ended = map(float, done.stderr.split()[-2:])
    return begun - began, ended - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("options", nargs="+")
    given = parser.parse_args()
    rounds = [first_step(given.options) for _ in range(given.rounds + 1)][1:]
    for name, seconds in zip(("begins", "ends"), zip(*rounds, strict=True), strict=True):
        print(f"the first step {name:6} after {median(seconds):.1f} s ({min(seconds):.1f} - {max(seconds):.1f})")


if __name__ == "__main__":
    main()
