"""Tables as text, as wide as the terminal, or as their figures need."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Iterable, Sequence

_WIDTH = 180
_MOST = 400
"""Beyond which even figures are broken: a digest or an address is no reason for longer lines."""
_WHOLE = ("model", "target", "rival", "by", "event", "part")
_FIGURE = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( %| min)?|-|")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text, as wide as the terminal, or wider where a figure would be broken; figures stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made, held = Table(box=None, pad_edge=False), [tuple(row) for row in rows]
    needed = 0
    for column, title in enumerate(titles):
        figures = bool(held) and all(_FIGURE.fullmatch(row[column]) for row in held)
        whole = figures or title in _WHOLE
        made.add_column(title, justify="right" if figures else "left", overflow="fold", no_wrap=whole)
        needed += max(len(word) for cell in (title, *(row[column] for row in held)) for word in ([cell] if whole else cell.split() or [""]))
    for row in held:
        made.add_row(*map(Text, row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    console = Console(file=io.StringIO(), width=max(width, min(needed, _MOST) + 2 * len(titles)), highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
