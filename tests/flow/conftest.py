"""Worlds that replays start from, made once."""

import shutil
from datetime import timedelta

import pytest

from pipeline.api import flow
from pipeline.stores.lanes import LaneStore
from tests.flow.chain import run_step, settings_for
from tests.flow.replays import LIVED, asked, ingest, make_world, run


@pytest.fixture(scope="session")
def fed(tmp_path_factory):
    """A world with a cube, never trained."""
    folder = tmp_path_factory.mktemp("fed")
    world_file, settings = make_world(folder), settings_for(folder / "store")
    ingest(world_file, settings)
    return world_file, settings


@pytest.fixture(scope="session")
def lived(fed, tmp_path_factory):
    """The same, run live on two days."""
    world_file, settings = fed
    store = tmp_path_factory.mktemp("lived") / "store"
    shutil.copytree(settings.store, store)
    settings = settings_for(store)
    for as_of in LIVED:
        for request in flow(str(world_file), issue_time=as_of, now=as_of)[3:7]:
            run_step(request, settings)
    return world_file, settings


@pytest.fixture(scope="session")
def walked(fed, tmp_path_factory):
    """A world that was never live, replayed with daily training: its settings, lane and receipt."""
    world_file, settings = fed
    store = tmp_path_factory.mktemp("walked") / "store"
    shutil.copytree(settings.store, store)
    settings = settings_for(store)
    request = asked(world_file, LIVED[0], LIVED[0] + timedelta(days=2), every="8h", retrain="daily")
    receipt = run(request, settings)
    return world_file, settings, LaneStore(settings, "tiny").url(receipt.ids["lane"]), receipt, request
