"""Worlds that replays start from, made once; and stores of the tiny world as they are before each step."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import pipeline.__main__ as cli
from pipeline.api import flow
from pipeline.stores.lanes import LaneStore
from tests.flow.chain import run_step, settings_for
from tests.flow.places import CSV, STEPS, Place
from tests.flow.replays import LIVED, asked, ingest, make_world, run
from tests.world import tiny_world


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


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The tiny world's store before each step, and the ids that each step then gives."""
    folder = tmp_path_factory.mktemp("undisturbed")
    world = tiny_world(folder)
    world.write_text(world.read_text().replace('recipe = "tiny"\n', 'recipe = "tiny"\nrecipe_options = { epochs = 1, steps = 12 }\n'))
    store, ids = folder / "store", {}
    store.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBECAST_STORE", str(store))
        for step in STEPS:
            shutil.copytree(store, folder / f"before-{step}")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                assert cli.main([step, "--world", str(world)]) == 0
            ids[step] = _newest_ids(store, step)
    (folder / "ids.json").write_text(json.dumps(ids))
    return folder, world


def _newest_ids(store: Path, step: str) -> dict[str, str]:
    [receipt] = store.glob(f"receipts/tiny/*/*/{step.replace('-', '_')}.json")
    return {k: v for k, v in json.loads(receipt.read_text())["receipt"]["ids"].items() if k != "snapshot"}


@pytest.fixture
def tiny(undisturbed, tmp_path, monkeypatch, capsys):
    """The tiny world with the store as it is before a step: call with that step (or `done`)."""
    folder, world = undisturbed

    def at(step: str) -> Place:
        place = Place(tmp_path, world, monkeypatch, capsys)
        shutil.copytree(folder / ("store" if step == "done" else f"before-{step}"), place.store)
        return place

    at.ids = json.loads((folder / "ids.json").read_text())
    return at


@pytest.fixture
def csv(tmp_path, monkeypatch, capsys):
    """A world of CSV files: call with its file's content and name, changes to the world, more of the world."""

    def make(content: str | bytes, *changes: tuple[str, str], file: str = "r.csv", more: str = "") -> Place:
        (tmp_path / "data" / "river").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        text = CSV + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        world = tmp_path / "roads.toml"
        world.write_text(text)
        return Place(tmp_path, world, monkeypatch, capsys)

    return make
