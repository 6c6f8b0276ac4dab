"""A model as programs that run without Cubecast: files in a folder, checked against the model's own forecast."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress

if TYPE_CHECKING:
    from models.api import Program

_HOW = """\
Forecast of {domain}, model {model_id}, trained on what was known at {as_of} by recipe {recipe}, its digest {config_digest}.
It needs PyTorch {torch} or later, and nothing else:

    import torch
    from safetensors.torch import load_file
    program = torch.export.load("{domain}.pt2").module()
    example = load_file("{domain}.example.safetensors")
    given = {{name.removeprefix("in/"): value for name, value in example.items() if name.startswith("in/")}}
    quantiles, split = program(given)        # as example["out/quantiles"], example["out/split"]

Values are in physical units, NaN where not known; {domain}.json says what each input and output is. The first axis is the number
of windows, as many as you like. The split's parts add up to the median.
Quantiles are the model's own, before calibration, which moves what is published but for the median.
Of documents the hashed words are given, and how long each is known; what D, K and G count, documents, words and links, is as many as you like,
from two on.
The program file is read by torch: load only those that you trust.
"""


def export_model(world: World, settings: Settings, model_id: str, folder: Path, progress: Progress) -> dict[str, Any]:
    """Per domain FOLDER/DOMAIN.pt2, .json, .txt and .example.safetensors, the window at the training cut-off as the example.

    Raises:
        NotYetAvailable: There is no such model or no cube, or no domain has a window at the cut-off.
        ContractError: A program forecasts other than the model.
        StoreError: The folder cannot be written.
    """
    from models.api import load

    candidate = Registry(ObjectStore(settings.store), world.name).candidate(model_id)
    as_of = to_seconds(candidate.as_of)
    inputs = reading.open_inputs(world, settings, candidate.as_of, live=True)
    windows = reading.windows_of(world, candidate, inputs, as_of=as_of, live=True)
    joint = load(candidate.read("joint.safetensors"), json.loads(candidate.read("joint.json")))
    live = {name: view.windows_of("live") for name, view in windows.domains.items() if name in joint.leading}
    if not any(len(index) for index in live.values()):
        raise NotYetAvailable(
            asked=f"export model {candidate.model_id}",
            found=f"no window at its cut-off, {format_instant(candidate.as_of)}, to show it by",
            mend=f"cubecast build-cube --world {world.name} --as-of {format_instant(candidate.as_of)}",
        )
    written: dict[str, Any] = {}
    with progress.stage("export", len(live), "domains") as stage:
        for name, index in live.items():
            if len(index):
                written[name] = _write(folder, name, _about(candidate), joint.portable(windows, name, index))
            stage.advance(1, name)
    return {"world": world.name, "model_id": candidate.model_id, "folder": str(folder), "domains": written}


def _about(candidate: Candidate) -> dict[str, Any]:
    """Which model a program is of, and how it differs from what is published."""
    card = candidate.card
    return {
        "model_id": candidate.model_id,
        "as_of": format_instant(candidate.as_of),
        "recipe": card.get("recipe"),
        "config_digest": card.get("config_digest"),
        "torch": card.get("libraries", {}).get("torch", "2.13"),
        "calibrated": False,
    }


def _write(folder: Path, name: str, about: dict[str, Any], made: Program) -> dict[str, Any]:
    from safetensors.numpy import save

    arrays = {f"in/{k}": v for k, v in made.inputs.items()} | {f"out/{k}": v for k, v in made.outputs.items()}
    files = {
        f"{name}.pt2": made.program,
        f"{name}.example.safetensors": save({k: np.ascontiguousarray(v) for k, v in arrays.items()}),
        f"{name}.json": json.dumps(about | made.interface, indent=1).encode(),
        f"{name}.txt": _HOW.format(domain=name, **about).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        staged = folder / f".staged-{os.getpid()}-{file}"
        staged.write_bytes(content)
        os.replace(staged, folder / file)
    return {"bytes": len(made.program), "files": sorted(files)}
