import json
import shutil
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import pytest

from maskwright.errors import MissingPackage, UnknownChoice
from maskwright.export import export, to_openvino
from maskwright.export.export import export_run
from maskwright.export.output_folder import OutputHoldsOtherFiles, check_engine_folder
from maskwright.export.trace import NeedsTensorFlow
from maskwright.export.verify import EngineDisagrees, UnscoredRun
from maskwright.images.atomic_folder import atomic_folder
from maskwright.images.output_folder import OutputExists, OutputNotEmpty
from maskwright.inference.engines.engine import NotARun, open_engine, weights_digest
from maskwright.segmenter import Segmenter
from maskwright.training.run_records import write_facts
from tests.export.a_run import VALUES, predict, write_run
from tests.networks.randomise import randomise
from tests.training.run_files import run_facts

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow")

TARGETS = [("openvino", "f32"), ("openvino", "bf16"), ("onnx", "f32"), ("litert", "f32"), ("saved_model", "f32")]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Redirect the cache, so that the user's is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def network(run):
    return keras.saving.load_model(run / "model.keras", compile=False)


@pytest.fixture(scope="module")
def engines(run, tmp_path_factory):
    """Export each kind of engine on first use and return its folder."""
    made = {}

    def engine(to, precision="f32"):
        if (to, precision) not in made:
            folder = tmp_path_factory.mktemp("engines") / f"{to}_{precision}"
            export_run(run, folder, to=to, precision=precision)
            made[to, precision] = folder
        return made[to, precision]

    return engine


def read(file):
    return json.loads(file.read_text())


def picture(seed=0, size=(44, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("to", "precision"), TARGETS)
def test_engine_equals_network_for_any_batch_and_image_size(to, precision, engines, network):
    engine = open_engine(engines(to, precision))
    for shape in [(1, 32, 32, 3), (3, 64, 20, 3), (2, 4, 8, 3)]:
        images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        found = engine(images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, network(images), atol=0.05 if precision == "bf16" else 1e-5)


def test_next_call_does_not_overwrite_earlier_results(engines):
    engine = open_engine(engines("openvino"))
    one, other = np.random.default_rng(1).random((2, 1, 8, 8, 3), np.float32)
    first = engine(one)
    kept = first.copy()
    engine(other)
    assert (first == kept).all()


def test_no_rewrite_exports_the_trained_graph(run, network, tmp_path):
    exported = export_run(run, tmp_path / "engine", rewrite=False)
    assert not exported.rewritten
    images = np.random.default_rng(1).normal(size=(1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(open_engine(tmp_path / "engine")(images), network(images), atol=1e-5)


def test_engine_json_records_the_verification(run, engines):
    folder = engines("openvino")
    exported = read(folder / "engine.json")
    assert (exported["runtime"], exported["precision"], exported["rewritten"]) == ("openvino", "f32", True)
    assert exported["mask_values"] == {"0": "background", "7": "cell", "9": "fibre", "255": "ignored"}
    checks = exported["checks"]
    assert checks["compared_images"] == 10
    assert checks["compared_pixels"] == 10 * 40 * 56
    assert checks["scored_pairs"] == 12
    assert checks["changed_pixels"] == 0
    assert 0 < checks["largest_difference"] < 1e-5
    known = read(run / "scores.json")["scores"]["mean_iou"]
    assert checks["run_mean_iou"] == known
    assert checks["engine_mean_iou"] == pytest.approx(known, abs=1e-12)
    assert (folder / "bundle.json").read_text() == (run / "bundle.json").read_text()


def test_progress_counts_compared_and_scored_images(run, tmp_path):
    seen = []
    export_run(run, tmp_path / "engine", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 22) for done in range(1, 23)]


@pytest.mark.parametrize("to", ["openvino", "onnx", "litert"])
def test_engine_predicts_and_evaluates_without_a_framework(to, run, engines, network, tmp_path):
    data = run.parent
    code = f"""
import sys
import numpy as np
from maskwright.segmenter import Segmenter
segmenter = Segmenter.load({str(engines(to))!r})
np.save({str(tmp_path / "mask.npy")!r}, segmenter.predict(np.load({str(tmp_path / "image.npy")!r})))
segmenter.predict_files([{str(data / "images")!r}], {str(tmp_path / "out")!r})
evaluation = segmenter.evaluate({str(data / "images")!r}, {str(data / "masks")!r})
print(evaluation.scores.mean_iou)
print(*sys.modules)
"""
    np.save(tmp_path / "image.npy", picture())
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    score, modules = done.stdout.splitlines()
    assert {"maskwright.segmenter", "numpy"} <= set(modules.split())
    assert not {"keras", "tensorflow", "jax", "torch", "openvino_telemetry"} & set(modules.split())
    assert (np.load(tmp_path / "mask.npy") == predict(network, picture())).all()
    assert float(score) == pytest.approx(read(run / "scores.json")["scores"]["mean_iou"], abs=1e-12)
    assert len(list((tmp_path / "out").glob("*.png"))) == 12


def test_segmenter_loads_its_own_export(run, network, tmp_path):
    engine = Segmenter.load(run).export(tmp_path / "engine")
    assert set(np.unique(engine.predict(picture()))) <= set(VALUES)
    assert (engine.predict(picture()) == predict(network, picture())).all()


def test_each_engine_has_its_own_digest(run, engines):
    names = {weights_digest(folder) for folder in (run, engines("openvino"), engines("onnx"))}
    assert len(names) == 3


@pytest.fixture
def wrong_weights(monkeypatch):
    """An exporter that writes weights other than those of the network."""

    def write(network, folder):
        return right(randomise(keras.models.clone_model(network), seed=2), folder)

    right = to_openvino.write
    monkeypatch.setattr(to_openvino, "write", write)


def test_disagreeing_engine_is_refused_and_removed(run, wrong_weights, tmp_path):
    found = r"openvino .* f32 .*: .* 0\.\d+ \(bound 0\.001\); \d+\.\d+% .*\(bound 0\.010%\); .* mean IoU is 0\.\d{4}"
    with pytest.raises(EngineDisagrees, match=found):
        export_run(run, tmp_path / "deep/engine")
    assert list((tmp_path / "deep").iterdir()) == []


def test_existing_engine_stays_if_its_replacement_is_refused(run, engines, wrong_weights, tmp_path):
    folder = shutil.copytree(engines("openvino"), tmp_path / "engine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(EngineDisagrees):
        export_run(run, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]


def test_engine_with_another_score_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    score = read(run / "scores.json")["scores"]["mean_iou"]
    stored = read(run / "scores.json")
    stored["scores"]["mean_iou"] += 0.002
    (copy / "scores.json").write_text(json.dumps(stored))
    text = rf"network: the validation mean IoU is {score:.4f} instead of {score + 0.002:.4f} \(bound 0\.001\)\."
    with pytest.raises(EngineDisagrees, match=text):
        export_run(copy, tmp_path / "engine")


def test_engine_is_replaced_only_with_overwrite(run, engines, tmp_path):
    folder = shutil.copytree(engines("onnx"), tmp_path / "engine")
    with pytest.raises(OutputExists, match=r"engine: contains an engine; add --overwrite"):
        export_run(run, folder)
    export_run(run, folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "engine.json", "model.bin", "model.xml"]
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]


def test_folder_with_other_files_is_refused(run):
    with pytest.raises(OutputNotEmpty, match=r"run: .* does not contain an engine \(it has bundle\.json, "):
        export_run(run, run, overwrite=True)
    with pytest.raises(OutputNotEmpty, match=r"recipe\.yaml: .*a file of that name"):
        export_run(run, run / "recipe.yaml")


@pytest.mark.parametrize("to", ["openvino", "onnx", "litert", "saved_model"])
def test_engine_with_other_files_is_not_replaced(to, engines, tmp_path):
    folder = shutil.copytree(engines(to), tmp_path / "engine")
    check_engine_folder(folder, overwrite=True)
    for name in ("masks/0.png", "masks/bundle.json", "saved_model/notes/a.pb", "model.txt"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("mine")
    text = r"engine: contains masks/0\.png, masks/bundle\.json, model\.txt, saved_model/notes/a\.pb, which .* deleted"
    with pytest.raises(OutputHoldsOtherFiles, match=text):
        check_engine_folder(folder, overwrite=True)
    assert (folder / "masks/0.png").read_text() == "mine"


def test_hidden_files_are_not_deleted_by_an_export(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/.notes").write_text("mine")
    with pytest.raises(OutputHoldsOtherFiles, match=r"engine: contains \.notes, which"):
        check_engine_folder(tmp_path / "engine", overwrite=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from maskwright.images.atomic_folder import atomic_folder

honest, left = Path.rename, int(sys.argv[2])

def deadly(*arguments):
    global left
    left -= 1
    honest(*arguments)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Path.rename = deadly
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "engine.json").write_text("new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("renames", "expected"), [(1, "old"), (2, "new")])
@pytest.mark.parametrize("meanwhile", ["nothing", "an empty folder"])
def test_engine_is_restored_after_a_kill_between_renames(renames, expected, meanwhile, tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "engine.json").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert folder.exists() == (renames == 2)
    if meanwhile == "an empty folder":
        folder.mkdir(exist_ok=True)
    with pytest.raises(OutputExists):
        check_engine_folder(folder, overwrite=False)
    assert (folder / "engine.json").read_text() == expected
    assert not (tmp_path / ".engine.former").exists()


def test_leftovers_of_a_killed_export_are_kept_beside_other_files(tmp_path):
    for name in (".engine.former/engine.json", "engine/mine"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("kept")
    with pytest.raises(OutputNotEmpty, match="it has mine"):
        check_engine_folder(tmp_path / "engine", overwrite=True)
    assert (tmp_path / ".engine.former/engine.json").exists()


def test_interrupted_export_leaves_the_folder_unchanged(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/old").write_text("old")

    def interrupted():
        with atomic_folder(tmp_path / "engine") as folder:
            (folder / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.rglob("*")] == ["engine", "old"]


def test_incomplete_run_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "scores.json").unlink()
    write_facts(copy / "run.json", run_facts(stopped_by="interrupt"))
    with pytest.raises(UnscoredRun, match=r"run: found no scores\.json: .*not complete.* train --resume --out .*run\."):
        export_run(copy, tmp_path / "engine")
    write_facts(copy / "run.json", run_facts())
    (copy / "report.html").write_text("")
    with pytest.raises(UnscoredRun, match=r"run: found no scores\.json: .*run is complete.* Train again"):
        export_run(copy, tmp_path / "engine")
    (copy / "recipe.yaml").unlink()  # what `convert-weights` writes has none
    with pytest.raises(UnscoredRun, match=r"run: found no scores\.json: .*converted"):
        export_run(copy, tmp_path / "engine")
    (copy / "model.keras").unlink()
    with pytest.raises(NotARun, match=r"run: not a run: recipe\.yaml is missing"):
        export_run(copy, tmp_path / "engine")
    with pytest.raises(NotARun, match=r"nowhere: not a run: there is no such folder"):
        export_run(tmp_path / "nowhere", tmp_path / "engine")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"to": "openvin"}, r"to='openvin' is not known; expected one of openvino, onnx, .* Did you mean 'openvino'\?"),
        ({"to": "onnx", "precision": "bf16"}, r"precision of onnx='bf16' is not known; expected one of f32\."),
    ],
)
def test_unknown_runtime_or_precision_is_refused(options, text, run, tmp_path):
    with pytest.raises(UnknownChoice, match=text):
        export_run(run, tmp_path / "engine", **options)


def test_other_backend_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("maskwright.export.trace.keras.backend.backend", lambda: "jax")
    with pytest.raises(NeedsTensorFlow, match=r"jax.* KERAS_BACKEND=tensorflow"):
        export_run(run, tmp_path / "engine")


def test_missing_package_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.delitem(sys.modules, "maskwright.export.to_onnx", raising=False)
    with pytest.raises(
        MissingPackage, match=r"Exporting to onnx requires tf2onnx.* \(.*tf2onnx.*\).*pip install 'maskwright\[onnx\]'"
    ):
        export_run(run, tmp_path / "engine", to="onnx")


def test_onnx_runtime_for_gpus_is_accepted_and_recorded(monkeypatch):
    def version(package):
        if package == "onnxruntime":
            raise PackageNotFoundError(package)
        return f"version of {package}"

    monkeypatch.setattr(export, "version", version)
    versions = export._versions(export.TARGETS["onnx"]["f32"])
    assert versions["onnxruntime"] == "version of onnxruntime-gpu"
    assert versions["onnx"] == "version of onnx"
