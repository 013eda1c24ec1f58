"""The peer of `inference.py`: segmentation-models-pytorch in an environment of its own, timed on request.

    pip install torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0

A line ``WAY BATCH SIDE`` on standard input asks for one prediction; the seconds it took are the answer.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import segmentation_models_pytorch as smp
import torch

# Whether channels come last, whether in bf16, and whether calls run side by side in threads of one core each.
WAYS = {
    "readme": (False, False, False),
    "channels_last": (True, False, False),
    "channels_last+bf16": (True, True, False),
    "channels_last+bf16, calls in threads": (True, True, True),
}


def main() -> None:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    networks = {last: smp.Unet("resnet34", encoder_weights=None, classes=1).eval() for last in (False, True)}
    networks[True].to(memory_format=torch.channels_last)
    print(f"smp {smp.__version__}, torch {torch.__version__}, {threads} threads", flush=True)
    pictures = {}
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as lanes:
        for line in sys.stdin:
            way, batch, side, calls = line.rsplit(maxsplit=3)
            last, bf16, side_by_side = WAYS[way]
            if (last, batch, side) not in pictures:
                layout = torch.channels_last if last else torch.contiguous_format
                images = torch.rand(int(batch), 3, int(side), int(side)).to(memory_format=layout)
                pictures[last, batch, side] = images
            images = pictures[last, batch, side]

            def call(_: int, images: torch.Tensor = images, last: bool = last, bf16: bool = bf16) -> None:
                with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                    networks[last](images)

            torch.set_num_threads(1 if side_by_side else threads)
            started = time.perf_counter()
            list((lanes.map if side_by_side else map)(call, range(int(calls))))
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
