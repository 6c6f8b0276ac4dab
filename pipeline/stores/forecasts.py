"""Forecasts at rest: content-addressed arrays with their provenance; a re-issue is a new revision, never an overwrite."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.errors import NotYetAvailable
from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import read_blob

FORMAT = 1
_ARRAYS = ("valid_time_L", "lead_time_L", "quantiles_LNVQ", "split_LNVP")
_WORDS = ("domain", "variables", "units", "node_ids", "parts", "model_V")
_HOW_MADE = ("snapshot", "code_version", "lane", "explanation")
"""Keys of the provenance that tell how a forecast was made; they do not make another forecast of equal numbers."""
_NAMED = ("rivals", "events", "regimes")
"""Mappings of arrays; one that is empty leaves no trace but for the rivals."""


@dataclass(frozen=True, kw_only=True)
class Issued:
    """One revision of one issue time's forecast: its digest (of numbers and provenance) and where it lies."""

    issue_time: int
    revision: int
    digest: str
    url: str


def forecast_digest(forecast: Forecast) -> str:
    """The identity of a forecast: its numbers and its provenance, but for what `_HOW_MADE` names."""
    arrays, content = _content(forecast)
    return _identity(content, digest_bytes(arrays))


class ForecastStore:
    """The forecasts of a world by issue time."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._world = objects, world_name
        self._base = f"forecasts/{world_name}"
        self._issues = IssueLogs(objects, f"{self._base}/issues")

    def add(self, forecast: Forecast) -> tuple[Issued, bool]:
        """Keep a forecast, and whether it is new: equal content is `unchanged`, other content the next revision.

        Raises:
            ConflictError: Another writer issued the same instant meanwhile.
        """
        arrays, content = _content(forecast)
        sha256 = digest_bytes(arrays)
        digest = _identity(content, sha256)
        log = self._issues.log(forecast.issue_time)
        known = log.read()
        if known and known[-1]["digest"] == digest:
            return self._issued(forecast.issue_time, len(known) - 1, known[-1]), False
        key = self._objects.put_addressed(f"{self._base}/artefacts", arrays, ".safetensors")
        content["arrays"] = {"key": key, "sha256": sha256}
        described = canonical_json(content)
        index = self._objects.put_addressed(f"{self._base}/artefacts", described, ".json")
        record = {"digest": digest, "content": {"key": index, "sha256": digest_bytes(described)}}
        log.append(record, expected=len(known))
        return self._issued(forecast.issue_time, len(known), record), True

    def newest(self, issue_time: int) -> Issued:
        """The newest revision issued at an instant.

        Raises:
            NotYetAvailable: Nothing was issued at that instant.
        """
        known = self._records(issue_time)
        return self._issued(issue_time, len(known) - 1, known[-1])

    def revisions(self, issue_time: int) -> list[Issued]:
        """All revisions issued at an instant, the oldest first.

        Raises:
            NotYetAvailable: Nothing was issued at that instant.
        """
        return [self._issued(issue_time, number, record) for number, record in enumerate(self._records(issue_time))]

    def read(self, issue_time: int, revision: int | None = None) -> Forecast:
        """The forecast issued at an instant: one revision, or the newest.

        Raises:
            NotYetAvailable: Nothing was issued at that instant, or no such revision.
            StoreError: A file of it is damaged.
        """
        known = self._records(issue_time)
        if revision is not None and not 0 <= revision < len(known):
            instant = format_instant(from_seconds(issue_time))
            raise NotYetAvailable(
                asked=f"revision {revision} of the forecast of world {self._world} issued at {instant}",
                found=f"revisions 0 to {len(known) - 1}",
                mend="ask for one of these, or for none: the newest is given",
            )
        record = known[-1 if revision is None else revision]
        content = json.loads(read_blob(self._objects, record["content"]["key"], record["content"]["sha256"]))
        return _forecast(content, read_blob(self._objects, content["arrays"]["key"], content["arrays"]["sha256"]))

    def issue_times(self) -> list[int]:
        """All instants at which something was issued, ascending (int64 seconds UTC)."""
        return self._issues.times()

    def snapshots(self, since: int | None = None) -> set[str]:
        """The cube's snapshots that forecasts were made from; those issued before `since` (seconds UTC) do not count.

        Raises:
            StoreError: A forecast is damaged.
        """
        contents = [record["content"] for t in self._issues.times(since) for record in self._issues.log(t).read()]
        found = [json.loads(read_blob(self._objects, c["key"], c["sha256"]))["provenance"].get("snapshot") for c in contents]
        return {str(snapshot) for snapshot in found if snapshot is not None}

    def _records(self, issue_time: int) -> list[dict[str, Any]]:
        known = self._issues.log(issue_time).read()
        if not known:
            instant = format_instant(from_seconds(issue_time))
            raise NotYetAvailable(
                asked=f"forecast of world {self._world} issued at {instant}",
                found=self._issues.around(issue_time),
                mend=f"ask for one that is there, or make it: cubecast predict --world {self._world} --as-of {instant}",
            )
        return known

    def _issued(self, issue_time: int, revision: int, record: dict[str, Any]) -> Issued:
        url = self._objects.url(record["content"]["key"])
        return Issued(issue_time=issue_time, revision=revision, digest=record["digest"], url=url)


def _identity(content: dict[str, Any], sha256: str) -> str:
    provenance = {k: v for k, v in content["provenance"].items() if k not in _HOW_MADE}
    return digest_json({**content, "provenance": provenance, "arrays": sha256})


def _content(forecast: Forecast) -> tuple[bytes, dict[str, Any]]:
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {}
    domains = {}
    for name, domain in sorted(forecast.domains.items()):
        arrays |= {f"{name}/{field}": np.ascontiguousarray(getattr(domain, field)) for field in _ARRAYS}
        named = {kind: sorted(getattr(domain, kind)) for kind in _NAMED if kind == "rivals" or getattr(domain, kind)}
        arrays |= {f"{name}/{kind}/{key}": np.ascontiguousarray(getattr(domain, kind)[key]) for kind in named for key in named[kind]}
        domains[name] = {word: getattr(domain, word) for word in _WORDS} | named
    content = {
        "format": FORMAT,
        "world": forecast.world,
        "issue_time": forecast.issue_time,
        "domains": domains,
        "provenance": forecast.provenance,
    }
    return bytes(save(arrays)), json.loads(canonical_json(content))


def _forecast(content: dict[str, Any], data: bytes) -> Forecast:
    from safetensors.numpy import load

    arrays = load(data)
    domains = {}
    for name, words in content["domains"].items():
        fields: dict[str, Any] = {word: tuple(words[word]) if isinstance(words[word], list) else words[word] for word in _WORDS}
        fields |= {field: arrays[f"{name}/{field}"] for field in _ARRAYS}
        fields |= {kind: {key: arrays[f"{name}/{kind}/{key}"] for key in words.get(kind, ())} for kind in _NAMED}
        domains[name] = DomainForecast(**fields)
    return Forecast(world=content["world"], issue_time=content["issue_time"], domains=domains, provenance=content["provenance"])
