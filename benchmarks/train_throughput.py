"""Compare the training step of a ResNet34 U-Net with segmentation_models_pytorch in its fastest setting.

    python benchmarks/train_throughput.py --peer-python PYTHON [--rounds 9] [--side 224] [--batch 8] [--optimizer muon]

PYTHON is the interpreter of the environment that `smp_server.py` describes. Both networks are trained on random images
with one class. Maskwright trains as in `maskwright train`, in the precision chosen for this machine: AdamW or Muon with
clipped gradients, cross entropy plus Dice. The peer uses channels_last, bfloat16 autocast where the processor supports
it, Adam, and binary cross entropy.
Each round times ten steps of each, one after the other, after a warmup; the ratio of a round is the speed of Maskwright
relative to the peer. The loss must decrease in both.

For Maskwright, the script also prints the seconds from the start of the process to the end of the first step, the peak
memory, and the cost of the data: the time of steps on batches cut from images relative to steps on a constant batch.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median

STEPS = 10
PEER_CODE = """
import json, sys, time, torch, segmentation_models_pytorch as smp
side, batch, steps = map(int, sys.argv[1:])
torch.manual_seed(0)
network = smp.Unet("resnet34", encoder_weights=None, classes=1).to(memory_format=torch.channels_last).train()
images = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
masks = (images[:, :1] > 0.5).float()
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
loss = torch.nn.BCEWithLogitsLoss()
has_bfloat16 = any(name in open("/proc/cpuinfo").read() for name in ("avx512_bf16", "amx_bf16"))
def step():
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16):
        logits = network(images)
    value = loss(logits.float(), masks)
    value.backward()
    optimizer.step()
    return value.item()
first = step()
print(json.dumps({"loss": first}), flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    for _ in range(steps):
        last = step()
    print(json.dumps({"seconds": time.perf_counter() - started, "loss": last}), flush=True)
"""
MASKWRIGHT_CODE = """
import time
started = time.perf_counter()
import json, resource, sys
from maskwright.framework import load_keras
load_keras()
import numpy as np
from maskwright.data.augment import GeometricAugmentation, PhotometricAugmentation
from maskwright.data.mask_values import MaskValues
from maskwright.data.patches import Patches
from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.network import build_network, choose_precision, compile_for_training
from maskwright.training.recipe import AugmentationRecipe, NetworkRecipe, TrainingRecipe
from maskwright.training.train_step import make_train_step
side, batch, steps = map(int, sys.argv[1:4])
normalisation = Normalisation(mean=(0.5,) * 3, std=(0.3,) * 3)
background = Label(name="background", value=0, colour=(0, 0, 0), background=True)
labels = (background, Label(name="bright", value=1, colour=(9, 9, 9)))
bundle = Bundle(channels=3, pixels=("uint8",), normalisation=normalisation, labels=labels, activation="sigmoid")
network = build_network(NetworkRecipe(), bundle, precision=choose_precision("auto"), training=True)
network = rewrite_for_training(network)
compile_for_training(network, TrainingRecipe(learning_rate=1e-4, optimizer=sys.argv[4]), bundle)
class Images:
    def __init__(self):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 2 * side, 2 * side, 3)).astype(np.uint8)
        self.pairs = [(image, (image[..., 0] > 127).astype(np.uint8)) for image in pixels]
    def __getitem__(self, index):
        return self.pairs[index]
recipe = AugmentationRecipe()
patches = Patches(Images(), sizes=[(2 * side, 2 * side)] * 40, patch_size=(side, side), batch_size=batch, seed=0,
    normalisation=normalisation,
    augmentation=PhotometricAugmentation(brightness=recipe.brightness, contrast=recipe.contrast),
    geometry=GeometricAugmentation(flip=recipe.flip, zoom=recipe.zoom, rotation=recipe.rotation))
step, constant = make_train_step(network, fuse_loss=True), patches.batch(0)
loss = step(*constant)
print(json.dumps({"loss": loss, "first_step": time.perf_counter() - started}), flush=True)
stream = patches.stream(0)
for line in sys.stdin:
    if line.startswith("stream"):
        next(stream)
    started = time.perf_counter()
    for _ in range(steps):
        loss = step(*(next(stream) if line.startswith("stream") else constant))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": time.perf_counter() - started, "loss": loss, "peak_memory": peak}), flush=True)
"""


class Trainer:
    """A process that trains the given number of steps on request."""

    def __init__(self, python: str, code: str, *arguments: int | str) -> None:
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-c", code, *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.first_step = self.read_result()

    def read_result(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def train(self, batches: str = "constant") -> dict:
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        return self.read_result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="interpreter with segmentation_models_pytorch")
    parser.add_argument("--rounds", type=int, default=9, help="number of timed rounds")
    parser.add_argument("--side", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw", help="optimizer of Maskwright")
    options = parser.parse_args()
    sizes = options.side, options.batch, STEPS
    ours = Trainer(sys.executable, MASKWRIGHT_CODE, *sizes, options.optimizer)
    peer = Trainer(options.peer_python, PEER_CODE, *sizes)
    for trainer in (ours, peer):
        trainer.train()
    rounds = [(ours.train(), peer.train(), ours.train("stream")) for _ in range(options.rounds)]
    for column, trainer in enumerate((ours, peer)):
        assert rounds[-1][column]["loss"] < trainer.first_step["loss"], "the loss did not decrease"
    seconds = [[result["seconds"] / STEPS for result in results] for results in rounds]
    for name, column in (("maskwright", 0), ("smp", 1), ("maskwright, batches from images", 2)):
        times = [row[column] for row in seconds]
        rate = options.batch / median(times)
        print(f"{name:32} {median(times):.3f} s per step ({min(times):.3f} - {max(times):.3f}), {rate:.2f} images/s")
    for name, ratios in (
        ("speed relative to smp", [row[1] / row[0] for row in seconds]),
        ("cost of batches from images", [row[2] / row[0] for row in seconds]),
    ):
        print(f"{name:32} {median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f})")
    memory = rounds[-1][2]["peak_memory"]
    print(f"first step {ours.first_step['first_step']:.1f} s after the start; peak memory {memory:.2f} GB")


if __name__ == "__main__":
    main()
