"""Time predictions of segmentation_models_pytorch for `inference.py`, in an environment of its own.

    pip install torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0

The first output line describes the environment. For each input line ``VARIANT BATCH SIDE CALLS``, the script predicts
CALLS batches and writes the number of seconds.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import segmentation_models_pytorch as smp
import torch

# channels_last, bfloat16, and parallel calls in threads of one core each
VARIANTS = {
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
    batches = {}
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for line in sys.stdin:
            variant, batch, side, calls = line.rsplit(maxsplit=3)
            channels_last, bf16, parallel = VARIANTS[variant]
            if (channels_last, batch, side) not in batches:
                layout = torch.channels_last if channels_last else torch.contiguous_format
                images = torch.rand(int(batch), 3, int(side), int(side)).to(memory_format=layout)
                batches[channels_last, batch, side] = images
            images, network = batches[channels_last, batch, side], networks[channels_last]

            def predict(
                _: int, images: torch.Tensor = images, network: torch.nn.Module = network, bf16: bool = bf16
            ) -> None:
                with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                    network(images)

            torch.set_num_threads(1 if parallel else threads)
            started = time.perf_counter()
            list((pool.map if parallel else map)(predict, range(int(calls))))
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
