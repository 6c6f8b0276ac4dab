"""All nine steps on the tiny world: real sources, cube, model, forecast, page."""

import hashlib
import json
import random
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps.store_verify import verify_store
from pipeline.stores.cubes import CubeStore
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import QUIET
from tests.flow.chain import requests, run_chain, run_step, settings_for
from tests.s3 import s3_store
from tests.world import tiny_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nine")
    world_file, settings = tiny_world(folder), settings_for(folder / "store")
    return world_file, settings, run_chain(world_file, settings)


def _files(root: str) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(root).rglob("*") if p.is_file()}


def _quantiles(world_file, settings):
    world = load_world(str(world_file))
    forecast = ForecastStore(ObjectStore(settings.store), world.name).read(int(world.recorded.as_of.timestamp()))
    return {name: domain.quantiles_LNVQ for name, domain in forecast.domains.items()}


def test_every_step_reports_what_it_did(finished):
    _, _, receipts = finished
    assert list(receipts) == ["land", "observe", "build_cube", "train", "evaluate", "promote", "predict", "publish", "verify"]
    assert all(r.outcome == "done" for r in receipts.values()), receipts


def test_every_raw_row_is_accounted_for(finished):
    world_file, _, receipts = finished
    counts = receipts["observe"].counts
    for source in load_world(str(world_file)).sources:
        parts = [counts[f"{source}.{part}"] for part in ("observations", "duplicates", "rejected")]
        assert counts[f"{source}.raw"] == sum(parts) > 0
        assert receipts["observe"].details["missing_share"][source] == counts[f"{source}.rejected"] / counts[f"{source}.raw"]


def test_a_second_run_changes_nothing(finished):
    world_file, settings, first = finished
    before = _files(settings.store)
    second = run_chain(world_file, settings)
    assert all(r.outcome == "unchanged" for r in second.values()), {s: r.outcome for s, r in second.items()}
    assert {s: r.ids for s, r in second.items()} == {s: r.ids for s, r in first.items()}
    assert _files(settings.store) == before


def test_the_forecast_is_whole_and_ordered(finished):
    world_file, settings, _ = finished
    world = load_world(str(world_file))
    forecast = ForecastStore(ObjectStore(settings.store), world.name).read(int(world.recorded.as_of.timestamp()))
    assert set(forecast.domains) == set(world.domains)
    for domain in forecast.domains.values():
        assert np.isfinite(domain.quantiles_LNVQ).all()
        assert (np.diff(domain.quantiles_LNVQ, axis=-1) >= 0).all()
        assert (domain.lead_time_L > 0).all()


def test_the_parts_of_every_published_number_add_up_to_it(finished):
    world_file, settings, _ = finished
    world = load_world(str(world_file))
    forecast = ForecastStore(ObjectStore(settings.store), world.name).read(int(world.recorded.as_of.timestamp()))
    told = 0
    for name, domain in forecast.domains.items():
        published = ForecastArrays(settings.store, "tiny").open(name).isel(issue_time=-1).sel(quantile=0.5)
        for v, variable in enumerate(domain.variables):
            whole = domain.split_LNVP[:, :, v].sum(-1, dtype=np.float64)
            median = published[variable].values
            np.testing.assert_allclose(whole, median, rtol=1e-5, atol=1e-5 * float(np.abs(median).max()))
            told += domain.model_V[v] == "joint" and bool(np.abs(domain.split_LNVP[:, :, v, 1:]).max() > 0)
    assert told > 0


def test_parts_add_up_to_published_numbers_also_where_bounds_cut_these(finished, tmp_path):
    world_file, settings, _ = finished
    middle = float(np.median(_quantiles(world_file, settings)["traffic"][..., 0, MEDIAN]))
    narrow, other = tmp_path / world_file.name, settings_for(_backed_up(settings.store, tmp_path / "store"))
    narrow.write_text(
        world_file.read_text().replace('scale = "node", lower = 0.0 }', f'scale = "node", lower = 0.0, upper = {middle} }}', 1)
    )
    later = load_world(str(world_file)).recorded.as_of + timedelta(hours=1)
    for request in requests(narrow, later):
        if request.step in ("predict", "publish"):
            run_step(request, other)
    domain = ForecastStore(ObjectStore(other.store), "tiny").read(int(later.timestamp())).domains["traffic"]
    published = ForecastArrays(other.store, "tiny").open("traffic").isel(issue_time=-1)["speed"]
    highest = np.float32(middle)
    assert domain.variables[0] == "speed"
    assert domain.model_V[0] == "joint"
    assert published.max() == highest
    assert 0.1 < (published.sel(quantile=0.5) == highest).mean() < 0.9
    parts = domain.split_LNVP[:, :, 0].astype(np.float64)
    np.testing.assert_allclose(parts.sum(-1), published.sel(quantile=0.5).values, rtol=1e-5)
    assert parts.cumsum(-1).max() <= middle * (1 + 1e-5)


def test_the_published_products_open_as_a_user_would(finished):
    import pandas as pd

    _, settings, receipts = finished
    paths = receipts["publish"].paths
    assert "<html" in Path(paths["page"]).read_text(encoding="utf-8")
    assert len(pd.read_parquet(paths["parquet"]))
    for name in ("weather", "traffic", "market"):
        assert "quantile" in ForecastArrays(settings.store, "tiny").open(name).dims


def test_a_domain_that_is_not_forecast_is_missing_from_what_is_published(finished, tmp_path):
    world_file, settings, receipts = finished
    assert receipts["publish"].details["missing_share"] == {"weather": 0.0, "traffic": 0.0, "market": 0.0}
    shutil.copytree(settings.store, tmp_path / "store")
    other, publish = settings_for(tmp_path / "store"), next(r for r in requests(world_file) if r.step == "publish")
    forecasts = ForecastStore(ObjectStore(other.store), "tiny")
    whole = forecasts.read(int(publish.as_of.timestamp()))
    kept = {name: domain for name, domain in whole.domains.items() if name != "market"}
    forecasts.add(replace(whole, domains=kept, provenance=whole.provenance | {"absent": ["market"]}))
    assert run_step(publish, other).details["missing_share"] == {"weather": 0.0, "traffic": 0.0, "market": 1.0}


def test_the_forecast_was_verified_by_what_came(finished):
    _, _, receipts = finished
    counts = receipts["verify"].counts
    assert counts["observed"] > 0
    assert counts["expected"] == counts["observed"] + counts["missing"] + counts["pending"]


def test_the_same_bytes_come_from_a_cluster_of_two_worker_processes(finished, tmp_path):
    _, _, threads = finished
    world_file, settings = tiny_world(tmp_path), settings_for(tmp_path / "store", dask="processes:2")
    receipts = {}
    for request in requests(world_file)[:7]:
        receipts[request.step] = run_step(request, settings)
    same = {k: v for k, v in receipts["build_cube"].ids.items() if k != "snapshot"}
    assert same == {k: v for k, v in threads["build_cube"].ids.items() if k != "snapshot"}
    assert receipts["train"].ids["model_id"] == threads["train"].ids["model_id"]
    ours, theirs = _quantiles(world_file, settings), _quantiles(finished[0], finished[1])
    assert {k: v.tobytes() for k, v in ours.items()} == {k: v.tobytes() for k, v in theirs.items()}
    assert json.dumps(receipts["evaluate"].details, sort_keys=True) == json.dumps(threads["evaluate"].details, sort_keys=True)


def _equal_parts(objects: ObjectStore) -> dict[str, str]:
    """What does not name the cube's snapshot, whose identity is drawn at random: raw bytes, rows, weights, forecasts."""
    keys = [key for key in objects.list("") if key.startswith(("landing/", "observations/")) or key.endswith(".safetensors")]
    return {key: hashlib.sha256(objects.get(key)).hexdigest() for key in keys}


def test_a_store_on_s3_holds_the_same_bytes_as_a_folder_and_a_second_run_changes_nothing(finished):
    world_file, settings, local = finished
    world = load_world(str(world_file))
    with s3_store() as root:
        remote = replace(settings, store=root)
        receipts, again = (run_chain(world_file, remote) for _ in range(2))
        assert {step: r.outcome for step, r in again.items()} == dict.fromkeys(again, "unchanged")
        for step, receipt in receipts.items():
            assert {k: v for k, v in receipt.ids.items() if k != "snapshot"} == {
                k: v for k, v in local[step].ids.items() if k != "snapshot"
            }
        assert _equal_parts(ObjectStore(root)) == _equal_parts(ObjectStore(settings.store))
        assert [q.tobytes() for q in _quantiles(world_file, remote).values()] == [
            q.tobytes() for q in _quantiles(world_file, settings).values()
        ]
        stores = [CubeStore(where, world.name) for where in (root, settings.store)]
        for domain in world.domains:
            cubes = [store.open(world.recorded.end, domain) for store in stores]
            for name in ("values_TNV", "flags_TNV", "latency_TNV"):
                assert getattr(cubes[0], name).tobytes() == getattr(cubes[1], name).tobytes()


def test_whatever_is_flipped_cut_or_lost_anywhere_in_the_store_is_named(finished):
    world_file, settings, _ = finished
    world, rng, store = load_world(str(world_file)), random.Random(5), Path(settings.store)
    assert verify_store(world, settings, QUIET).faults == ()
    kinds: dict[str, list[Path]] = {}
    for path in sorted(p for p in store.rglob("*") if p.is_file() and p.suffix != ".lock"):
        kinds.setdefault("/".join(path.relative_to(store).parts[:4:2]), []).append(path)
    assert len(kinds) > 15
    for paths in rng.sample(list(kinds.values()), 5):
        path = rng.choice(paths)
        whole = path.read_bytes()
        bad = bytearray(whole)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        for damage in (bytes(bad), whole[: len(whole) // 2], None):
            path.unlink() if damage is None else path.write_bytes(damage)
            assert verify_store(world, settings, QUIET).faults, (path, damage)
        path.write_bytes(whole)
    assert verify_store(world, settings, QUIET).faults == ()


def _backed_up(store: str, folder: Path) -> Path:
    """A copy of all that the runbook says to keep."""
    return Path(shutil.copytree(store, folder, ignore=shutil.ignore_patterns("airflow", "*.lock")))


def _later(world_file: Path, settings: Settings) -> dict[str, str]:
    """What a forecast an hour after the world's own is called."""
    later = load_world(str(world_file)).recorded.as_of + timedelta(hours=1)
    return run_step(next(r for r in requests(world_file, later) if r.step == "predict"), settings).ids


def test_a_store_that_is_lost_is_restored_from_its_backup_and_goes_on_as_if_nothing_had_been(finished, tmp_path):
    world_file, settings, first = finished
    backup = _backed_up(settings.store, tmp_path / "backup")
    restored, twin = (settings_for(_backed_up(str(backup), tmp_path / name)) for name in ("restored", "twin"))
    assert verify_store(load_world(str(world_file)), restored, QUIET).faults == ()
    again = run_chain(world_file, restored)
    assert {step: r.outcome for step, r in again.items()} == dict.fromkeys(first, "unchanged")
    assert {step: r.ids for step, r in again.items()} == {step: r.ids for step, r in first.items()}
    assert _later(world_file, restored) == _later(world_file, twin)


def test_what_verify_names_is_mended_by_copying_it_from_the_backup(finished, tmp_path):
    world_file, settings, _ = finished
    world = load_world(str(world_file))
    place = settings_for(_backed_up(settings.store, tmp_path / "live"))
    areas = [
        sorted(p for p in (Path(place.store) / area).rglob("*") if p.is_file()) for area in ("landing", "registry", "forecasts/tiny/issues")
    ]
    for victim in [files[len(files) // 2] for files in areas]:
        victim.unlink()
    named = verify_store(world, place, QUIET).faults
    assert len(named) >= 3
    for key in ObjectStore(settings.store).list(""):
        if any(key in str(fault) for fault in named) and not (Path(place.store) / key).exists():
            (Path(place.store) / key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(settings.store) / key, Path(place.store) / key)
    assert verify_store(world, place, QUIET).faults == ()


def test_a_store_that_is_copied_from_disk_to_s3_is_whole_there_and_goes_on(finished):
    import s3fs

    world_file, settings, first = finished
    with s3_store() as root:
        s3fs.S3FileSystem().put(settings.store, root, recursive=True)
        remote = replace(settings, store=root)
        assert verify_store(load_world(str(world_file)), remote, QUIET).faults == ()
        again = run_chain(world_file, remote)
        assert {step: r.outcome for step, r in again.items()} == dict.fromkeys(first, "unchanged")
        assert {step: r.ids for step, r in again.items()} == {step: r.ids for step, r in first.items()}
