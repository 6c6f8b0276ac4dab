from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from models import api
from models.portable import MEANING
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import sky
from tests.unit.models.told import informed

ELSEWHERE = """
import sys, torch
from safetensors.torch import load_file
program = torch.export.load("road.pt2").module()
example = load_file("example.safetensors")
for when, sizes in (("shown", (4, 1)), ("later", (7,)), ("silent", (2,))):
    given = {name.removeprefix(f"{when}/in/"): value for name, value in example.items() if name.startswith(f"{when}/in/")}
    for size in sizes:
        whole = [name for name in given if name.startswith(("tokens", "vector", "place", "links", "weight"))]
        quantiles, split = program({name: value if name in whole else value[:size] for name, value in given.items()})
        for found, name in ((quantiles, "quantiles"), (split, "split")):
            said = example[f"{when}/{name}"][:size]
            assert found.shape == said.shape, (found.shape, said.shape)
            assert ((found - said).abs() <= 1e-5 * said.abs() + 1e-5).all(), (when, name, (found - said).abs().max())
assert not [m for m in sys.modules if m.split(".")[0] in ("models", "pipeline")]
print("the same")
"""


def windows() -> WindowSet:
    """Roads whose bounds cut about half of all numbers, and documents with vectors."""
    told = informed(days=6)
    news = told.texts["news"]
    news = replace(news, vector_DW=np.random.default_rng(2).normal(0, 1, (len(news.place_D), 3)).astype(np.float16))
    beside = np.random.default_rng(3).integers(0, 6, (len(told.domains["road"].node_ids), 2)).astype(np.int32)
    near = {"sky": (beside, np.full(beside.shape, 0.5, np.float32))}
    road = replace(told.domains["road"], lower_V=np.array([12, 6], np.float32), near=near)
    return replace(told, domains={"road": road, "sky": sky(days=6)}, texts={"news": news})


def told_of(made_of: WindowSet, index: np.ndarray) -> np.ndarray:
    """Those windows that see three documents or more."""
    issue, news = made_of.domains["road"].issue_time_W[index], made_of.texts["news"]
    first, last = (np.searchsorted(news.available_time_D, at, side="right") for at in (issue - news.reach, issue))
    return index[last - first >= 3]


def test_a_program_forecasts_without_our_code_what_the_model_forecasts(tmp_path: Path) -> None:
    made_of = windows()
    options = {"epochs": 1, "steps": 8, "least_steps": 8, "least_gain": 0.0, "hidden": 8, "members": 2, "hubs": 2, "near": True}
    fitted = api.fit(made_of, api.resolve_config("tiny", options), seed=1, progress=QUIET)
    predictor = api.load(fitted.state, fitted.meta)
    index = told_of(made_of, made_of.domains["road"].windows_of("test"))[:4]
    made = predictor.portable(made_of, "road", index)
    said = predictor.predict(made_of, "road", index)
    mute = predictor.predict(made_of, "road", index, without=("text_news",))
    assert np.abs(said.quantiles_BLNVQ - mute.quantiles_BLNVQ).max() > 1e-3
    medians = said.quantiles_BLNVQ[..., MEDIAN]
    assert 0.1 < (medians == made_of.domains["road"].lower_V).mean() < 0.9
    np.testing.assert_allclose(made.outputs["split"].sum(-1), medians, rtol=1e-5, atol=1e-4)
    assert set(made.interface["inputs"]) == set(made.inputs)
    assert {name.split(" of ")[0] for name in made.inputs} == set(MEANING)
    assert made.interface["parts"] == ["anchor", "series", "space", "future", "sky", "text_news"]
    (tmp_path / "road.pt2").write_bytes(made.program)
    news = made_of.texts["news"]
    silent = replace(made_of, texts={"news": replace(news, available_time_D=news.available_time_D + 10**9)})
    later = told_of(made_of, made_of.domains["road"].windows_of("train"))
    arrays = {}
    for when, given, shown in (("shown", made_of, index), ("later", made_of, later[3:10]), ("silent", silent, index[:2])):
        arrays |= {f"{when}/in/{k}": np.ascontiguousarray(v) for k, v in predictor.portable_inputs(given, "road", shown).items()}
        told = predictor.predict(given, "road", shown)
        arrays |= {f"{when}/quantiles": told.quantiles_BLNVQ, f"{when}/split": told.split_BLNVP}
    save_file(arrays, tmp_path / "example.safetensors")
    done = subprocess.run([sys.executable, "-I", "-c", ELSEWHERE], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "the same", done.stderr[-2000:]
