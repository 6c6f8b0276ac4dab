"""The install lines of docker/Dockerfile, run stage upon stage in a clean virtual environment, and what each image then knows."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.containers.test_files import ROOT, stages


def install_lines(name):
    """What a stage runs with a package installer, as words, the virtual environment's folder left open."""
    lines = [rest for word, rest in stages()[name][1] if word == "RUN" and "install" in rest and ".venv" in rest]
    return [[w for w in shlex.split(line.replace("${EXTRAS}", "")) if w not in ("--no-cache", "--no-cache-dir")] for line in lines]


PROBE = """
import importlib, importlib.util as u, json, pathlib
names = [p.stem for p in pathlib.Path('dags').glob('[a-z]*.py')]
[importlib.import_module(f'dags.{n}') for n in names]
known = ('torch', 'dask', 'zarr', 'icechunk', 'rasterio', 'eccodes', 'matplotlib', 'lightgbm', 'h5netcdf')
steps = []
if u.find_spec('zarr'):
    steps = sorted(p.stem for p in pathlib.Path('pipeline/steps').glob('*.py') if p.stem != '__init__')
    [importlib.import_module(f'pipeline.steps.{n}') for n in steps]
if u.find_spec('torch'):
    importlib.import_module('models.api')
print(json.dumps([sorted(names), [n for n in known if u.find_spec(n)], steps]))
"""
NO_INDEX = ("error sending request", "failed to fetch", "name resolution", "connection refused", "network is unreachable", "connecttimeout")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """What the environment of each image knows, its install lines run one stage upon the other as the Dockerfile does."""
    folder, found = tmp_path_factory.mktemp("image"), {}
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "__init__.py").touch()
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=folder, check=True, timeout=60)
    environment = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(folder / "home"), "CUBECAST_WORLDS": "synthetic", "PYTHONPATH": str(ROOT)}
    for stage in ("build", "build-worker", "build-trainer"):
        for words in install_lines(stage):
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=400)
            if done.returncode and any(sign in done.stderr.lower() for sign in NO_INDEX):
                pytest.skip("no package index within reach")
            assert done.returncode == 0, (stage, done.stderr[-2000:])
        words = [folder / ".venv/bin/python", "-W", "ignore", "-c", PROBE]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (stage, done.stderr[-2000:])
        found[stage] = json.loads(done.stdout.splitlines()[-1])
    yield found
    shutil.rmtree(folder)


@pytest.mark.timeout(900)
def test_the_thin_image_installs_parses_the_dags_and_knows_neither_torch_nor_dask(images):
    names, heavy, _ = images["build"]
    assert "training" in names
    assert heavy == []


def test_the_worker_installs_and_loads_every_step_without_torch(images):
    _, known, steps = images["build-worker"]
    assert {"dask", "zarr", "icechunk", "rasterio", "eccodes", "matplotlib", "h5netcdf"} == set(known)
    assert {"land", "build_cube", "verify", "retain"} <= set(steps)


def test_the_trainer_installs_torch_and_boosted_trees_upon_the_worker(images):
    _, known, _ = images["build-trainer"]
    assert set(known) == {*images["build-worker"][1], "torch", "lightgbm"}
