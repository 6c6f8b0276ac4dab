"""Started by torchrun: trains with the other processes, and writes what it has learnt beside theirs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from models import api
from pipeline.telemetry import QUIET
from tests.unit.models.told import informed


def main(folder: Path, checkpoint: bool) -> None:
    options = json.loads((folder / "options.json").read_text())
    fitted = api.fit(
        informed(days=6),
        api.resolve_config("tiny", options),
        seed=3,
        progress=QUIET,
        checkpoint=folder / "checkpoint" if checkpoint else None,
    )
    name = "first" if fitted.first else "other"
    (folder / f"{name}.safetensors").write_bytes(fitted.state)
    (folder / f"{name}.json").write_text(json.dumps(fitted.meta))


if __name__ == "__main__":
    main(Path(sys.argv[1]), len(sys.argv) > 2)
