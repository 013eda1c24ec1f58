"""Train with the rig once for each write, and kill the training there; `test_killed_at_every_write` runs this script.

Every training is a process that is forked before TensorFlow has started, which makes it cheap. Python's audit events
announce a write before it happens: a file is opened for writing or renamed.
"""

import json
import os
import signal
import sys
from pathlib import Path

import maskwright.training.trainer as trainer
from tests.training.rig import Clock, Rig, score_of_weights, ticking


def kill_at(number, folder):
    """Kill this process at its write of that number."""
    writes = 0

    def watch(event, arguments):
        nonlocal writes
        is_write = event == "os.rename" or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_write and str(arguments[0]).startswith(str(folder)):
            writes += 1
            if writes == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def train(folder, result, *, killed_at=None):
    """Train or resume in ``folder`` in a new process; return whether it ended by itself."""
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


def main(folder):
    trainer._CHECKPOINT_SECONDS = 3.5  # after every epoch, of four steps of a second
    train(folder / "straight", folder / "straight.txt")
    expected, others = (folder / "straight.txt").read_text(), []
    number = 1
    while not train(folder / str(number), folder / f"{number}.txt", killed_at=number):
        train(folder / str(number), folder / f"{number}.txt")
        if (folder / f"{number}.txt").read_text() != expected:
            others.append(number)
        number += 1
    json.dump({"kills": number - 1, "other results after": others}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
