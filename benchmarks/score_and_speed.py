"""Plot score against speed of the engines of a run and of networks of segmentation_models_pytorch (smp).

    python benchmarks/score_and_speed.py RUN --images IMAGES --masks MASKS --peer-python PYTHON
        --peer-score lite0=0.57 --peer-score resnet34=0.46 [--rounds 5] [--rows FILE.json] [--plot FILE.webp]

RUN is the folder of a run. It is exported to OpenVINO engines in float32, bfloat16 and int8, as by `export`, and each
engine is scored on the images and masks. An export whose verification fails is reported and left out. PYTHON is the
interpreter of the environment that `smp_server.py` describes. The networks of smp are timed with random weights; their
scores are those of `minutes.py` and are given by ``--peer-score``.

Each round times all variants one after the other on batches of images, padded to multiples of 32 pixels. Engines are
timed with parallel calls, as in the prediction of a folder. For smp, the variant (channels_last, bfloat16, calls in
threads) that is the fastest before the first round is timed. The table contains medians over the rounds.
"""

import argparse
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
from inference import PEER_IN_THREADS, PEER_VARIANTS, start_peer, time_engine, time_peer
from PIL import Image

from maskwright import Segmenter
from maskwright.errors import InputError
from maskwright.inference.engines.engine import Engine, open_engine

PRECISIONS = ("f32", "bf16", "int8")
VARIANTS = (*PEER_VARIANTS, PEER_IN_THREADS)
BATCH, CALLS = 4, 8


def export_engines(run: Path, folder: Path) -> dict[str, Path]:
    """Export a run in each precision; return the folders of the engines that were accepted."""
    engines = {}
    for precision in PRECISIONS:
        try:
            Segmenter.load(run).export(folder / precision, precision=precision)
        except InputError as error:
            print(f"the export in {precision} failed: {error}", flush=True)
        else:
            engines[precision] = folder / precision
    return engines


def read_batch(folder: Path, engine: Engine) -> np.ndarray:
    """Return normalised images (n, h, w, c), padded by reflection to multiples of 32."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in {".png", ".jpg", ".jpeg"})[:BATCH]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    padding = [(0, 0), *((0, -side % 32) for side in images.shape[1:3]), (0, 0)]
    padded = np.pad(images, padding, mode="reflect")
    return np.stack([engine.bundle.prepare(image, file=file) for image, file in zip(padded, files, strict=True)])


def draw_plot(rows: list[dict], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 4.0), dpi=120, layout="constrained")
    for library, colour, marker in (("maskwright", "#0072b2", "o"), ("smp", "#d55e00", "s")):
        points = [row for row in rows if row["name"].startswith(library)]
        speeds, scores = ([row[field] for row in points] for field in ("images_per_second", "score"))
        axes.plot(speeds, scores, marker=marker, color=colour, linestyle="none", markersize=7)
        for row in points:
            place = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "fontsize": 9}
            axes.annotate(row["name"], (row["images_per_second"], row["score"]), **place)
    axes.set(xlabel="images per second", ylabel="mean IoU on the test images", xscale="log")
    axes.margins(0.18)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--peer-score", action="append", default=[], help="ENCODER=SCORE; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=Path, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="image file to write")
    options = parser.parse_args()
    peers = {name: float(score) for name, _, score in (text.partition("=") for text in options.peer_score)}
    with tempfile.TemporaryDirectory() as temporary:
        folders = export_engines(options.run, Path(temporary))
        scores = {
            name: Segmenter.load(folder).evaluate(options.images, options.masks).scores.mean_iou
            for name, folder in folders.items()
        }
        engines = {name: open_engine(folder).for_parallel_calls() for name, folder in folders.items()}
        images = read_batch(options.images, next(iter(engines.values())))
        case = f"{BATCH} {images.shape[1]}x{images.shape[2]} {CALLS}"

        with ExitStack() as stack:
            processes = {name: stack.enter_context(start_peer(options.peer_python, name)) for name in peers}
            fastest = {}
            for name, process in processes.items():
                print(process.stdout.readline().strip(), flush=True)
                seconds = {variant: time_peer(process, f"{variant} {case}") for variant in VARIANTS}
                fastest[name] = min(seconds, key=seconds.__getitem__)
                print(f"fastest variant of smp {name}: {fastest[name]}", flush=True)
            rounds = []
            for _ in range(options.rounds + 1):
                times = {name: time_engine(engine, images, calls=CALLS) for name, engine in engines.items()}
                peer_times = {
                    f"smp {name}": time_peer(process, f"{fastest[name]} {case}") for name, process in processes.items()
                }
                rounds.append(times | peer_times)
    speeds = {name: BATCH * CALLS / median(times[name] for times in rounds[1:]) for name in rounds[0]}
    rows = [
        {"name": name if name.startswith("smp") else f"maskwright {name}", "images_per_second": round(speed, 2)}
        | {"score": peers[name.removeprefix("smp ")] if name.startswith("smp") else round(scores[name], 4)}
        for name, speed in speeds.items()
    ]
    print("| variant | images/s | score |\n| --- | ---: | ---: |")
    for row in rows:
        print(f"| {row['name']} | {row['images_per_second']:.1f} | {row['score']:.3f} |")
    if options.rows:
        options.rows.write_text(json.dumps(rows, indent=2) + "\n")
    if options.plot:
        draw_plot(rows, options.plot)


if __name__ == "__main__":
    main()
