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
given = {name.removeprefix("in/"): value for name, value in example.items() if name.startswith("in/")}
for size in (4, 1):
    quantiles, split = program({name: value[:size] for name, value in given.items()})
    for found, name in ((quantiles, "said/quantiles"), (split, "said/split")):
        said = example[name][:size]
        assert found.shape == said.shape, (found.shape, said.shape)
        assert ((found - said).abs() <= 1e-5 * said.abs() + 1e-5).all(), (name, (found - said).abs().max())
assert not [m for m in sys.modules if m.split(".")[0] in ("models", "pipeline")]
print("the same")
"""


def windows() -> WindowSet:
    """Roads whose bounds cut about half of all numbers."""
    told = informed(days=6)
    road = replace(told.domains["road"], lower_V=np.array([12, 6], np.float32))
    return replace(told, domains={"road": road, "sky": sky(days=6)}, texts={})


def test_a_program_forecasts_without_our_code_what_the_model_forecasts(tmp_path: Path) -> None:
    made_of = windows()
    options = {"epochs": 1, "steps": 8, "least_steps": 8, "least_gain": 0.0, "hidden": 8, "members": 2, "hubs": 2}
    fitted = api.fit(made_of, api.resolve_config("tiny", options), seed=1, progress=QUIET)
    predictor = api.load(fitted.state, fitted.meta)
    index = made_of.domains["road"].windows_of("test")[:4]
    made = predictor.portable(made_of, "road", index)
    said = predictor.predict(made_of, "road", index)
    medians = said.quantiles_BLNVQ[..., MEDIAN]
    assert 0.1 < (medians == made_of.domains["road"].lower_V).mean() < 0.9
    np.testing.assert_allclose(made.outputs["split"].sum(-1), medians, rtol=1e-5, atol=1e-4)
    assert set(made.interface["inputs"]) == set(made.inputs)
    assert {name.split(" of ")[0] for name in made.inputs} == set(MEANING)
    assert made.interface["parts"] == ["anchor", "series", "space", "future", "sky"]
    (tmp_path / "road.pt2").write_bytes(made.program)
    arrays = {f"in/{k}": np.ascontiguousarray(v) for k, v in made.inputs.items()}
    save_file(arrays | {"said/quantiles": said.quantiles_BLNVQ, "said/split": said.split_BLNVP}, tmp_path / "example.safetensors")
    done = subprocess.run([sys.executable, "-I", "-c", ELSEWHERE], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "the same", done.stderr[-2000:]
