"""Plots as files: maps, fans, skill, calibration and explanation of a published forecast, as PNG or SVG."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.plot_places import fan, maps
from pipeline.publishing.plot_scores import calibration, skill
from pipeline.publishing.plot_why import explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["maps", "fan", "skill", "calibration", "explanation"]
Draw = Callable[..., "Figure"]
PLOTS: Mapping[str, Draw] = {"maps": maps, "fan": fan, "skill": skill, "calibration": calibration, "explanation": explanation}
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ebe7",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "cubecast",
    "svg.fonttype": "none",
}


def plot_bytes(kind: Kind, page: PageInputs, form: Literal["png", "svg"], **chosen: Any) -> bytes:
    """A plot in a format, the same bytes for the same inputs.

    Args:
        kind: Which plot.
        page: What it is drawn from.
        form: Its format.
        chosen: `domain`, `variable` and, where the plot is of one place or instant, `node` (index) and `lead` (index).

    Raises:
        NotYetAvailable: The scores or the explanation that it would show are not there.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    with matplotlib.rc_context(_STYLE):
        figure, sink = PLOTS[kind](page, **chosen), io.BytesIO()
        metadata: dict[str, Any] = {"Date": None, "Creator": "cubecast"} if form == "svg" else {"Software": "cubecast"}
        figure.savefig(sink, format=form, dpi=150, metadata=metadata, facecolor="white")
    return sink.getvalue()
