"""Time `maskwright train` from a cold process to the end of its first step.

    python benchmarks/first_step.py [--rounds 5] -- --images IMAGES --masks MASKS [any option of train but --out]

Each round runs the command in a new process, into a new folder, and ends it after the first step. The time includes
the start of Python, importing Keras, reading and checking the data, the plan, the first checkpoint, tracing and the
step itself. The first round fills the system's file cache and is left out.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

# The training loop checks for a stop request before each step, so the second check is the end of the first step.
CODE = """
import contextlib, os, sys, time
from maskwright.training import signals
times = []

@contextlib.contextmanager
def stop_after_first_step():
    yield lambda: times.append(time.time()) or (len(times) == 2 and end())

def end():
    print(*times, file=sys.stderr, flush=True)
    os._exit(0)

signals.stoppable = stop_after_first_step
from maskwright.cli import main
main()
"""


def time_first_step(options: list[str]) -> tuple[float, float]:
    """Return the seconds from the start of the process to the start and to the end of the first step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CODE, "train", *options, "--out", str(Path(folder, "run"))]
        started = time.time()
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    step_started, step_ended = map(float, done.stderr.split()[-2:])
    return step_started - started, step_ended - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of timed rounds")
    parser.add_argument("options", nargs="+", help="options of `maskwright train`, after --")
    arguments = parser.parse_args()
    rounds = [time_first_step(arguments.options) for _ in range(arguments.rounds + 1)][1:]
    for event, seconds in zip(("starts", "ends"), zip(*rounds, strict=True), strict=True):
        print(f"the first step {event:6} after {median(seconds):.1f} s ({min(seconds):.1f} - {max(seconds):.1f})")


if __name__ == "__main__":
    main()
