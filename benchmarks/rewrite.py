"""A U-Net in OpenVINO as it was trained and as `rewrite` makes it, side by side.

    python benchmarks/rewrite.py [--backbone resnet34] [--side 224] [--batch 8] [--rounds 9]

Weights and batch-norm statistics are random. In float32 both must answer alike before either is timed. Each round times
both, one after the other; the ratio of a round is how many times faster the rewritten network is.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import openvino

from maskwright.models import Unet
from maskwright.rewrite.for_export import rewrite_for_export

MOST = 1e-4  # of a probability
PRECISIONS = ("f32", "bf16")
Predict = Callable[[np.ndarray], np.ndarray]


def randomise(network: keras.Model, images: np.ndarray) -> keras.Model:
    """Random statistics, and logits of these images that spread by about one, as a trained network's do."""
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.2, weight.shape))
    head = network.get_layer("final_conv")
    logits = keras.ops.convert_to_numpy(keras.Model(network.input, head.output)(images, training=False))
    kernel, bias = head.get_weights()
    head.set_weights([kernel / logits.std(), (bias - logits.mean()) / logits.std()])
    return network


def converted(network: keras.Model, *, shape: tuple[int, ...]) -> openvino.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "network.xml")
        network.export(file, format="openvino", verbose=False)
        model = openvino.Core().read_model(file)
    model.reshape(shape)
    return model


def compiled(model: openvino.Model, *, precision: str) -> Predict:
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    engine = openvino.Core().compile_model(model, "CPU", settings)
    return lambda images: engine(images)[0]


def seconds(predict: Predict, images: np.ndarray) -> float:
    started = time.perf_counter()
    predict(images)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    shape = (options.batch, options.side, options.side, 3)
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    network = randomise(Unet(options.backbone), images)
    models = [converted(one, shape=shape) for one in (network, rewrite_for_export(network))]

    print(f"Unet({options.backbone!r}), {shape}, OpenVINO {openvino.__version__}, {os.cpu_count()} CPUs", end=", ")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print("| precision | as trained, images/s | rewritten, images/s | ratio, median (lowest - highest) | difference |")
    print("| --- | --- | --- | --- | --- |")
    for precision in PRECISIONS:
        before, after = (compiled(model, precision=precision) for model in models)
        expected, found = before(images), after(images)
        difference = float(np.abs(expected - found).max())
        if precision == "f32":
            assert difference < MOST, difference
            assert expected.std() > 0.01, "masks that are all alike prove nothing"
        for predict in (before, after):
            seconds(predict, images)
        rounds = [(seconds(before, images), seconds(after, images)) for _ in range(options.rounds)]
        ratios = [slow / fast for slow, fast in rounds]
        rates = [options.batch / median(times) for times in zip(*rounds, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
        print(f"| {precision} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
