"""Time predictions of segmentation_models_pytorch for `inference.py` and `score_and_speed.py`.

    PYTHON benchmarks/smp_server.py [resnet34|lite0]

It runs in a separate environment:

    pip install torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0

The first output line describes the environment. For each input line ``VARIANT BATCH HEIGHTxWIDTH CALLS``, the script
predicts CALLS batches and writes the number of seconds. The weights are random.
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
    encoder = {"lite0": "tu-tf_efficientnet_lite0"}.get(name := (sys.argv[1:] or ["resnet34"])[0], name)
    networks = {last: smp.Unet(encoder, encoder_weights=None, classes=1).eval() for last in (False, True)}
    networks[True].to(memory_format=torch.channels_last)
    print(f"smp {smp.__version__}, torch {torch.__version__}, {threads} threads", flush=True)
    batches = {}
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for line in sys.stdin:
            variant, batch, size, calls = line.rsplit(maxsplit=3)
            channels_last, bf16, parallel = VARIANTS[variant]
            if (channels_last, batch, size) not in batches:
                layout = torch.channels_last if channels_last else torch.contiguous_format
                images = torch.rand(int(batch), 3, *map(int, size.split("x"))).to(memory_format=layout)
                batches[channels_last, batch, size] = images
            images, network = batches[channels_last, batch, size], networks[channels_last]

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
