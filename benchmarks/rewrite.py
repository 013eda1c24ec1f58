"""Compare the speed of a U-Net in OpenVINO before and after graph rewriting.

    python benchmarks/rewrite.py [--backbone resnet34] [--side 224] [--batch 8] [--rounds 9]

Weights and batch normalisation statistics are random. In float32, the outputs of both networks must agree. Each round
times both networks one after the other; the ratio of a round is the speed of the rewritten network relative to the
original.
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

MAX_DIFFERENCE = 1e-4  # of probabilities in float32
MIN_MASK_STD = 0.01
PRECISIONS = ("f32", "bf16")
Predict = Callable[[np.ndarray], np.ndarray]


def randomise(network: keras.Model, images: np.ndarray) -> keras.Model:
    """Set random batch normalisation weights, and scale the head to logits of mean 0 and standard deviation 1."""
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


def convert(network: keras.Model, *, shape: tuple[int, ...]) -> openvino.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "network.xml")
        network.export(file, format="openvino", verbose=False)
        model = openvino.Core().read_model(file)
    model.reshape(shape)
    return model


def compile_model(model: openvino.Model, *, precision: str) -> Predict:
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    engine = openvino.Core().compile_model(model, "CPU", settings)
    return lambda images: engine(images)[0]


def time_call(predict: Predict, images: np.ndarray) -> float:
    started = time.perf_counter()
    predict(images)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet34")
    parser.add_argument("--side", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=9, help="number of timed rounds")
    options = parser.parse_args()
    shape = (options.batch, options.side, options.side, 3)
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    network = randomise(Unet(options.backbone), images)
    models = [convert(variant, shape=shape) for variant in (network, rewrite_for_export(network))]

    print(f"Unet({options.backbone!r}), {shape}, OpenVINO {openvino.__version__}, {os.cpu_count()} CPUs", end=", ")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print("| precision | original, images/s | rewritten, images/s | ratio, median (lowest - highest) | difference |")
    print("| --- | --- | --- | --- | --- |")
    for precision in PRECISIONS:
        original, rewritten = (compile_model(model, precision=precision) for model in models)
        expected, found = original(images), rewritten(images)
        difference = float(np.abs(expected - found).max())
        if precision == "f32":
            assert difference < MAX_DIFFERENCE, difference
            assert expected.std() > MIN_MASK_STD, "the masks are nearly constant, so their agreement means nothing"
        for predict in (original, rewritten):
            time_call(predict, images)
        rounds = [(time_call(original, images), time_call(rewritten, images)) for _ in range(options.rounds)]
        ratios = [before / after for before, after in rounds]
        rates = [options.batch / median(times) for times in zip(*rounds, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
        print(f"| {precision} | {rates[0]:.1f} | {rates[1]:.1f} | {ratio} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
