"""Trainings of the rig, each killed at another of its writes; `test_killed_at_every_write` runs this as a script.

Every training is a process, forked before TensorFlow has begun to work and so cheap to start. A write is told by
Python's own audit events, which come before it: a file is opened for writing, or takes another's name.
"""

import json
import os
import signal
import sys
from pathlib import Path

import maskwright.training.trainer as fit
from tests.training.rig import Clock, Rig, score_of_weights, ticking


def kill_at(number, folder):
    """Let this process end at its write of that number."""
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        writes = event == "os.rename" or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if writes and str(arguments[0]).startswith(str(folder)):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def train(folder, result, *, killed_at=None):
    """Train from what lies in ``folder``, in a process of its own; whether it came to the end."""
    process = os.fork()
    if process == 0:
        import tensorflow as tf  # which Keras has imported already

        tf.config.run_functions_eagerly(True)
        if killed_at is not None:
            kill_at(killed_at, folder)
        clock = Clock()
        rig = Rig(folder, clock, before=ticking(clock, 1.0), score=score_of_weights, epochs=2)
        rig.resumed()
        result.write_text(rig.result())
        os._exit(0)
    status = os.waitpid(process, 0)[1]
    if status and os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit(f"{folder}: {os.waitstatus_to_exitcode(status)}")
    return status == 0


def main(place):
    fit._CHECKPOINT_SECONDS = 3.5  # after every epoch, of four steps of a second
    train(place / "straight", place / "straight.txt")
    expected, others = (place / "straight.txt").read_text(), []
    number = 1
    while not train(place / str(number), place / f"{number}.txt", killed_at=number):
        train(place / str(number), place / f"{number}.txt")
        if (place / f"{number}.txt").read_text() != expected:
            others.append(number)
        number += 1
    json.dump({"kills": number - 1, "other results after": others}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
