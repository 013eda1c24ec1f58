"""Common behaviour of all commands: help, version, exit codes and errors."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.cli.pairs import folders, paint

COMMANDS = (
    *("train", "find-lr", "evaluate", "compare", "tune", "ensemble", "submit", "predict", "check", "export"),
    *("convert-weights", "backbones", "demo"),
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
        ("train", *DATA, "--out", "run", "--resume", "--explain"),
        ("predict", "run", "a.png", "b.png", "--out", "mask.tif"),
    ],
)
def test_wrong_usage_gives_code_2(arguments, maskwright_command):
    code, out, err = maskwright_command(*arguments)
    assert (code, out) == (2, "")
    assert err


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
