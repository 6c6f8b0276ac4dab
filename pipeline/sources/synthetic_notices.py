"""Notices about the made-up roads, as JSON lines: warnings before heavy rain, among chatter that means nothing.

Faults: a notice sent twice, an empty one, one that is much too long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.times import compact_instant, format_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import Source
from pipeline.sources.json import JsonOptions
from pipeline.sources.synthetic_truth import DAY, HOUR, SyntheticOptions, truth

NOTICE_ROWS = JsonOptions(lines=True, time="time", node_column="road", published="published")
WARNING_MM_H = 2.0
"""A road is warned where this much rain is felt on it one to two hours later."""
_CHATTER = ("a bus stands here", "lights are green again", "new paint on the lanes", "nothing to report", "a quiet hour so far")
_CHATTER_SHARE = 0.04


def notices(options: SyntheticOptions, latency: int) -> list[dict[str, Any]]:
    """Every notice in the order of publication; `time` and `published` in seconds UTC."""
    made, rng = truth(options), np.random.default_rng([options.seed, 6])
    step = int(options.sensor_step.total_seconds())
    hourly = made.rain_felt_TN[:: HOUR // step] if HOUR % step == 0 else made.rain_felt_TN
    found: list[dict[str, Any]] = []
    for hour in range(len(hourly) - 2):
        moment = to_seconds(options.start) + hour * HOUR
        heavy = np.maximum(hourly[hour + 1], hourly[hour + 2]) > WARNING_MM_H
        for road, name in enumerate(made.sensor_ids):
            chat = rng.random() < _CHATTER_SHARE
            word = int(rng.integers(len(_CHATTER)))
            if heavy[road]:
                found.append(_notice(name, moment, latency, f"warning for {name}: heavy rain is coming, drive slowly"))
            elif chat:
                found.append(_notice(name, moment, latency, f"{name}: {_CHATTER[word]}"))
    if options.faults and len(found) > 3:
        found += [found[1], {**found[2], "text": ""}, {**found[3], "text": "again " * 4000}]
    return sorted(found, key=lambda n: (n["published"], n["road"], n["text"]))


def notice_deliveries(source: Source, options: SyntheticOptions, as_of: int) -> Iterator[Delivery]:
    """One delivery per interval that is over by `as_of`, with what was published in it."""
    start, length = to_seconds(options.start), int(options.delivery.total_seconds())
    every = notices(options, int(source.latency.total_seconds()))
    for number in range(1, min(options.days * DAY, as_of - start) // length + 1):
        begin, end = start + (number - 1) * length, start + number * length
        some = [n for n in every if begin < n["published"] <= end]
        if not some:
            continue
        name = f"notices-{compact_instant(from_seconds(end))}.jsonl"
        part = Part(name=name, location=f"synthetic://{options.seed}/notices/{name}", read=partial(_lines, some))
        yield Delivery(name=name, parts=(part,), covers=(some[0]["time"], some[-1]["time"]), published_time=end)


def _notice(road: str, moment: int, latency: int, text: str) -> dict[str, Any]:
    return {"road": road, "time": moment, "published": moment + latency, "text": text}


def _lines(some: list[dict[str, Any]]) -> bytes:
    stamped = [n | {key: format_instant(from_seconds(n[key])) for key in ("time", "published")} for n in some]
    return b"".join(json.dumps(n).encode() + b"\n" for n in stamped)
