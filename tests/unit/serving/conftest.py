"""A service over two worlds in one store: `demo` with forecasts and scores, `little` with a cube and never trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.contracts.judging import Event
from pipeline.contracts.times import from_seconds
from pipeline.serving.app import create_app
from pipeline.serving.shelf import Shelf
from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.grounds import Grounds, Watched
from tests.browser.demo import ISSUE_TIME, demo_world, scored
from tests.feeds import START, Place, build, make_place, observe, random_rows
from tests.unit.stores.published_demo import FORECAST, publish

HOURS = 12
LEADS, WINDOWS = 24, 24
NOW = from_seconds(START + HOURS * 3600)
HOST = "127.0.0.1"


@dataclass
class Served:
    place: Place
    objects: ObjectStore
    shelf: Shelf
    app: Any
    client: TestClient
    told: list[str]


def serve(place: Place, told: list[str], **options: Any) -> Any:
    worlds = {"demo": demo_world(), "little": place.world}
    shelf = Shelf(worlds, place.settings.store, lambda world: _clock(world.name))
    return shelf, create_app(shelf, refresh_seconds=0.05, tell=told.append, **({"hosts": (HOST,)} | options))


def _clock(world: str) -> datetime:
    return NOW if world == "little" else from_seconds(ISSUE_TIME + 86400)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_place(tmp_path_factory.mktemp("served"))
    observe(place, "road", random_rows(np.random.default_rng(1), hours=HOURS))
    build(place, NOW)
    objects = ObjectStore(place.settings.store)
    publish(objects)
    changed = replace(FORECAST, provenance={**FORECAST.provenance, "model_id": "another", "absent": ["parking"]})
    publish(objects, replace(changed, domains={k: v for k, v in FORECAST.domains.items() if k != "parking"}))
    publish(objects, replace(FORECAST, issue_time=ISSUE_TIME + 3600))
    errors = {"published": 0.9, "joint": 0.9, "ridge": 1.0}
    statistics = scored(demo_world(), "weather", LEADS, np.random.default_rng(1), errors, WINDOWS, _grounds())
    ScoreStore(objects, "demo").add(ISSUE_TIME, {"statistics": statistics.to_json(), "counts": {"all": {"observed": 1}}, "final": True})
    return place


def _grounds() -> Grounds:
    """Two groups of places, hours of the day and an event, so that there are parts."""
    hours = (np.arange(WINDOWS)[:, None] * 4 + np.arange(LEADS)) % 24 // 3
    hot = Watched(event=Event(variable="temperature", above=49.0), variable=0)
    return Grounds(regions=("north", "south"), region_N=np.array([0, 0, 0, 1, 1]), hour_WL=hours, events={"hot above 49 degC": hot})


@pytest.fixture(scope="session")
def served(place: Place) -> Iterator[Served]:
    told: list[str] = []
    shelf, app = serve(place, told)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        yield Served(place=place, objects=ObjectStore(place.settings.store), shelf=shelf, app=app, client=client, told=told)
