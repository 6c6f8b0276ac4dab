"""Places of nodes that cannot be, or lie where only a swap of latitude and longitude brings them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet

Area = tuple[float, float, float, float]
"""South, west, north, east in degrees."""
_ENOUGH, _LEAST, _SPREADS = 5, 2.0, 12.0


def place_faults(nodes: NodeSet, area: Area | None) -> dict[str, str]:
    """What is wrong with the place of a node, by its identity; a node without a place is not wrong.

    Without an `area` a node is held against the others: one that lies far off their middle, and swapped lies among them.
    """
    latitude, longitude = nodes.latitude, nodes.longitude
    beyond = (np.abs(latitude) > 90) | (np.abs(longitude) > 180)
    low, high = _around(latitude, longitude) if area is None else (np.array(area[:2]), np.array(area[2:]))
    outside = ~_within(latitude, longitude, low, high) & ~np.isnan(latitude) & ~np.isnan(longitude)
    swapped = outside & _within(longitude, latitude, low, high)
    wrong = beyond | swapped | (outside if area is not None else np.zeros_like(outside))
    return {
        nodes.ids[i]: f"{latitude[i]:g}, {longitude[i]:g} "
        + (
            "is where latitude and longitude are swapped"
            if swapped[i]
            else "is no place on Earth"
            if beyond[i]
            else f"is outside {list(area or ())}"
        )
        for i in np.flatnonzero(wrong).tolist()
    }


def _within(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    found = (latitude >= low[0]) & (latitude <= high[0]) & (longitude >= low[1]) & (longitude <= high[1])
    return np.asarray(found, np.bool_)


def _around(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A box about the middle of all places, many times as wide as they usually lie off it; the whole Earth where they are few."""
    places = np.stack([latitude, longitude])
    places = places[:, ~np.isnan(places).any(axis=0)]
    if places.shape[1] < _ENOUGH:
        return np.array([-90.0, -180.0]), np.array([90.0, 180.0])
    middle = np.median(places, axis=1)
    spread = np.maximum(_SPREADS * np.median(np.abs(places - middle[:, None]), axis=1), _LEAST)
    return middle - spread, middle + spread
