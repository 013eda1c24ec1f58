"""Compare the test mean IoU of trainings of a given number of minutes with segmentation_models_pytorch.

    python benchmarks/camvid_minutes.py CAMVID --peer-python PYTHON --minutes 20,10 --peer-minutes 20 [--seeds 0,1]
    python benchmarks/camvid_minutes.py MEMBRANE --dataset membrane --peer-python PYTHON --minutes 5 --peer-minutes 5

CAMVID contains the folders ``train``, ``val`` and ``test``, each with ``images`` and ``masks``. MEMBRANE contains
``images`` and ``masks``; every fifth image by number is a test image. PYTHON is the interpreter of the environment that
`smp_server.py` describes, with Pillow. Without it, only Maskwright is trained.

Maskwright is run from the command line with the classes, the ignored id and the time budget; other settings are
defaults. Its time includes the start, reading, tracing, training, validation and the final check. The peer is trained
by `smp_minutes.py`; only its training is timed. Each run adds a row to ``--out`` (JSON lines), and all rows of the file
are plotted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt

CAMVID_CLASSES = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
PEER_SCRIPT = Path(__file__).with_name("smp_minutes.py")


def link_files(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def split_every_fifth(data: Path, folder: Path) -> None:
    """Link the files of ``data`` into ``folder``: every fifth image by number in ``test``, the others in ``train``."""
    for kind in ("images", "masks"):
        files = sorted((data / kind).iterdir(), key=lambda file: (len(file.stem), file.stem))
        link_files([file for index, file in enumerate(files) if index % 5 != 4], folder / "train" / kind)
        link_files(files[4::5], folder / "test" / kind)


def train_maskwright(data: Path, minutes: float, seed: int, folder: Path, options: list[str]) -> dict:
    program = str(Path(sys.executable).with_name("maskwright"))
    run, scores = folder / f"run-{minutes:g}-{seed}", folder / "scores.json"
    shutil.rmtree(run, ignore_errors=True)
    train_data = ["--images", data / "train/images", "--masks", data / "train/masks"]
    seed_option = ["--set", f"training.seed={seed}"] if seed else []
    started = time.perf_counter()
    train = [program, "train", *train_data, *options, *seed_option, "--time-budget", f"{minutes:g}m", "--out", run]
    subprocess.run(list(map(str, train)), check=True)
    seconds = time.perf_counter() - started
    test_data = ["--images", data / "test/images", "--masks", data / "test/masks", "--json", scores]
    subprocess.run(list(map(str, [program, "evaluate", run, *test_data])), check=True, stdout=subprocess.DEVNULL)
    facts = json.loads((run / "run.json").read_text())
    classes = json.loads(scores.read_text())["scores"]["classes"]
    iou = {entry["name"]: entry["iou"] for entry in classes}
    row = {"library": "maskwright", "minutes": minutes, "seed": seed, "steps": facts["steps"]}
    return row | {"seconds": round(seconds), "validation": facts["validation_mean_iou"], "iou": iou}


def train_smp(data: Path, minutes: float, seed: int, python: str, options: list[str]) -> dict:
    command = [python, PEER_SCRIPT, data / "train", data / "test", "--minutes", minutes, "--seed", seed, *options]
    output = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def plot(rows: list[dict], file: Path, title: str) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), dpi=120, layout="constrained")
    for library, colour in (("maskwright", "#0072b2"), ("smp", "#d55e00")):
        points = sorted((row["minutes"], row["mean_iou"]) for row in rows if row["library"] == library)
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=library)
    best = max(row["mean_iou"] for row in rows)
    axes.set(title=title, xlabel="minutes", ylabel="test mean IoU", xlim=(0, None), ylim=(0, 1.15 * best))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--dataset", choices=("camvid", "membrane"), default="camvid")
    parser.add_argument("--minutes", default="20,10", help="time budgets of Maskwright, separated by commas")
    parser.add_argument("--peer-minutes", default="20", help="training times of the peer, separated by commas")
    parser.add_argument("--peer-python", help="interpreter with segmentation_models_pytorch")
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("minutes.jsonl"), help="JSON lines file to extend")
    arguments = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.dataset == "camvid":
            data, scored_classes = arguments.data, CAMVID_CLASSES.split(",")
            validation_data = ["--val-images", data / "val/images", "--val-masks", data / "val/masks"]
            options = [*validation_data, "--classes", CAMVID_CLASSES, "--ignore", "11"]
            peer_options = ["--values", ",".join(map(str, range(12))), "--ignore", "11"]
        else:
            data, scored_classes = folder / "data", ["membrane"]
            split_every_fifth(arguments.data, data)
            options = ["--mask-values", "255=background,0=membrane"]
            peer_options = ["--values", "0,255", "--flip-vertically"]
        out = arguments.out
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        for seed in map(int, arguments.seeds.split(",")):
            trainings = [("maskwright", float(minutes)) for minutes in arguments.minutes.split(",") if minutes]
            if arguments.peer_python:
                trainings += [("smp", float(minutes)) for minutes in arguments.peer_minutes.split(",") if minutes]
            for library, minutes in trainings:
                if library == "maskwright":
                    row = train_maskwright(data, minutes, seed, folder, options)
                    ious = [row["iou"][name] for name in scored_classes]
                else:
                    row = train_smp(data, minutes, seed, arguments.peer_python, peer_options)
                    ious = row["iou"][: len(scored_classes)]
                row |= {"dataset": arguments.dataset, "mean_iou": sum(value or 0.0 for value in ious) / len(ious)}
                rows.append(row)
                out.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
                print(json.dumps(row), flush=True)
        plot(rows, out.with_suffix(".png"), f"{arguments.dataset}, from scratch")


if __name__ == "__main__":
    main()
