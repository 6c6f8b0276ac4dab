"""The door of the command line: Ctrl-C ends a command in one line, also while the commands are imported and after they are over."""

from __future__ import annotations

import signal
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Without arguments, those of the process, which ends with it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # an import that is interrupted may raise anything: `execute` lets it in
    from pipeline.command_line import execute
    from pipeline.endings import INTERRUPTED, TERMINATED

    code = execute(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL if code in (INTERRUPTED, TERMINATED) else signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
