"""A ResNet34 U-Net of one class as engines, side by side with segmentation-models-pytorch.

    python benchmarks/inference.py --peer-python PYTHON [--precisions f32,bf16,int8] [--rounds 9] [--images FOLDER]

PYTHON is that of an environment as `smp_server.py` describes it. Weights and batch-norm statistics are random; the
images, which int8 is calibrated on as well, are the PNGs and JPEGs of FOLDER, or drawn. Each engine is made as `export`
makes it and opened as `predict` opens it; before it is timed, its answers are compared with Keras'.

Each round times every way once, one after the other; the ratio of a round is how many times faster an engine is. The
last case is many batches, predicted as those of a folder are: several calls at once, each on processors of its own.
There the peer has a way more, its calls in threads of one core each, which its users would have to write.
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
from maskwright.images.write import write_text
from maskwright.inference.bundle import Bundle
from maskwright.inference.engines.engine import Engine, open_engine
from maskwright.inference.engines.record import Exported, model_digest
from maskwright.models import Unet
from maskwright.rewrite.for_export import rewrite as rewritten

PEERS = ("readme", "channels_last", "channels_last+bf16")
THREADS = "channels_last+bf16, calls in threads"
CASES = ((8, 224, 1), (1, 224, 1), (1, 512, 1), (8, 224, 8))  # batch, side, calls
CALIBRATED_ON = 64
MOST = {"f32": 1e-4, "bf16": 0.1, "int8": 0.25}  # of a probability, on average over the pixels of an image


def pictures(folder: Path | None, *, number: int, side: int) -> np.ndarray:
    """Pixels from 0 to 255, (n, side, side, 3): those of files, or ramps and discs under noise."""
    if folder is not None:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
        chosen = (files[place % len(files)] for place in range(number))
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


def made(network: keras.Model, precision: str, folder: Path, patches: np.ndarray) -> Engine:
    """The engine in ``folder``, written and opened again."""
    folder.mkdir()
    model = to_openvino.convert(network)
    if precision == "int8":
        model = quantise(model, [patch[None] for patch in patches])
    file = to_openvino.save(model, folder)
    cell = Label(name="cell", value=255, colour=(230, 159, 0))
    labels = (Label(name="background", value=0, colour=(0, 0, 0), background=True), cell)
    normalisation = Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3)
    Bundle(channels=3, pixels=("uint8",), normalisation=normalisation, labels=labels, activation="sigmoid").write(
        folder, write_text
    )
    weights = model_digest(folder, file)
    facts = {"kind": "openvino", "precision": precision, "model": file, "weights": weights, "rewritten": True}
    Exported(**facts, mask_values={}, mask_suffix="", versions={}).write(folder, write_text)
    return open_engine(folder)


@contextmanager
def peer(python: str) -> Iterator[subprocess.Popen]:
    """The peer's process, which says who it is first."""
    command = [python, str(Path(__file__).with_name("smp_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


def asked(process: subprocess.Popen, question: str) -> float:
    process.stdin.write(f"{question}\n")
    return float(process.stdout.readline())


def seconds(engine: Engine, images: np.ndarray, *, calls: int) -> float:
    """Of ``calls`` calls, as many at a time as the engine is compiled for."""
    with ThreadPoolExecutor(getattr(engine, "calls", 1)) as lanes:
        started = time.perf_counter()
        list(lanes.map(lambda _: engine(images), range(calls)))
        return time.perf_counter() - started


def table(rounds: list[Mapping[str, float]], *, images: int, engines: list[str]) -> str:
    """Milliseconds and rates by their medians; ratios round by round, as median (lowest - highest)."""
    middle = {way: median(times[way] for times in rounds) for way in rounds[0]}
    best = min(PEERS, key=middle.__getitem__)
    rivals = {"as its README": "readme", f"best ({best})": best} | ({THREADS: THREADS} if THREADS in middle else {})
    lines = ["| way | ms | images/s |" + "".join(f" times smp: {name} |" for name in rivals)]
    lines.append("| --- " * (3 + len(rivals)) + "|")
    for way, time_ in middle.items():
        ratios = []
        for rival in rivals.values() if way in engines else ():
            each = [times[rival] / times[way] for times in rounds]
            ratios.append(f"{median(each):.2f} ({min(each):.2f} - {max(each):.2f})")
        name = f"maskwright {way}" if way in engines else f"smp {way}"
        cells = [name, f"{1e3 * time_:.0f}", f"{images / time_:.1f}", *(ratios or [""] * len(rivals))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--precisions", default="f32,bf16,int8")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    chosen = options.precisions.split(",")
    patches = pictures(options.images, number=CALIBRATED_ON, side=224)
    network = randomise(Unet("resnet34"), patches[:8])
    expected = network.predict_on_batch(patches[:8])
    assert expected.std() > 0.01, "masks that are all alike prove nothing"
    print(f"Unet('resnet34'), OpenVINO {openvino.__version__}, {os.cpu_count()} CPUs", end=", ")
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder, peer(options.peer_python) as process:
        os.environ["XDG_CACHE_HOME"] = folder
        print(process.stdout.readline())
        fast = rewritten(network)
        engines = {name: made(fast, name, Path(folder) / name, patches) for name in chosen}
        for name, engine in engines.items():
            error = np.abs(engine(patches[:8]) - expected)
            print(f"{name} differs from Keras by {error.mean():.1e} on average, {error.max():.1e} at most")
            assert error.mean() < MOST[name], name
        for batch, side, calls in CASES:
            images = pictures(options.images, number=batch, side=side)
            peers = PEERS if calls == 1 else (*PEERS, THREADS)
            used = engines if calls == 1 else {name: engine.side_by_side() for name, engine in engines.items()}

            def once(images: np.ndarray = images, calls: int = calls, peers=peers, used=used) -> dict[str, float]:
                case = f"{len(images)} {images.shape[1]} {calls}"
                theirs = {way: asked(process, f"{way} {case}") for way in peers}
                return theirs | {name: seconds(engine, images, calls=calls) for name, engine in used.items()}

            once(), once()
            rounds = [once() for _ in range(options.rounds)]
            print(f"\n**{side} x {side}, batch {batch}{f', {calls} calls' if calls > 1 else ''}**\n")
            print(table(rounds, images=batch * calls, engines=chosen), flush=True)


if __name__ == "__main__":
    main()
