"""How a command ends that did not succeed: one message on stderr, for people or as one JSON line, and an exit code."""

from __future__ import annotations

import json
import signal
import sys
import traceback

from pipeline.errors import CubecastError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
UNPLANNED = 70


class Terminated(SystemExit):
    """SIGTERM arrived."""


def terminate(*_: object) -> None:
    """End at SIGTERM as at Ctrl-C: by an exception, so that what is staged is cleared away."""
    raise Terminated(TERMINATED)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an error follows from Ctrl-C: the making of a class, for one, turns it into a RuntimeError."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or was_interrupted(error.__cause__ or error.__context__))


def report(error: CubecastError, *, as_json: bool) -> int:
    """Say what was asked, what was found and the mend on stderr; returns the exit code."""
    if as_json:
        fault = {"asked": error.asked, "found": error.found, "mend": error.mend, "exit_code": error.exit_code}
        print(json.dumps({"event": "error", "error": type(error).__name__, **fault}, ensure_ascii=False), file=sys.stderr, flush=True)
    else:
        from rich.console import Console
        from rich.text import Text

        parts = ((f"{type(error).__name__}: ", "bold red"), (f"{error.asked}\n", "red"), ("  found: ", "bold"), f"{error.found}\n")
        Console(stderr=True, soft_wrap=True).print(Text.assemble(*parts, ("  mend:  ", "bold"), error.mend))
    return error.exit_code


def report_unplanned(error: Exception, *, as_json: bool) -> int:
    """Show the trace of what no one planned for; returns the exit code."""
    traceback.print_exception(error)
    if as_json:
        said = {"event": "error", "error": type(error).__name__, "found": str(error), "exit_code": UNPLANNED}
        print(json.dumps(said, ensure_ascii=False), file=sys.stderr, flush=True)
    return UNPLANNED


def report_end(code: int, *, as_json: bool) -> None:
    """Say that a signal ended the command, and how to go on."""
    how = "interrupted" if code == INTERRUPTED else "terminated"
    found, mend = "the state is whole", "run the same command to go on"
    said = {"event": "error", "error": how.title(), "asked": f"end: {how}", "found": found, "mend": mend, "exit_code": code}
    print(json.dumps(said) if as_json else f"{how}: {found}; {mend}", file=sys.stderr, flush=True)
