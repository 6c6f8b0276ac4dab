"""Progress on a terminal, in a log and for a program."""

import io
import json

import pytest

from pipeline.telemetry import json_lines, plain_lines, progress_on


def count(progress):
    with progress.stage("epochs", 3, "epoch") as stage:
        for loss in (0.3, 0.2, 0.1):
            stage.advance(1, f"loss {loss}")


def test_a_program_gets_one_json_object_a_line_from_begin_to_end():
    stream = io.StringIO()
    count(json_lines(stream, interval=0))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "advance", "advance", "advance", "end"]
    assert (lines[-1]["done"], lines[-1]["total"], lines[-1]["unit"], lines[-1]["note"]) == (3, 3, "epoch", "loss 0.1")


def test_a_log_is_not_flooded():
    stream = io.StringIO()
    with plain_lines(stream, interval=60).stage("rows", None, "row") as stage:
        for _ in range(1000):
            stage.advance()
    assert stream.getvalue().splitlines()[0].startswith("  rows 1,000 row, 0.")
    assert stream.getvalue().count("\n") == 1


def test_a_stage_that_fails_does_not_say_that_it_ended():
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), json_lines(stream).stage("rows", 3) as _:
        raise ZeroDivisionError
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["begin"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_bars_and_everything_else_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream, bar in ((Terminal(), True), (io.StringIO(), False)):
        with progress_on(stream, as_json=False) as progress:
            count(progress)
        assert ("━" in stream.getvalue()) is bar
        assert "loss 0.1" in stream.getvalue()
        assert "3/3" in stream.getvalue()
