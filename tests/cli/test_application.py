"""Common behaviour of all commands: help, version, exit codes and errors."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from maskwright.errors import InputError
from maskwright.weights.download import fetch
from tests.cli.pairs import folders, paint
from tests.weights.server import serving

COMMANDS = (
    *("train", "find-lr", "evaluate", "compare", "tune", "ensemble", "submit", "predict", "check", "export"),
    *("convert-weights", "backbones", "fetch", "demo"),
)
DATA = ("--images", "images", "--masks", "masks")


def test_version_is_printed(maskwright_command):
    assert maskwright_command("--version") == (0, f"maskwright {version('maskwright')}\n", "")


def test_help_lists_every_command_and_exit_code(maskwright_command):
    code, out, _ = maskwright_command("--help")
    assert code == 0
    first_words = [line.strip("│ ").split(" ")[0] for line in out.splitlines()]
    assert [word for word in first_words if word in COMMANDS] == list(COMMANDS)
    epilog = out[out.rindex("╰") :]
    assert "Exit codes: 0 success; 1 " in epilog
    assert all(f"; {number} " in epilog for number in (1, 2, 130))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_verbose_and_quiet(command, maskwright_command):
    code, out, _ = maskwright_command(command, "--help")
    assert code == 0
    assert "--verbose" in out
    assert "--quiet" in out


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_help_lists_what_is_accepted_as_a_run(command, maskwright_command):
    _, out, _ = maskwright_command(command, "--help")
    line = next(line for line in out.splitlines() if "Folder of a run" in line)
    assert all(kind in line for kind in ("an engine", "an ensemble"))


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("predict", "--help"), ("--version",)])
def test_help_loads_no_framework_or_numpy(arguments):
    code = "import sys\nfrom maskwright.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert "maskwright.cli.train" in done.stderr
    assert not {"keras", "tensorflow", "jax", "torch", "numpy", "PIL"} & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("check", "--no-such-option"),
        ("check",),
        ("--quiet", "--verbose", "backbones"),
        ("backbones", "--quiet", "--verbose"),
        ("--quiet", "train", "--verbose", "--out", "run"),
        ("--verbose", "backbones", "--quiet"),
        ("train", *DATA, "--out", "run", "--resume", "--explain"),
        ("predict", "run", "a.png", "b.png", "--out", "mask.tif"),
    ],
)
def test_wrong_usage_gives_code_2(arguments, maskwright_command):
    code, out, err = maskwright_command(*arguments)
    assert (code, out) == (2, "")
    assert err


@pytest.mark.parametrize("arguments", [("--quiet", "backbones", "--quiet"), ("--verbose", "backbones", "--verbose")])
def test_verbosity_can_be_repeated(arguments, maskwright_command):
    assert maskwright_command(*arguments)[0] == 0


OUTPUT_FILES = {
    "compare": ("compare", "a", "b", "--out", "page.html"),
    "find-lr": ("find-lr", *DATA, "--out", "rates.png"),
    "submit": ("submit", "run", "--images", "images", "--out", "submission.csv"),
    "convert-weights": ("convert-weights", "old.h5", "--out", "new.keras"),
}


@pytest.mark.parametrize("command", OUTPUT_FILES)
def test_an_existing_output_file_gives_code_1(command, tmp_path, monkeypatch, maskwright_command):
    monkeypatch.chdir(tmp_path)
    *_, name = OUTPUT_FILES[command]
    (tmp_path / name).write_text("mine")
    code, _, err = maskwright_command(*OUTPUT_FILES[command])
    assert code == 1
    assert name in err
    assert "--overwrite" in err
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("command", [*OUTPUT_FILES, "predict"])
def test_a_wrong_suffix_of_the_output_gives_code_2(command, exists, tmp_path, monkeypatch, maskwright_command):
    monkeypatch.chdir(tmp_path)
    *arguments, _ = OUTPUT_FILES.get(command, ("predict", "run", "a.png", "--out", "masks"))
    name = "mask.png" if command == "predict" else "wrong.onnx"
    if exists:
        (tmp_path / name).write_text("mine")
    code, out, err = maskwright_command(*arguments, name)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --out {name} ")
    assert [path.name for path in tmp_path.iterdir()] == [name] * exists


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_quiet_hides_the_bar_of_a_download(quiet, pairs, tmp_path, monkeypatch, maskwright_command):
    def download(*_, **__):
        fetch(server.file(), folder=tmp_path)
        raise InputError(message="downloaded")

    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich draws as on a terminal
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MASKWRIGHT_OFFLINE", raising=False)
    monkeypatch.setattr("maskwright.training.prepare.check_data", download)
    with serving(b"weights") as server:
        code, _, err = maskwright_command(*quiet, "check", *folders(pairs))
    assert code == 1
    assert (tmp_path / "weights.h5").read_bytes() == b"weights"
    assert ("Downloading weights.h5" in err) is not bool(quiet)
    assert "error: downloaded" in err


@pytest.mark.parametrize("command", ["evaluate", "check"])
def test_an_error_gives_code_1_and_one_line(command, pairs, maskwright_command):
    run = ["no-such-run"] if command == "evaluate" else []
    code, out, err = maskwright_command(command, *run, "--images", pairs / "images", "--masks", pairs / "none")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_interrupt_gives_code_130(pairs, monkeypatch, maskwright_command):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("maskwright.training.prepare.check_data", interrupted)
    code, _, err = maskwright_command("check", *folders(pairs))
    assert code == 130
    assert err.startswith("Interrupted. ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_folder_that_is_no_run_is_an_error(command, pairs, tmp_path, maskwright_command):
    rest = [pairs / "images", "--out", tmp_path / "out"] if command == "predict" else folders(pairs)
    code, _, err = maskwright_command(command, pairs, *rest)
    assert code == 1
    assert err.startswith(f"error: {pairs}: ")
    assert "bundle.json is missing" in err
    assert "maskwright train --out" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("train", *DATA, "--out", "run"), "lower training.batch_size or training.patch_size with --set, or close"),
        (("--quiet", "train", *DATA, "--out", "run"), "lower training.batch_size or training.patch_size with --set"),
        (("predict", "run", "a.png", "--out", "masks"), "with a .tif or .zarr as --out, use fewer --workers, or close"),
        (("evaluate", "run", *DATA), "out of memory; close other programs"),
    ],
)
@pytest.mark.parametrize(
    ("name", "base"),
    [("MemoryError", MemoryError), ("_ArrayMemoryError", MemoryError), ("ResourceExhaustedError", Exception)],
    ids=["Python", "NumPy", "TensorFlow"],
)
def test_out_of_memory_names_what_lowers_it(arguments, remedy, name, base, maskwright_command, monkeypatch):
    def exhausted(*_, **__):
        raise type(name, (base,), {})

    for method in ("load", "train_recipe"):
        monkeypatch.setattr(f"maskwright.segmenter.Segmenter.{method}", exhausted)
    code, _, err = maskwright_command(*arguments)
    assert code == 1
    assert err.startswith("error: out of memory; ")
    assert remedy in err


def test_a_failed_file_of_several_gives_code_1_after_the_others(trained, tmp_path, maskwright_command):
    for number in range(3):
        paint(tmp_path / f"in/{number}.png", [[[number] * 3] * 40] * 33)
    (tmp_path / "in/1.png").write_bytes(b"")
    code, out, err = maskwright_command(
        "--quiet", "predict", trained.folder, tmp_path / "in", "--out", tmp_path / "out"
    )
    assert (code, out) == (1, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error"]
    assert "in/1.png: found an empty file" in err
    assert "1 of 3 files failed" in err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["0.png", "2.png"]
