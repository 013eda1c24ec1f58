"""Test mean IoU after so many minutes from scratch, side by side with segmentation-models-pytorch.

    python benchmarks/camvid_minutes.py CAMVID --peer-python PYTHON --minutes 20,10 --peer-minutes 20 [--seeds 0,1]
    python benchmarks/camvid_minutes.py MEMBRANE --set membrane --peer-python PYTHON --minutes 5 --peer-minutes 5

CAMVID holds ``train``, ``val`` and ``test``, each with ``images`` and ``masks``; MEMBRANE ``images`` and ``masks``, of
which every fifth by number is held out. PYTHON is that of an environment as `smp_server.py` describes it, with Pillow.

Our side is the command line with no options but the data's: classes, the ignored id, and the time. All of its command
is counted: start, reading, tracing, training, validating and the proof at the end. The peer's side is `smp_minutes.py`,
of which training alone is counted. Each run is a row of ``--out`` (JSON lines), and the plot shows all rows in it.
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

CAMVID = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
PEER = Path(__file__).with_name("smp_minutes.py")


def linked(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def halves(data: Path, place: Path) -> None:
    """``train`` and ``test`` of a folder without a split: every fifth image by number is held out."""
    for kind in ("images", "masks"):
        files = sorted((data / kind).iterdir(), key=lambda file: (len(file.stem), file.stem))
        linked([file for number, file in enumerate(files) if number % 5 != 4], place / "train" / kind)
        linked(files[4::5], place / "test" / kind)


def ours(data: Path, minutes: float, seed: int, place: Path, options: list[str]) -> dict:
    program = str(Path(sys.executable).with_name("maskwright"))
    run, scores = place / f"run-{minutes:g}-{seed}", place / "scores.json"
    shutil.rmtree(run, ignore_errors=True)
    folders = ["--images", data / "train/images", "--masks", data / "train/masks"]
    seeded = ["--set", f"training.seed={seed}"] if seed else []
    began = time.perf_counter()
    train = [program, "train", *folders, *options, *seeded, "--time-budget", f"{minutes:g}m", "--out", run]
    subprocess.run(list(map(str, train)), check=True)
    seconds = time.perf_counter() - began
    test = ["--images", data / "test/images", "--masks", data / "test/masks", "--json", scores]
    subprocess.run(list(map(str, [program, "evaluate", run, *test])), check=True, stdout=subprocess.DEVNULL)
    facts = json.loads((run / "run.json").read_text())
    classes = json.loads(scores.read_text())["scores"]["classes"]
    iou = {entry["name"]: entry["iou"] for entry in classes}
    row = {"who": "maskwright", "minutes": minutes, "seed": seed, "steps": facts["steps"], "seconds": round(seconds)}
    return row | {"validation": facts["validation_mean_iou"], "iou": iou}


def theirs(data: Path, minutes: float, seed: int, python: str, options: list[str]) -> dict:
    command = [python, str(PEER), data / "train", data / "test", "--minutes", minutes, "--seed", seed, *options]
    out = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def plot(rows: list[dict], file: Path, title: str) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), dpi=120, layout="constrained")
    for who, colour in (("maskwright", "#0072b2"), ("smp", "#d55e00")):
        points = sorted((row["minutes"], row["mean_iou"]) for row in rows if row["who"] == who)
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=who)
    best = max(row["mean_iou"] for row in rows)
    axes.set(title=title, xlabel="minutes", ylabel="test mean IoU", xlim=(0, None), ylim=(0, 1.15 * best))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=("camvid", "membrane"), default="camvid")
    parser.add_argument("--minutes", default="20,10")
    parser.add_argument("--peer-minutes", default="20")
    parser.add_argument("--peer-python")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("minutes.jsonl"))
    given = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.set == "camvid":
            data, scored = given.data, CAMVID.split(",")
            val = ["--val-images", data / "val/images", "--val-masks", data / "val/masks"]
            options = [*val, "--classes", CAMVID, "--ignore", "11"]
            peer = ["--values", ",".join(map(str, range(12))), "--ignore", "11"]
        else:
            data, scored = place / "data", ["membrane"]
            halves(given.data, data)
            options = ["--mask-values", "255=background,0=membrane"]
            peer = ["--values", "0,255", "--upside-down"]
        rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
        for seed in map(int, given.seeds.split(",")):
            todo = [("maskwright", float(m)) for m in given.minutes.split(",") if m]
            todo += [("smp", float(m)) for m in given.peer_minutes.split(",") if m and given.peer_python]
            for who, minutes in todo:
                if who == "maskwright":
                    row = ours(data, minutes, seed, place, options)
                    found = [row["iou"][name] for name in scored]
                else:
                    row = theirs(data, minutes, seed, given.peer_python, peer)
                    found = row["iou"][: len(scored)]
                row |= {"set": given.set, "mean_iou": sum(value or 0.0 for value in found) / len(found)}
                rows.append(row)
                given.out.write_text("".join(json.dumps(one) + "\n" for one in rows))
                print(json.dumps(row), flush=True)
        plot(rows, given.out.with_suffix(".png"), f"{given.set}, from scratch")


if __name__ == "__main__":
    main()
