"""A Dask scheduler and workers as separate processes, and an engine built with OpenVINO alone."""

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import numpy as np

from maskwright.inference.engines.openvino_runtime import openvino
from maskwright.inference.engines.record import EngineRecord, model_digest
from tests.inference.fake_engines import bundle

ops = openvino.opset14


def write_engine(folder, *, bias=-19.0, **changes):
    """Write the folder of an engine: a sigmoid of sums of 9 x 9 gray pixels, about half of them above the threshold.

    ``changes`` are fields of its bundle.
    """
    folder.mkdir()
    images = ops.parameter(openvino.PartialShape([-1, -1, -1, 1]), np.float32, name="images")
    planes = ops.transpose(images, ops.constant(np.int64([0, 3, 1, 2])))
    kernel = ops.constant(np.random.default_rng(0).uniform(0, 1, (1, 1, 9, 9)).astype(np.float32))
    sums = ops.convolution(planes, kernel, strides=[1, 1], pads_begin=[4, 4], pads_end=[4, 4], dilations=[1, 1])
    masks = ops.sigmoid(
        ops.add(ops.transpose(sums, ops.constant(np.int64([0, 2, 3, 1]))), ops.constant(np.float32(bias)))
    )
    openvino.save_model(openvino.Model([masks], [images]), folder / "model.xml", compress_to_fp16=False)
    weights = model_digest(folder, "model.xml")
    facts = {"runtime": "openvino", "precision": "f32", "model": "model.xml", "weights": weights, "rewritten": False}
    EngineRecord(**facts, mask_values={}, mask_suffix="", versions={}).write(folder)
    bundle(**changes).write(folder)
    return folder


class Machines:
    """A scheduler and its workers."""

    def __init__(self, processes, **environment):
        self._processes = processes
        self._environment = os.environ | environment
        self.scheduler = self._start("scheduler", "--port", "0")
        self.address = line_with(self.scheduler, "Scheduler at:").split()[-1]

    def add_worker(self, *, threads=1, **environment):
        """Start a worker that is registered at the scheduler."""
        options = ["--nthreads", str(threads), "--no-nanny", "--memory-limit", "0"]
        worker = self._start("worker", self.address, *options, **environment)
        line_with(worker, "Starting established connection")
        return worker

    def _start(self, *command, **environment):
        command = [sys.executable, "-m", "dask", *command, "--host", "127.0.0.1", "--no-dashboard"]
        process = subprocess.Popen(
            command, env=self._environment | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._processes.callback(end, process)
        return process


def end(process):
    process.kill()
    process.communicate()


def line_with(process, text):
    """Wait for the first line of a process's log that contains ``text``."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return line
    raise RuntimeError("".join(lines))


@contextmanager
def machines(**environment):
    with ExitStack() as processes:
        yield Machines(processes, **environment)
