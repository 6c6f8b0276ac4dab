"""The tables of docs/providers.md are right as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.contracts.world_files import load_world, parse_world
from pipeline.sources.registry import ADAPTERS, check_sources
from pipeline.steps.checks import check_units

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
HEAD = 'name = "x"\ntitle = "X"\nstart = "2024-01-01T00:00Z"\n'
DOMAIN = '[domains.d]\ntitle = "D"\nclock = { step = "1h" }\ncontext = 1\nhorizon = 1\n'


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("]")[0][1:])
def test_a_table_is_a_source_that_its_adapter_takes(block: str) -> None:
    [name] = re.findall(r"^\[sources\.(\w+)\]", block, re.MULTILINE)
    [variable] = re.findall(r"variables\]\n(\w+) =", block)
    use = f'[domains.d.future]\nsource = "{name}"\nvariables = {{ {variable} = {{}} }}\n' if "runs =" in block else ""
    mine = '[sources.own]\nadapter = "csv"\nlocations = ["data://x"]\noptions = { time = "t", node = "n" }\n[sources.own.variables]\nv = { unit = "K" }\n'
    held = f'[domains.d.variables]\n{"v" if use else variable} = {{ source = "{"own" if use else name}" }}\n'
    world = parse_world(HEAD + block + (mine if use else "") + DOMAIN + held + use, "x.toml")
    check_sources(world)
    check_units(world)


def test_every_provider_has_a_table_or_a_world() -> None:
    shown = {*re.findall(r'adapter = "(\w+)"', TEXT), *(s.adapter for s in load_world("london").sources.values())}
    files = {"csv", "json", "parquet", "netcdf", "hdf5", "grib", "images", "synthetic"}
    assert shown >= set(ADAPTERS) - files
