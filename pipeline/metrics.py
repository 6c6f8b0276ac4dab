"""What Prometheus and OpenTelemetry are told: samples from the state that `cubecast status` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.errors import ConfigError

State = Mapping[str, Any]
_ABOUT = ("rule", "level", "domain", "variable")

GAUGES = {
    "cubecast_step_duration_seconds": "How long the newest run of a step took.",
    "cubecast_step_as_of_seconds": "The instant as of which a step was last asked, seconds since 1970.",
    "cubecast_step_confirmed_seconds": "When a step last ended well, seconds since 1970.",
    "cubecast_rows": "Rows of a source by what became of them: raw, observations, duplicates, rejected.",
    "cubecast_holes": "What a source should have delivered and has not: deliveries and days of missing cells that are asked for again.",
    "cubecast_issue_time_seconds": "The newest issue time that was forecast, seconds since 1970.",
    "cubecast_input_age_seconds": "Age of a domain's newest good value at the newest issue time.",
    "cubecast_input_present_ratio": "Share of a domain's context that was present at the newest issue time.",
    "cubecast_mae": "Mean absolute error of a target on held-out time, in its own unit.",
    "cubecast_skill_ratio": "1 - MAE of the model / MAE of a baseline, on held-out time; above 0 is better than the baseline.",
    "cubecast_coverage_ratio": "Share of held-out values inside the joint model's 80 % or 90 % interval.",
    "cubecast_training_windows_per_second": "Windows of all training folds times epochs, by the seconds of the training step.",
    "cubecast_alerts": "Open alerts of a rule and level, of a domain and variable where it is about one.",
    "cubecast_due_within_seconds": "The longest that nothing may come of a cadence of the world's schedule; worlds without one have none.",
}
"""Every metric there is, and its help."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of one gauge."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


def samples(state: State) -> Iterator[Sample]:
    """What a world's state says, one sample per gauge and set of labels.

    Args:
        state: From `pipeline.status.collect`.
    """
    world = str(state["world"])
    for step in state["steps"]:
        labels = {"step": step["step"], "source": step["source"] or ""}
        yield _sample("cubecast_step_duration_seconds", world, step["seconds"], labels)
        yield _sample("cubecast_step_as_of_seconds", world, _seconds(step["as_of"]), labels)
        yield _sample("cubecast_step_confirmed_seconds", world, _seconds(step["confirmed_time"] or step["recorded_time"]), labels)
        yield from _of_step(world, step)
    for source, counts in state["sources"].items():
        for kind, value in counts.items():
            yield _sample("cubecast_rows", world, value, {"source": source, "kind": kind})
    owed = Counter((hole["source"], hole["kind"]) for hole in state["holes"]["open"])
    for source in state["sources"]:
        for kind in ("delivery", "cells"):
            yield _sample("cubecast_holes", world, owed[source, kind], {"source": source, "kind": kind})
    if state["latest_issue_time"]:
        yield _sample("cubecast_issue_time_seconds", world, _seconds(state["latest_issue_time"]), {})
    for row in state["scores"]:
        yield from _of_score(world, row)
    for cadence, seconds in state["due_within"].items():
        yield _sample("cubecast_due_within_seconds", world, seconds, {"cadence": cadence})
    about = Counter(tuple(alert[key] for key in _ABOUT) for alert in state["alerts"])
    for values, count in sorted(about.items()):
        yield _sample("cubecast_alerts", world, count, dict(zip(_ABOUT, values, strict=True)))


def _of_step(world: str, step: Mapping[str, Any]) -> Iterator[Sample]:
    if step["step"] == "train" and step["seconds"] > 0 and step["outcome"] == "done":
        trained = step["counts"].get("windows", 0) * step["counts"].get("epochs", 0)
        yield _sample("cubecast_training_windows_per_second", world, trained / step["seconds"], {})
    for domain, row in (step["details"].get("inputs") or {}).items():
        for metric, key in (("cubecast_input_age_seconds", "age_seconds"), ("cubecast_input_present_ratio", "share_present")):
            if row.get(key) is not None:
                yield _sample(metric, world, row[key], {"domain": domain})


def _of_score(world: str, row: Mapping[str, Any]) -> Iterator[Sample]:
    target = {"domain": row["domain"], "variable": row["variable"]}
    if row["mae"] is None:
        return
    yield _sample("cubecast_mae", world, row["mae"], target | {"model": "joint"})
    for level in ("80", "90"):
        if row.get(f"coverage_{level}") is not None:
            yield _sample("cubecast_coverage_ratio", world, row[f"coverage_{level}"], target | {"interval": level})
    for baseline, mae in row["baselines"].items():
        if mae:
            yield _sample("cubecast_mae", world, mae, target | {"model": baseline})
            yield _sample("cubecast_skill_ratio", world, 1 - row["mae"] / mae, target | {"baseline": baseline})


def _sample(name: str, world: str, value: float, labels: Mapping[str, str]) -> Sample:
    return Sample(name=name, labels=tuple(sorted({"world": world, **labels}.items())), value=float(value))


def _seconds(text: str) -> int:
    return to_seconds(parse_instant(text))


class Collector:
    """Asks for the states on every scrape, so that Prometheus always sees what is at rest."""

    def __init__(self, states: Callable[[], Iterable[State]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Any]:
        """One metric family per gauge."""
        from prometheus_client.core import GaugeMetricFamily

        found: dict[str, list[Sample]] = {}
        for state in self._states():
            for sample in samples(state):
                found.setdefault(sample.name, []).append(sample)
        for name, rows in found.items():
            keys = tuple(key for key, _ in rows[0].labels)
            family = GaugeMetricFamily(name, GAUGES[name], labels=keys)
            for row in rows:
                family.add_metric([value for _, value in row.labels], row.value)
            yield family


def exposition(states: Callable[[], Iterable[State]]) -> bytes:
    """All samples in Prometheus' text format.

    Raises:
        ConfigError: The extra `metrics` is not installed.
    """
    _want_extra()
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(Collector(states))
    return generate_latest(registry)


def serve(states: Callable[[], Iterable[State]], *, host: str, port: int) -> None:
    """Answer Prometheus' scrapes until interrupted.

    Raises:
        ConfigError: The extra `metrics` is not installed, or the address is taken.
    """
    _want_extra()
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(Collector(states))
    try:
        _, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigError(asked=f"metrics on {host}:{port}", found=str(error), mend="give another --port") from error
    thread.join()


def push(found: Iterable[Sample], endpoint: str) -> None:
    """Send samples to an OpenTelemetry collector over OTLP/HTTP, as gauges.

    Raises:
        ConfigError: The extra `metrics` is not installed.
    """
    _want_extra()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    exporter = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=5)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=600_000)
    provider = MeterProvider([reader], resource=Resource.create({"service.name": "cubecast"}))
    meter = provider.get_meter("cubecast")
    for sample in found:
        meter.create_gauge(sample.name, description=GAUGES[sample.name]).set(sample.value, dict(sample.labels))
    provider.shutdown(timeout_millis=8_000)


def _want_extra() -> None:
    lacking = [name for name in ("prometheus_client", "opentelemetry") if find_spec(name) is None]
    if lacking:
        raise ConfigError(
            asked="metrics", found=f"{lacking[0]} is not installed", mend="install the extra: pip install 'cubecast[metrics]'"
        )
