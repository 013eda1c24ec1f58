"""The peer of `inference.py`: segmentation-models-pytorch in an environment of its own, timed on request.

    pip install torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0

A line ``WAY BATCH SIDE`` on standard input asks for one prediction; the seconds it took are the answer.
"""

import sys
import time

import segmentation_models_pytorch as smp
import torch

WAYS = {"readme": (False, False), "channels_last": (True, False), "channels_last+bf16": (True, True)}


def main() -> None:
    torch.manual_seed(0)
    networks = {last: smp.Unet("resnet34", encoder_weights=None, classes=1).eval() for last in (False, True)}
    networks[True].to(memory_format=torch.channels_last)
    print(f"smp {smp.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    pictures = {}
    for line in sys.stdin:
        way, batch, side = line.split()
        last, bf16 = WAYS[way]
        if (last, batch, side) not in pictures:
            layout = torch.channels_last if last else torch.contiguous_format
            images = torch.rand(int(batch), 3, int(side), int(side)).to(memory_format=layout)
            pictures[last, batch, side] = images
        started = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            networks[last](pictures[last, batch, side])
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
