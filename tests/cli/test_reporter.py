"""Progress on a terminal and in a log."""

import io
import re
import time

import pytest
from rich.console import Console

from maskwright.cli import console
from maskwright.cli.console import PROGRESS_LINE_SECONDS, Verbosity, counter, set_verbosity
from maskwright.cli.reporter import ConsoleReporter
from maskwright.training.reporter import Progress

ROW = {"epoch": 2, "step": 40, "seconds": 61.0, "loss": 0.25, "val_mean_iou": 0.75}


@pytest.fixture(autouse=True)
def _normal_verbosity():
    yield
    set_verbosity(Verbosity.NORMAL)


@pytest.fixture
def output(monkeypatch):
    """Direct the output to a text, as a terminal or as a file."""

    def direct(*, terminal):
        text = io.StringIO()
        shared = Console(file=text, force_terminal=terminal, width=100, color_system=None)
        monkeypatch.setattr(console, "console", lambda: shared)
        return text

    return direct


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def train(reporter):
    reporter.reading(5, 10)
    reporter.validating(3, 4)
    reporter.epoch(ROW)
    reporter.step(Progress(step=41, fraction=0.5, seconds_left=90.0, loss=0.125))


def test_a_terminal_has_one_bar_with_step_loss_score_and_time_left(output):
    text = output(terminal=True)
    with ConsoleReporter() as reporter:
        train(reporter)
        reporter.report("a message")
    shown = text.getvalue()
    assert re.search(r"Reading pairs .*5 of 10", shown)
    assert re.search(r"Validating .*3 of 4", shown)
    assert re.search(r"Training .*step 41, loss 0\.125, mean IoU 0\.750, 1 min 30 s left", shown)
    assert shown.count("a message") == 1
    assert shown.endswith("\x1b[2K")  # the bar is removed
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # one display; the cursor is visible again


def test_a_log_has_an_epoch_a_line_and_no_bar(output):
    text = output(terminal=False)
    with ConsoleReporter() as reporter:
        train(reporter)
        reporter.report("a message")
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"epoch +2  step +40 +1 min 1 s  loss 0\.2500  validation mean IoU 0\.7500", lines[0])
    assert lines[1] == "a message"


def test_a_log_has_a_progress_line_every_30_seconds(output, clock):
    text = output(terminal=False)
    reporter = ConsoleReporter()
    for step in range(1, 100):
        clock[0] += 1
        reporter.step(Progress(step=step, fraction=step / 100, seconds_left=None, loss=0.5))
    assert PROGRESS_LINE_SECONDS == 30
    assert text.getvalue().splitlines() == [f"Training: {step}%, step {step}, loss 0.500" for step in (30, 60, 90)]


def test_any_line_delays_the_next_progress_line(output, clock):
    text = output(terminal=False)
    reporter = ConsoleReporter()
    clock[0] += 29
    reporter.epoch(ROW)
    clock[0] += 29
    reporter.step(Progress(step=41, fraction=0.5, seconds_left=None, loss=0.5))
    assert len(text.getvalue().splitlines()) == 1


def test_a_counter_displays_the_time_left(output, clock):
    text = output(terminal=False)
    with counter("Predicting") as count:
        clock[0] += 40
        count(10, 40)
    assert text.getvalue() == "Predicting: 25%, 10 of 40, 2 min left\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_prints_no_progress(terminal, output, clock):
    text = output(terminal=terminal)
    set_verbosity(Verbosity.QUIET)
    with ConsoleReporter() as reporter, counter("Predicting") as count:
        clock[0] += 40
        train(reporter)
        count(1, 2)
        reporter.report("a message")
    assert text.getvalue() == ""
