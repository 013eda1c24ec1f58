"""A training step of a ResNet34 U-Net, 224 x 224, batch 8, side by side with segmentation-models-pytorch at its best.

    python benchmarks/train_throughput.py --peer-python PYTHON [--rounds 9] [--side 224] [--batch 8] [--optimizer muon]

PYTHON is that of an environment as `smp_server.py` describes it. Both learn one class of random images: ours as
`maskwright train` does it, in the precision it chooses here, by AdamW (or Muon) with clipped gradients, cross entropy
and Dice; the peer in channels_last, in bfloat16 autocast where the processor multiplies it, by Adam, with binary cross
entropy.
Each round times ten steps of each, one after the other, both warmed; the ratio of a round is how many times faster ours
is. The loss must fall in both.

Beside it, on this side alone: the seconds from the start of the process to the end of the first step, the peak memory,
and what the data takes: steps on batches cut from images as in training, against steps on one batch.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median

STEPS = 10
PEER = """
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
    error = loss(logits.float(), masks)
    error.backward()
    optimizer.step()
    return error.item()
first = step()
print(json.dumps({"loss": first}), flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for _ in range(steps):
        last = step()
    print(json.dumps({"seconds": time.perf_counter() - began, "loss": last}), flush=True)
"""
OURS = """
import time
began = time.perf_counter()
import json, resource, sys
from maskwright.framework import load_keras
load_keras()
import numpy as np
from maskwright.data.augment import Geometry, Light
from maskwright.data.mask_values import MaskValues
from maskwright.data.patches import Patches
from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.rewrite.for_training import rewrite_for_training
from maskwright.training.network import build_network, choose_precision, compile_for_training
from maskwright.training.recipe import AugmentationRecipe, NetworkRecipe, TrainingRecipe
from maskwright.training.train_step import step_of
side, batch, steps = map(int, sys.argv[1:4])
normalisation = Normalisation(mean=(0.5,) * 3, std=(0.3,) * 3)
dark = Label(name="background", value=0, colour=(0, 0, 0), background=True)
labels = (dark, Label(name="bright", value=1, colour=(9, 9, 9)))
bundle = Bundle(channels=3, pixels=("uint8",), normalisation=normalisation, labels=labels, activation="sigmoid")
network = build_network(NetworkRecipe(), bundle, precision=choose_precision("auto"), learning=True)
network = rewrite_for_training(network)
compile_for_training(network, TrainingRecipe(learning_rate=1e-4, optimizer=sys.argv[4]), bundle)
class Images:
    def __init__(self):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 2 * side, 2 * side, 3)).astype(np.uint8)
        self.pairs = [(image, (image[..., 0] > 127).astype(np.uint8)) for image in pixels]
    def __getitem__(self, place):
        return self.pairs[place]
drawn = AugmentationRecipe()
patches = Patches(Images(), sizes=[(2 * side, 2 * side)] * 40, patch=(side, side), batch_size=batch, seed=0,
    normalisation=normalisation, augmentation=Light(brightness=drawn.brightness, contrast=drawn.contrast),
    geometry=Geometry(flip=drawn.flip, zoom=drawn.zoom, rotation=drawn.rotation))
step, constant = step_of(network, fuse_loss=True), patches.batch(0)
loss = step(*constant)
print(json.dumps({"loss": loss, "first": time.perf_counter() - began}), flush=True)
stream = patches.stream(0)
for line in sys.stdin:
    if line.startswith("stream"):
        next(stream)
    began = time.perf_counter()
    for _ in range(steps):
        loss = step(*(next(stream) if line.startswith("stream") else constant))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss, "peak": peak}), flush=True)
"""


class Learner:
    """A process that takes steps when told to, and stands still otherwise."""

    def __init__(self, python: str, code: str, *given: int | str) -> None:
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-c", code, *map(str, given)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.begun = self.answer()

    def answer(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def steps(self, what: str = "constant") -> dict:
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.answer()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    given = parser.parse_args()
    numbers = given.side, given.batch, STEPS
    ours, peer = Learner(sys.executable, OURS, *numbers, given.optimizer), Learner(given.peer_python, PEER, *numbers)
    for one in (ours, peer):
        one.steps()
    rounds = [(ours.steps(), peer.steps(), ours.steps("stream")) for _ in range(given.rounds)]
    for place, one in enumerate((ours, peer)):
        assert rounds[-1][place]["loss"] < one.begun["loss"], "no learning, no number"
    seconds = [[entry["seconds"] / STEPS for entry in row] for row in rounds]
    for name, column in (("maskwright", 0), ("smp", 1), ("maskwright, batches from images", 2)):
        of = [row[column] for row in seconds]
        images = given.batch / median(of)
        print(f"{name:32} {median(of):.3f} s a step ({min(of):.3f} - {max(of):.3f}), {images:.2f} images/s")
    for name, ratios in (
        ("ours is faster by", [row[1] / row[0] for row in seconds]),
        ("batches from images take", [row[2] / row[0] for row in seconds]),
    ):
        print(f"{name:32} {median(ratios):.3f} times ({min(ratios):.3f} - {max(ratios):.3f})")
    print(f"first step {ours.begun['first']:.1f} s after the start; peak memory {rounds[-1][2]['peak']:.2f} GB")


if __name__ == "__main__":
    main()
