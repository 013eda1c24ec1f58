"""Measure the score that programs reach in a given number of minutes on a CPU. `docs/minutes.md` contains the rules.

    python benchmarks/minutes.py --data DATA --work WORK --entrant NAME="COMMAND" [--entrant ...]
        [--sets camvid,membrane,nuclei,vessels,salt] [--minutes 5,20] [--seeds 0]
        [--rows docs/minutes.jsonl] [--table docs/minutes.md] [--plot minutes.webp]

DATA contains the folders ``camvid``, ``membrane``, ``nuclei``, ``vessels`` and ``salt``. WORK receives the prepared
sets and, for each run, the output and the log; it may be deleted afterwards. COMMAND is run once for each set, budget
and seed, without a shell, after these placeholders have been replaced:

    {folder}   folder of the set: train/images, train/masks, test/images, set.json, and for some sets val
    {train}    {folder}/train
    {test}     {folder}/test/images
    {out}      empty folder for one PNG mask of class ids per test image
    {seconds}  training budget in seconds
    {seed}     seed
    {set}      name of the set

Each run adds a row to the file of rows (JSON lines). Runs that the file already contains for this machine are skipped;
failed runs are repeated. Without ``--entrant``, only the table and the plot are written, from the existing rows.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

START_SECONDS = 60  # training may end this long after the budget
PREDICTION_SECONDS = 600  # the command may end this long after the budget
THRESHOLDS = np.arange(50, 100, 5) / 100  # of the mean precision
CAMVID_CLASSES = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
TABLE_START, TABLE_END = "<!-- start of the table -->", "<!-- end of the table -->"
PLACEHOLDERS = ("folder", "train", "test", "out", "seconds", "seed", "set")

Files = list[tuple[Path, Path]]  # image, mask


@dataclass(frozen=True)
class ImageSet:
    """Classes of a set, its files of each part, and the class ids of a stored mask."""

    classes: tuple[str, ...]
    parts: Callable[[Path], dict[str, Files]]
    class_ids: Callable[[np.ndarray], np.ndarray]
    ignored: int | None = None
    gray: bool = False
    score: str = "mean_iou"
    """Field of the rows that the table and the plot show."""

    def read_mask(self, file: Path) -> np.ndarray:
        return self.class_ids(np.asarray(Image.open(file))).astype(np.uint8)

    @property
    def scored(self) -> list[int]:
        return [index for index, name in enumerate(self.classes) if name != "background"]


def hold_out(files: Files, held_out: Callable[[int], bool]) -> dict[str, Files]:
    train = [pair for index, pair in enumerate(files) if not held_out(index)]
    return {"train": train, "test": [pair for index, pair in enumerate(files) if held_out(index)]}


def camvid_parts(data: Path) -> dict[str, Files]:
    images = {part: sorted((data / part / "images").iterdir()) for part in ("train", "val", "test")}
    return {
        part: [(image, data / part / "masks" / f"{image.stem}.png") for image in files]
        for part, files in images.items()
    }


def membrane_parts(data: Path) -> dict[str, Files]:
    images = sorted((data / "images").iterdir(), key=lambda file: (len(file.stem), file.stem))
    return hold_out([(image, data / "masks" / image.name) for image in images], lambda index: index % 5 == 4)


def nuclei_parts(data: Path) -> dict[str, Files]:
    images = sorted((data / "images").iterdir())
    return hold_out([(image, data / "objects" / image.name) for image in images], lambda index: index % 5 == 0)


def vessel_parts(data: Path) -> dict[str, Files]:
    files = [(image, image.with_name(f"{image.stem}_1stHO.png")) for image in sorted(data.glob("*.jpg"))]
    return hold_out(files, lambda index: index >= len(files) - 8)


def salt_parts(data: Path) -> dict[str, Files]:
    parts = {part: sorted((data / part / "images").iterdir()) for part in ("train", "test")}
    return {part: [(image, data / part / "masks" / image.name) for image in images] for part, images in parts.items()}


SETS = {
    "camvid": ImageSet(tuple(CAMVID_CLASSES.split(",")), camvid_parts, lambda pixels: pixels, ignored=11),
    "membrane": ImageSet(("background", "membrane"), membrane_parts, lambda pixels: pixels == 0, gray=True),
    "nuclei": ImageSet(("background", "nucleus"), nuclei_parts, lambda pixels: pixels > 0),
    "vessels": ImageSet(("background", "vessel"), vessel_parts, lambda pixels: pixels > 0),
    "salt": ImageSet(("background", "salt"), salt_parts, lambda pixels: pixels > 0, gray=True, score="mean_precision"),
}


def prepare(name: str, data: Path, folder: Path) -> None:
    """Write what an entrant gets of a set: all images, the masks of train and val as class ids, and ``set.json``."""
    image_set = SETS[name]
    shutil.rmtree(folder, ignore_errors=True)
    parts = image_set.parts(data / name)
    for part, files in parts.items():
        (folder / part / "images").mkdir(parents=True)
        for image, mask in files:
            shutil.copyfile(image, folder / part / "images" / image.name)
            if part != "test":
                (folder / part / "masks").mkdir(exist_ok=True)
                pixels = image_set.read_mask(mask)
                Image.fromarray(pixels).save(folder / part / "masks" / f"{image.stem}.png")
    facts = {"name": name, "classes": image_set.classes, "ignored": image_set.ignored, "gray": image_set.gray}
    (folder / "set.json").write_text(json.dumps(facts | {"validation": "val" in parts}, indent=2) + "\n")
    print(f"{name}:", ", ".join(f"{len(files)} {part}" for part, files in parts.items()), "images", flush=True)


class RunFailed(Exception):
    """The run of an entrant does not count; the message is the reason."""


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Return pixel counts, shape (classes, classes), truth by prediction, without the pixels of other true values."""
    valid = truth < classes
    pairs = truth[valid].astype(np.int64) * classes + prediction[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Return the IoU of each class; NaN for a class that neither the truth nor the prediction contains."""
    true_positives = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - true_positives
    return np.where(union > 0, true_positives / np.maximum(union, 1), np.nan)


def mean_precision(confusion: np.ndarray) -> float:
    """Return the share of thresholds below the IoU of class 1; 1 if neither truth nor prediction contains the class."""
    in_truth, in_prediction = confusion[1].any(), confusion[:, 1].any()
    if in_truth and in_prediction:
        return float(np.mean(class_iou(confusion)[1] > THRESHOLDS))
    return float(in_truth == in_prediction)


def compute_scores(confusions: list[np.ndarray], image_set: ImageSet) -> dict:
    """Return the scores from one confusion matrix per image. ``mean_iou`` and ``iou`` are of all pixels together."""
    pooled = class_iou(np.sum(confusions, axis=0))[image_set.scored]
    of_images = [class_iou(confusion)[image_set.scored] for confusion in confusions]
    scores = {
        "mean_iou": round(float(np.nanmean(pooled)), 6),
        "mean_of_images": round(mean(1.0 if np.isnan(iou).all() else float(np.nanmean(iou)) for iou in of_images), 6),
    }
    if len(image_set.classes) == 2:
        return scores | {"mean_precision": round(mean(map(mean_precision, confusions)), 6)}
    of_classes = [None if np.isnan(iou) else round(float(iou), 6) for iou in pooled]
    return scores | {"iou": dict(zip(image_set.classes, of_classes, strict=True))}


def score_masks(out: Path, files: Files, image_set: ImageSet) -> dict:
    confusions, classes = [], len(image_set.classes)
    for image, mask in files:
        file, truth = out / f"{image.stem}.png", image_set.read_mask(mask)
        if not file.is_file():
            raise RunFailed(f"{file.name} is missing")
        try:
            prediction = np.asarray(Image.open(file))
        except (OSError, SyntaxError) as error:
            raise RunFailed(f"{file.name} cannot be read") from error
        if prediction.shape != truth.shape:
            raise RunFailed(f"{file.name} has the shape {prediction.shape}, expected {truth.shape}")
        if prediction.max() >= classes:
            raise RunFailed(f"{file.name} contains the value {prediction.max()}, expected class ids below {classes}")
        confusions.append(confusion_matrix(truth, prediction, classes))
    return compute_scores(confusions, image_set)


def end_processes(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def run_command(command: list[str], log: Path, budget: float, out: Path) -> dict:
    """Run a command, its output in ``log``; return its seconds, and those until it wrote the file ``trained``."""
    started = time.time()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            raise RunFailed(f"the command cannot be started: {error.strerror}") from error
        try:
            code = process.wait(timeout=budget + PREDICTION_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"stopped {PREDICTION_SECONDS} seconds after the budget") from error
        finally:
            end_processes(process.pid)  # also what the command has left running
            process.wait()
    seconds, trained = time.time() - started, out / "trained"
    if code:
        raise RunFailed(f"exit code {code}")
    training_seconds = min(trained.stat().st_mtime - started, seconds) if trained.exists() else seconds
    if training_seconds > budget + START_SECONDS:
        raise RunFailed(f"training ended after {training_seconds:.0f} seconds; the budget is {budget:g} seconds")
    return {"training_seconds": round(training_seconds, 1), "seconds": round(seconds, 1)}


def read_notes(file: Path) -> dict:
    try:
        notes = json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise RunFailed(f"{file.name} is not JSON") from error
    return {"notes": notes}


def describe_machine() -> dict:
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
        cpu = models[0] if models else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu, "cores": cores}


def measure(entrant: tuple[str, str], name: str, minutes: float, seed: int, data: Path, work: Path) -> dict:
    """Run an entrant once and score its masks; return a row, with the field ``failed`` if the run does not count."""
    label, command = entrant
    run = work / "runs" / re.sub(r"[^\w.-]+", "-", f"{name}-{minutes:g}-{label}-{seed}")
    folder, out, log = work / "sets" / name, run / "out", run / "log.txt"
    shutil.rmtree(run, ignore_errors=True)
    out.mkdir(parents=True)
    values = {"folder": folder, "train": folder / "train", "test": folder / "test/images", "out": out, "set": name}
    values |= {"seconds": f"{60 * minutes:g}", "seed": seed}
    words = [re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), word) for word in shlex.split(command)]
    row = {"set": name, "minutes": minutes, "entrant": label, "seed": seed}
    facts = {"machine": describe_machine(), "date": date.today().isoformat()}
    try:
        seconds = run_command(words, log, 60 * minutes, out)
        scores = score_masks(out, SETS[name].parts(data / name)["test"], SETS[name])
        return row | scores | seconds | facts | read_notes(out / "entrant.json")
    except RunFailed as failure:
        print(f"failed: {failure}; last lines of {log}:", *log.read_text(errors="replace").splitlines()[-10:], sep="\n")
        return row | {"failed": str(failure)} | facts


def key(row: dict) -> tuple:
    return row["set"], row["minutes"], row["entrant"], row["seed"], *row["machine"].values()


def read_rows(file: Path) -> list[dict]:
    """Return the last row of each run on each machine."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return list({key(row): row for row in rows}.values())


def table_of(rows: list[dict]) -> str:
    """Return the Markdown tables of the scores and of the seconds."""
    if not rows:
        return "There are no results yet.\n"
    columns = sorted({(list(SETS).index(row["set"]), row["minutes"]) for row in rows})
    columns = [(list(SETS)[index], minutes) for index, minutes in columns]
    entrants = list(dict.fromkeys((row["entrant"], *row["machine"].values()) for row in rows))

    def table(cell: Callable[[list[dict]], str]) -> str:
        lines = ["| entrant | machine | " + " | ".join(f"{name}, {minutes:g}" for name, minutes in columns) + " |"]
        lines.append("| --- | --- |" + " ---: |" * len(columns))
        for entrant, cpu, cores in entrants:
            cells = []
            for column in columns:
                runs = [row for row in rows if key(row)[:3] == (*column, entrant) and key(row)[4:] == (cpu, cores)]
                counted = [row for row in runs if "failed" not in row]
                cells.append(cell(counted) if counted else "failed" if runs else "")
            lines.append(f"| {entrant} | {cpu}, {cores} cores | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def average(runs: list[dict], field: str, digits: int) -> str:
        return f"{mean(row[field] for row in runs):.{digits}f}"

    scores = table(lambda runs: f"{average(runs, SETS[runs[0]['set']].score, 3)} ({len(runs)})")
    seconds = table(lambda runs: f"{average(runs, 'training_seconds', 0)} / {average(runs, 'seconds', 0)}")
    failed = sum("failed" in row for row in rows)
    lines = (
        "Score on the test images, by set and minutes of training (in parentheses: number of seeds). It is the mean\n"
        "IoU, and for `salt` the mean precision:",
        scores,
        "Seconds from the start of the command to the end of training / to the end of the command:",
        seconds,
        *([f"Failed runs, not included in the means: {failed}."] if failed else []),
    )
    return "\n\n".join(lines) + "\n"


def write_table(rows: list[dict], file: Path) -> None:
    """Write the tables to a file; in a file with the two marks, replace the text between them."""
    text, table = file.read_text() if file.exists() else "", table_of(rows)
    if TABLE_START in text:
        before, _, after = text.partition(TABLE_START)
        table = f"{before}{TABLE_START}\n\n{table}\n{TABLE_END}{after.partition(TABLE_END)[2]}"
    file.write_text(table)


def draw_plot(rows: list[dict], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in rows if "failed" not in row]
    names = [name for name in SETS if any(row["set"] == name for row in rows)]
    entrants = list(dict.fromkeys((row["entrant"], *row["machine"].values()) for row in rows))
    one_machine = len({entrant[1:] for entrant in entrants}) == 1
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    size = {"figsize": (4.2 * columns, 3.1 * lines + 0.5), "dpi": 120}
    figure, grid = plt.subplots(lines, columns, squeeze=False, layout="constrained", **size)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
    for axes, name in zip(grid.flat, names, strict=False):
        for number, (entrant, *machine) in enumerate(entrants):
            style = {"color": colours[number % len(colours)], "marker": "os^D"[number // len(colours) % 4]}
            of_entrant = [row for row in rows if key(row)[0] == name and key(row)[2] == entrant]
            points = [(row["minutes"], row[SETS[name].score]) for row in of_entrant if key(row)[4:] == tuple(machine)]
            budgets = sorted({minutes for minutes, _ in points})
            means = [mean(score for minutes, score in points if minutes == budget) for budget in budgets]
            label = entrant if one_machine else f"{entrant} ({machine[0]}, {machine[1]} cores)"
            axes.plot(budgets, means, linewidth=1.6, markersize=6, label=label, clip_on=False, **style)
            if len(points) > len(budgets):
                axes.scatter(*zip(*points, strict=True), s=12, alpha=0.45, linewidths=0, **style)
        budgets = sorted({row["minutes"] for row in rows if row["set"] == name})
        classes = len(SETS[name].scored)
        label = f"mean IoU of {classes} classes" if classes > 1 else f"IoU of class {SETS[name].classes[1]}"
        label = "mean precision" if SETS[name].score == "mean_precision" else label
        axes.set(title=name, xlabel="training budget in minutes", ylabel=label, xlim=(0, 1.08 * budgets[-1]))
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(file)
    plt.close(figure)


def parse_entrant(text: str) -> tuple[str, str]:
    name, _, command = text.partition("=")
    unknown = set(re.findall(r"\{(\w+)\}", command)) - set(PLACEHOLDERS)
    if not name or not command or unknown:
        problem = f"unknown placeholders {sorted(unknown)}" if unknown else 'expected NAME="COMMAND"'
        raise argparse.ArgumentTypeError(f"{text}: {problem}")
    return name, command


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def set_names(text: str) -> list[str]:
    if unknown := set(text.split(",")) - set(SETS):
        raise argparse.ArgumentTypeError(f"unknown sets {sorted(unknown)}")
    return text.split(",")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entrant", type=parse_entrant, action="append", default=[], help="NAME=COMMAND; repeatable")
    parser.add_argument("--data", type=Path, help="folder that contains the folders of the sets")
    parser.add_argument("--work", type=Path, help="folder for prepared sets, outputs and logs")
    parser.add_argument("--sets", type=set_names, default=list(SETS), help="names, separated by commas")
    parser.add_argument("--minutes", type=numbers, default=[5.0, 20.0], help="budgets, separated by commas")
    parser.add_argument("--seeds", type=numbers, default=[0.0], help="seeds, separated by commas")
    parser.add_argument("--rows", type=Path, default=Path("docs/minutes.jsonl"), help="JSON lines file to extend")
    parser.add_argument("--table", type=Path, help="Markdown file to write the tables to")
    parser.add_argument("--plot", type=Path, help="image file to draw the scores in")
    options = parser.parse_args(words)
    if options.entrant and not (options.data and options.work):
        parser.error("--entrant needs --data and --work")
    runs = [
        (entrant, name, minutes, int(seed))
        for seed in options.seeds
        for name in options.sets
        for minutes in options.minutes
        for entrant in options.entrant
    ]
    machine = tuple(describe_machine().values())
    present = {key(row) for row in read_rows(options.rows) if "failed" not in row}
    runs = [run for run in runs if (run[1], run[2], run[0][0], run[3], *machine) not in present]
    if runs:
        work = options.work.resolve()
        for name in dict.fromkeys(run[1] for run in runs):
            prepare(name, options.data, work / "sets" / name)
    failures = 0
    for run in runs:
        row = measure(*run, options.data, work)
        failures += "failed" in row
        print(json.dumps(row), flush=True)
        with options.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if options.table:
            write_table(read_rows(options.rows), options.table)
    rows = read_rows(options.rows)
    if options.table:
        write_table(rows, options.table)
    if options.plot and any("failed" not in row for row in rows):
        draw_plot(rows, options.plot)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
