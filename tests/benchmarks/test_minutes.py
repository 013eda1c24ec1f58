"""The benchmark of the score in a given number of minutes, with an entrant that writes constant masks on drawn sets."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import minutes

ROOT = Path(__file__).parents[2]
ENTRANT = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
test, out, value, mistake = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
print("the last line")
if mistake == "exit":
    sys.exit(3)
(out / "trained").touch()
for file in list(test.iterdir())[mistake == "missing":]:
    width, height = Image.open(file).size
    Image.fromarray(np.full((height - (mistake == "size"), width), value, np.uint8)).save(out / f"{file.stem}.png")
(out / "entrant.json").write_text("{" if mistake == "notes" else json.dumps({"steps": 7}))
"""


def write(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(file)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small sets in the layout of the real ones: a quarter of each mask is the class, or the last class of CamVid."""
    folder = tmp_path_factory.mktemp("data")
    quarter = np.zeros((8, 8), np.uint8)
    quarter[:4, :4] = 1
    for part in ("train", "val", "test"):
        for name in ("a", "b"):
            write(folder / f"camvid/{part}/images/{name}.jpg", np.zeros((8, 8, 3), np.uint8))
            mask = np.where(quarter, 10, 2).astype(np.uint8)
            mask[4:] = 11
            write(folder / f"camvid/{part}/masks/{name}.png", mask)
    for number in range(11):
        write(folder / f"membrane/images/{number}.png", np.zeros((8, 8), np.uint8))
        write(folder / f"membrane/masks/{number}.png", 255 * (1 - quarter))
        write(folder / f"nuclei/images/n{number:02}.png", np.zeros((8, 8, 3), np.uint8))
        write(folder / f"nuclei/objects/n{number:02}.png", quarter.astype(np.uint16) * 300)
        write(folder / f"vessels/v{number:02}.jpg", np.zeros((8, 8, 3), np.uint8))
        write(folder / f"vessels/v{number:02}_1stHO.png", quarter.astype(bool))
        write(folder / f"vessels/v{number:02}_2ndHO.png", np.ones((8, 8), bool))
    return folder


@pytest.fixture
def run(data, tmp_path):
    """Run the benchmark with an entrant that writes ``value``; return the exit code and the rows."""
    (tmp_path / "entrant.py").write_text(ENTRANT)

    def run(*options, value=1, mistake="none", sets="membrane"):
        command = f"{sys.executable} {tmp_path / 'entrant.py'} {{test}} {{out}} {value} {mistake}"
        words = ["--data", data, "--work", tmp_path / "work", "--rows", tmp_path / "rows.jsonl", "--sets", sets]
        words += ["--minutes", "0.5", "--entrant", f"constant={command}", *options]
        code = minutes.main([str(word) for word in words])
        return code, [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]

    return run


def test_entrant_gets_class_ids_and_no_masks_of_test_images(run, tmp_path):
    run(sets="camvid,membrane,nuclei,vessels")
    sets = tmp_path / "work/sets"
    files = {
        name: sorted(file.stem for file in (sets / name / "test").rglob("*.*"))
        for name in ("membrane", "nuclei", "vessels")
    }
    assert files["membrane"] == ["4", "9"]
    assert files["nuclei"] == ["n00", "n05", "n10"]
    assert files["vessels"] == [f"v{number:02}" for number in range(3, 11)]
    assert not list(sets.glob("*/test/masks"))
    for name, values in {"camvid": [2, 10, 11], "membrane": [0, 1], "nuclei": [0, 1], "vessels": [0, 1]}.items():
        images, masks = (sorted((sets / name / "train" / kind).iterdir()) for kind in ("images", "masks"))
        assert [file.stem for file in images] == [file.stem for file in masks]
        for mask in masks:
            pixels = np.asarray(Image.open(mask))
            assert np.unique(pixels).tolist() == values
            assert (pixels[:4, :4] == values[min(1, len(values) - 1)]).all()
    facts = json.loads((sets / "camvid/set.json").read_text())
    assert (len(facts["classes"]), facts["ignored"], facts["gray"], facts["validation"]) == (11, 11, False, True)
    facts = json.loads((sets / "membrane/set.json").read_text())
    assert facts["classes"] == ["background", "membrane"]
    assert (facts["ignored"], facts["gray"], facts["validation"]) == (None, True, False)


def test_each_run_adds_a_row_with_its_score(run):
    code, rows = run("--seeds", "0,1", sets="camvid,membrane", value=1)
    assert code == 0
    assert [(row["set"], row["minutes"], row["seed"]) for row in rows] == [
        (name, 0.5, seed) for seed in (0, 1) for name in ("camvid", "membrane")
    ]
    assert rows[0]["mean_iou"] == 0  # class 1 is not in the truth
    assert rows[1]["mean_iou"] == rows[1]["mean_of_images"] == 0.25
    assert rows[1]["mean_precision"] == 0
    assert rows[1]["notes"] == {"steps": 7}
    assert rows[1]["machine"]["cores"] >= 1
    assert 0 < rows[1]["training_seconds"] <= rows[1]["seconds"] < 30


def test_ignored_pixels_and_absent_classes_do_not_count(run):
    _, rows = run(sets="camvid", value=2)
    # The upper half has 16 pixels of class 2 and 16 of class 10; the lower half is ignored.
    assert rows[0]["iou"]["pole"] == 0.5
    assert rows[0]["iou"]["bicyclist"] == 0
    assert rows[0]["iou"]["sky"] is None
    assert rows[0]["mean_iou"] == 0.25


def test_present_runs_are_skipped(run):
    run()
    _, rows = run("--seeds", "0,1")
    assert [row["seed"] for row in rows] == [0, 1]


@pytest.mark.parametrize(
    ("value", "mistake", "reason"),
    [
        (1, "exit", "exit code 3"),
        (1, "missing", ".png is missing"),
        (1, "size", ".png has the shape (7, 8), expected (8, 8)"),
        (2, "none", ".png contains the value 2, expected class ids below 2"),
        (1, "notes", "entrant.json is not JSON"),
    ],
)
def test_failed_runs_are_recorded_and_repeated(run, tmp_path, capsys, value, mistake, reason):
    code, rows = run(value=value, mistake=mistake)
    assert code == 1
    assert reason in rows[0]["failed"]
    assert "mean_iou" not in rows[0]
    assert "the last line" in capsys.readouterr().out
    (log,) = (tmp_path / "work/runs").glob("*/log.txt")
    assert log.read_text().splitlines()[-1] == "the last line"
    code, rows = run("--table", tmp_path / "table.md")
    assert code == 0
    assert "failed" not in rows[1]
    assert "0.250 (1)" in (tmp_path / "table.md").read_text()


def test_run_is_stopped_after_the_allowed_time(monkeypatch, tmp_path):
    monkeypatch.setattr(minutes, "PREDICTION_SECONDS", 0.2)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(minutes.RunFailed, match="stopped"):
        minutes.run_command(command, tmp_path / "log.txt", 0.1, tmp_path)


def test_time_of_the_whole_command_counts_as_training_without_the_file_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(minutes, "START_SECONDS", 0)
    command = [sys.executable, "-c", "import pathlib, sys, time; time.sleep(0.3); pathlib.Path(sys.argv[1]).touch()"]
    with pytest.raises(minutes.RunFailed, match=r"the budget is 0\.2 seconds"):
        minutes.run_command([*command, str(tmp_path / "other")], tmp_path / "log.txt", 0.2, tmp_path)
    monkeypatch.setattr(minutes, "START_SECONDS", 30)
    seconds = minutes.run_command([*command, str(tmp_path / "trained")], tmp_path / "log.txt", 0.2, tmp_path)
    assert 0.3 <= seconds["training_seconds"] <= seconds["seconds"]


def test_scores_equal_those_of_a_manual_calculation():
    truth = np.array([[0, 0, 1, 1], [1, 2, 2, 11]])
    prediction = np.array([[0, 1, 1, 1], [0, 2, 1, 0]])
    confusion = minutes.confusion_matrix(truth, prediction, 3)
    assert confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 1, 1]]
    assert minutes.class_iou(confusion).tolist() == [1 / 3, 2 / 5, 1 / 2]


def test_mean_precision_counts_thresholds_and_empty_masks():
    full, empty = np.ones((1, 10), int), np.zeros((1, 10), int)
    part = np.array([[1] * 7 + [0] * 3])
    pairs = [(full, part, 0.4), (full, empty, 0.0), (empty, part, 0.0), (empty, empty, 1.0), (full, full, 1.0)]
    for truth, prediction, expected in pairs:  # an IoU of 0.7 exceeds 0.5, 0.55, 0.6 and 0.65
        assert minutes.mean_precision(minutes.confusion_matrix(truth, prediction, 2)) == expected
    confusions = [minutes.confusion_matrix(truth, prediction, 2) for truth, prediction, _ in pairs]
    scores = minutes.compute_scores(confusions, minutes.SETS["membrane"])
    # Together: 7 + 10 true positives; the union is 10 + 10 + 7 + 0 + 10 pixels.
    assert scores == {"mean_iou": round(17 / 37, 6), "mean_of_images": 0.54, "mean_precision": 0.48}


def row(**fields):
    defaults = {"set": "membrane", "minutes": 5.0, "entrant": "a", "seed": 0, "mean_iou": 0.5, "date": "2000-01-01"}
    seconds = {"training_seconds": 290.0, "seconds": 310.0}
    return defaults | seconds | {"machine": {"cpu": "CPU", "cores": 2}} | fields


def test_table_contains_means_over_seeds(tmp_path):
    rows = [row(), row(seed=1, mean_iou=0.6, seconds=330.0), row(set="camvid", minutes=20.0, mean_iou=0.4)]
    rows += [row(entrant="b", machine={"cpu": "other", "cores": 4}, failed="exit code 1")]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{minutes.TABLE_START}\nold\n{minutes.TABLE_END}\nafter\n")
    minutes.write_table(rows, page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert "| entrant | machine | camvid, 20 | membrane, 5 |" in lines
    assert "| a | CPU, 2 cores | 0.400 (1) | 0.550 (2) |" in lines
    assert "| a | CPU, 2 cores | 290 / 310 | 290 / 320 |" in lines
    assert "| b | other, 4 cores |  | failed |" in lines
    assert "Failed runs, not included in the means: 1." in lines


def test_later_row_replaces_an_earlier_one_of_the_same_run(tmp_path):
    rows = [row(failed="exit code 1"), row(), row(machine={"cpu": "other", "cores": 4})]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert minutes.read_rows(tmp_path / "rows.jsonl") == rows[1:]


def test_plot_is_an_image(tmp_path):
    minutes.draw_plot([row(), row(seed=1, mean_iou=0.6), row(set="camvid")], tmp_path / "plot.webp")
    assert min(Image.open(tmp_path / "plot.webp").size) > 200


def test_unknown_placeholder_is_refused(run, capsys):
    with pytest.raises(SystemExit):
        run("--entrant", "a=command {folders}")
    assert "unknown placeholders ['folders']" in capsys.readouterr().err


def test_table_of_the_page_contains_the_stored_rows():
    page = (ROOT / "docs/minutes.md").read_text()
    table = page.partition(minutes.TABLE_START)[2].partition(minutes.TABLE_END)[0]
    assert table.strip() == minutes.table_of(minutes.read_rows(ROOT / "docs/minutes.jsonl")).strip()
