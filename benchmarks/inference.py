"""Compare the inference speed of exported engines with segmentation_models_pytorch, for a ResNet34 U-Net.

    python benchmarks/inference.py --peer-python PYTHON [--precisions f32,bf16,int8] [--rounds 9] [--images FOLDER]

PYTHON is the interpreter of the environment that `smp_server.py` describes. Weights and batch normalisation statistics
are random. The images, which also calibrate int8, are the PNG and JPEG files of FOLDER, or drawn. Each engine is
written as by `export` and loaded as by `predict`. Before it is timed, its output is compared with that of Keras.

Each round times all variants one after the other; the ratio of a round is the speed of an engine relative to the peer.
The last case predicts several batches in parallel calls, each on processors of its own, as the prediction of a folder
does. For this case, the peer is also timed with parallel calls in threads of one core each.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import openvino
from PIL import Image
from rewrite import randomise

from maskwright.export import to_openvino
from maskwright.export.quantise import quantise
from maskwright.images.labels import Label
from maskwright.images.normalise import Normalisation
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import Engine, open_engine
from maskwright.inference.engines.record import EngineRecord, model_digest
from maskwright.models import Unet
from maskwright.rewrite.for_export import rewrite_for_export

PEER_VARIANTS = ("readme", "channels_last", "channels_last+bf16")
PEER_IN_THREADS = "channels_last+bf16, calls in threads"
CASES = ((8, 224, 1), (1, 224, 1), (1, 512, 1), (8, 224, 8))  # batch, side, calls
CALIBRATION_IMAGES = 64
MAX_MEAN_DIFFERENCE = {"f32": 1e-4, "bf16": 0.1, "int8": 0.25}  # of probabilities, from those of Keras
MIN_MASK_STD = 0.01


def make_images(folder: Path | None, *, number: int, side: int) -> np.ndarray:
    """Return images (n, side, side, 3) with values from 0 to 255: resized files, or drawn discs with noise."""
    if folder is not None:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
        chosen = (files[index % len(files)] for index in range(number))
        return np.stack([np.float32(Image.open(file).convert("RGB").resize((side, side))) for file in chosen])
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    images = (
        rng.uniform(0, 120, (number, 1, 1, 3)) + 80 * (rows * columns)[..., None] + rng.normal(0, 12, (side, side, 3))
    )
    for image in images:
        for top, left, radius in rng.uniform(0, 1, (12, 3)):
            image[(rows - top) ** 2 + (columns - left) ** 2 < (radius / 5) ** 2] += rng.uniform(-90, 90, 3)
    return images.clip(0, 255).astype(np.float32)


def make_engine(network: keras.Model, precision: str, folder: Path, patches: np.ndarray) -> Engine:
    """Write an engine to ``folder`` and load it."""
    folder.mkdir()
    model = to_openvino.convert(network)
    if precision == "int8":
        model = quantise(model, [patch[None] for patch in patches])
    file = to_openvino.save(model, folder)
    cell = Label(name="cell", value=255, colour=(230, 159, 0))
    labels = (Label(name="background", value=0, colour=(0, 0, 0), background=True), cell)
    normalisation = Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3)
    Bundle(channels=3, pixels=("uint8",), normalisation=normalisation, labels=labels, activation="sigmoid").write(
        folder
    )
    weights = model_digest(folder, file)
    facts = {"runtime": "openvino", "precision": precision, "model": file, "weights": weights, "rewritten": True}
    EngineRecord(**facts, mask_values={}, mask_suffix="", versions={}).write(folder)
    return open_engine(folder)


@contextmanager
def start_peer(python: str, encoder: str = "resnet34") -> Iterator[subprocess.Popen]:
    """Start the peer's process. The first line of its output describes its environment."""
    command = [python, str(Path(__file__).with_name("smp_server.py")), encoder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


def time_peer(process: subprocess.Popen, request: str) -> float:
    process.stdin.write(f"{request}\n")
    return float(process.stdout.readline())


def time_engine(engine: Engine, images: np.ndarray, *, calls: int) -> float:
    """Return the seconds of ``calls`` calls, as many in parallel as the engine was compiled for."""
    with ThreadPoolExecutor(getattr(engine, "calls", 1)) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: engine(images), range(calls)))
        return time.perf_counter() - started


def table(rounds: list[Mapping[str, float]], *, images: int, engines: list[str]) -> str:
    """Return a Markdown table of median milliseconds, images per second, and ratios as median (lowest - highest)."""
    medians = {variant: median(times[variant] for times in rounds) for variant in rounds[0]}
    fastest = min(PEER_VARIANTS, key=medians.__getitem__)
    references = {"README": "readme", f"fastest ({fastest})": fastest}
    if PEER_IN_THREADS in medians:
        references[PEER_IN_THREADS] = PEER_IN_THREADS
    lines = ["| variant | ms | images/s |" + "".join(f" speed relative to smp, {name} |" for name in references)]
    lines.append("| --- " * (3 + len(references)) + "|")
    for variant, seconds in medians.items():
        cells = [f"{1e3 * seconds:.0f}", f"{images / seconds:.1f}"]
        if variant in engines:
            for reference in references.values():
                ratios = [times[reference] / times[variant] for times in rounds]
                cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})")
        else:
            cells += [""] * len(references)
        library = "maskwright" if variant in engines else "smp"
        lines.append(f"| {' | '.join([f'{library} {variant}', *cells])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="interpreter with segmentation_models_pytorch")
    parser.add_argument("--precisions", default="f32,bf16,int8", help="precisions, separated by commas")
    parser.add_argument("--rounds", type=int, default=9, help="number of timed rounds")
    parser.add_argument("--images", type=Path, help="folder of PNG and JPEG files")
    options = parser.parse_args()
    precisions = options.precisions.split(",")
    patches = make_images(options.images, number=CALIBRATION_IMAGES, side=224)
    network = randomise(Unet("resnet34"), patches[:8])
    expected = network.predict_on_batch(patches[:8])
    assert expected.std() > MIN_MASK_STD, "the masks are nearly constant, so their agreement means nothing"
    print(f"Unet('resnet34'), OpenVINO {openvino.__version__}, {os.cpu_count()} CPUs", end=", ")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder, start_peer(options.peer_python) as peer:
        os.environ["XDG_CACHE_HOME"] = folder
        print(peer.stdout.readline())
        rewritten = rewrite_for_export(network)
        engines = {name: make_engine(rewritten, name, Path(folder) / name, patches) for name in precisions}
        for name, engine in engines.items():
            difference = np.abs(engine(patches[:8]) - expected)
            print(f"{name}: mean difference from Keras {difference.mean():.1e}, largest {difference.max():.1e}")
            assert difference.mean() < MAX_MEAN_DIFFERENCE[name], name
        for batch, side, calls in CASES:
            images = make_images(options.images, number=batch, side=side)
            variants, used = PEER_VARIANTS, engines
            if calls > 1:
                variants = (*PEER_VARIANTS, PEER_IN_THREADS)
                used = {name: engine.for_parallel_calls() for name, engine in engines.items()}

            def time_round(
                images: np.ndarray = images, calls: int = calls, variants=variants, used=used
            ) -> dict[str, float]:
                case = f"{len(images)} {images.shape[1]}x{images.shape[2]} {calls}"
                times = {variant: time_peer(peer, f"{variant} {case}") for variant in variants}
                return times | {name: time_engine(engine, images, calls=calls) for name, engine in used.items()}

            time_round(), time_round()
            rounds = [time_round() for _ in range(options.rounds)]
            print(f"\n**{side} x {side}, batch {batch}{f', {calls} calls' if calls > 1 else ''}**\n")
            print(table(rounds, images=batch * calls, engines=precisions), flush=True)


if __name__ == "__main__":
    main()
